"""Ids: sonyflake's layout, order, lanes, and the numbers that are derived instead of taken."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sonyflake import SonyFlake
from sonyflake.sonyflake import BIT_LEN_MACHINE_ID, BIT_LEN_SEQUENCE, BIT_LEN_TIME, SONYFLAKE_EPOCH

from core import ids
from core.ids import Lane

LANES = st.builds(Lane, st.integers(0, 31), st.integers(0, 15), st.integers(0, 127))
TICKS = st.integers(0, ids.TICK_MAX - 1)


@given(TICKS, LANES)
def test_sonyflake_py_decodes_our_ids(tick: int, lane: Lane) -> None:
    """The layouts are equal bit by bit (time 39, sequence 8, machine id 16), so nothing is converted."""
    parts = SonyFlake.decompose(ids.make_id(tick, lane.number))
    assert parts["msb"] == 0
    assert parts["time"] == tick >> 8
    assert parts["sequence"] == tick & 0xFF
    assert parts["machine_id"] == lane.number


def test_layout_epoch_and_unit_are_those_of_sonyflake_py() -> None:
    assert (BIT_LEN_TIME, BIT_LEN_SEQUENCE, BIT_LEN_MACHINE_ID) == (39, ids.SEQ_BITS, ids.LANE_BITS)
    assert datetime.fromtimestamp(ids.EPOCH_MS / 1000, UTC) == SONYFLAKE_EPOCH
    now = datetime(2026, 1, 2, 3, 4, 5, 670_000, UTC)
    elapsed = SonyFlake.to_sonyflake_time(now) - SonyFlake.to_sonyflake_time(SONYFLAKE_EPOCH)
    assert ids.tick_at(round(now.timestamp() * 1000)) == elapsed << 8


def test_an_id_that_sonyflake_py_makes_is_one_of_ours() -> None:
    lane = Lane(3, 1, 9)
    before_ms = datetime.now(UTC).timestamp() * 1000
    made = SonyFlake(machine_id=lambda: lane.number).next_id()
    assert Lane.of(ids.lane_of(made)) == lane
    assert before_ms - 20 <= ids.time_ms_of(made) <= datetime.now(UTC).timestamp() * 1000 + 20


@given(LANES)
def test_a_lane_number_holds_dc_incarnation_and_worker(lane: Lane) -> None:
    assert 0 <= lane.number < 1 << 16
    assert Lane.of(lane.number) == lane


@given(TICKS, TICKS, LANES, LANES)
def test_ids_order_by_tick_then_lane(a: int, b: int, one: Lane, other: Lane) -> None:
    x, y = ids.make_id(a, one.number), ids.make_id(b, other.number)
    assert (x < y) == ((a, one.number) < (b, other.number))
    assert ids.tick_of(x) == a
    assert 0 <= x <= ids.ID_MAX
    assert (ids.padded(x) < ids.padded(y)) == (x < y)
    assert len(ids.padded(x)) == 19


@given(st.integers(ids.EPOCH_MS, ids.EPOCH_MS + 10**12))
def test_an_id_tells_its_time_to_the_unit(wall_ms: int) -> None:
    at = ids.time_ms_of(ids.make_id(ids.tick_at(wall_ms), 0))
    assert at <= wall_ms < at + ids.UNIT_MS


def test_a_tick_that_does_not_fit_is_refused() -> None:
    with pytest.raises(OverflowError):
        ids.make_id(ids.TICK_MAX, 0)
    with pytest.raises(OverflowError):
        ids.make_id(-1, 0)
    assert ids.tick_at(0) == 0, "before the epoch there is only the first tick"


NAMES = st.text(alphabet="Uabc019._-", min_size=1, max_size=8)


@given(NAMES, NAMES)
def test_a_direct_conversation_is_the_same_whoever_asks(a: str, b: str) -> None:
    conversation = ids.direct_conversation(a, b)
    assert conversation == ids.direct_conversation(b, a)
    assert conversation.startswith("D")
    assert 0 <= int(conversation[1:]) <= ids.ID_MAX


@given(st.lists(NAMES, min_size=2, max_size=4), st.lists(NAMES, min_size=2, max_size=4))
def test_derived_ids_differ_where_their_parts_do(one: list[str], other: list[str]) -> None:
    assert (ids.derived_id(*one) == ids.derived_id(*other)) == (one == other)


def test_derived_ids_never_change() -> None:
    """They are in the log: another hash would make two things of one."""
    assert ids.direct_conversation("Uada", "Ugrace") == "D8892645424837079414"
    assert ids.class_of("Uada", "k", "G1", b"\x01") == 4377537886037229916


@given(*2 * [st.tuples(NAMES, NAMES, NAMES, st.binary(max_size=8))])
def test_a_class_is_one_senders_one_request_under_one_key_in_one_conversation(
    one: tuple[str, str, str, bytes], other: tuple[str, str, str, bytes]
) -> None:
    assert (ids.class_of(*one) == ids.class_of(*other)) == (one == other)
    for at, changed in enumerate(("Ux", "Ux", "Ux", b"Ux")):
        parts = list(one)
        parts[at] = changed
        assert (ids.class_of(*parts) == ids.class_of(*one)) == (changed == one[at])
