"""Messages of a lane's topic, and the places of its groups: what needs no Pulsar."""

import pytest

from core.errors import Corrupt
from events.adapters.pulsar_frame import NEW, State, decode_frame, encode_frame
from events.adapters.pulsar_places import Place, Places
from events.ports import Top
from tests.support.lanes import EMPTY, records_after

LANE = 2_049


def state_of(term: int, seq: int, owner: bytes = b"") -> State:
    records = records_after(EMPTY, LANE, seq)
    return State(term, owner, False, Top.of(records[-1]) if records else EMPTY)


@pytest.mark.parametrize("owner", [b"", b"12345678", b"o" * 255])
@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("retired", [False, True])
def test_a_frame_comes_back_as_it_was(owner: bytes, count: int, retired: bool) -> None:
    records = records_after(EMPTY, LANE, 7)[7 - count :]
    state = state_of(3, 7, owner)._replace(retired=retired)
    frame = decode_frame(LANE, encode_frame(LANE, state, records))
    assert frame.state == state
    assert frame.first == (records[0].seq if records else 0)
    assert frame.records() == records


def test_what_is_no_frame_of_the_lane_is_corrupt() -> None:
    data = encode_frame(LANE, state_of(1, 3), records_after(EMPTY, LANE, 3))
    for wrong in (b"", b"hello", data[:40], b"x" + data[1:], data[:4] + b"\2" + data[5:], data[:5] + b"\4" + data[6:]):
        with pytest.raises(Corrupt):
            decode_frame(LANE, wrong)
    with pytest.raises(Corrupt):
        decode_frame(LANE + 1, data)
    for wrong in (data[:-1], data + b"x", encode_frame(LANE, state_of(1, 4), records_after(EMPTY, LANE, 3))):
        with pytest.raises(Corrupt):
            decode_frame(LANE, wrong).records()
    with pytest.raises(Corrupt):
        decode_frame(LANE, encode_frame(LANE, state_of(1, 4), records_after(EMPTY, LANE, 4)[::3])).records()


def test_an_earlier_term_counts_for_nothing_and_an_end_never_goes_back() -> None:
    now = NEW.then(state_of(4, 5, b"now"))
    assert now.then(state_of(3, 9, b"former")) == now
    assert now.then(state_of(4, 2, b"now")) == now
    taken = now.then(state_of(5, 3, b"next"))
    assert (taken.term, taken.owner, taken.top.seq) == (5, b"next", 5)


def test_places_are_few_and_never_behind_what_is_looked_for() -> None:
    places = Places(8)
    for number in range(100):
        places.add(1 + 10 * number, Place(1, number))
        places.add(1 + 10 * number, Place(2, number))
    for seq in range(1, 1_001):
        found = places.before(seq)
        assert found is not None
        first, place = found
        assert first <= seq
        assert place == Place(1, (first - 1) // 10)
    found = places.before(1_000)
    assert found is not None and found[0] > 700
    assert places.before(0) is None


def test_places_before_what_is_kept_are_forgotten() -> None:
    places = Places()
    for first in (1, 11, 21):
        places.add(first, Place(1, first))
    places.forget(14)
    assert places.before(10) is None
    assert places.before(15) == (11, Place(1, 11))
    places.forget(20)
    assert places.before(20) is None
    assert places.before(21) == (21, Place(1, 21))
