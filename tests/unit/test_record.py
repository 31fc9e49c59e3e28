"""A record's wire form and hash chain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.errors import Corrupt
from core.ids import ID_MAX
from events.record import (
    GENESIS,
    KIND_EVENT,
    Record,
    chain,
    check_lane,
    decode,
    decode_all,
    dense_by_lane,
    encode,
)
from tests.support.lanes import EMPTY, records_after

records = st.builds(
    Record,
    lane=st.integers(0, 65_535),
    seq=st.integers(1, (1 << 53) - 1),
    id=st.integers(0, (1 << 63) - 1),
    kind=st.integers(0, 255),
    body=st.binary(max_size=300),
    hash=st.binary(min_size=32, max_size=32),
    signature=st.just(b"") | st.binary(min_size=64, max_size=64),
)


@given(st.lists(records, max_size=5))
def test_records_come_back_from_a_buffer_as_they_were(sent: list[Record]) -> None:
    assert decode_all(b"".join(map(encode, sent))) == sent


@given(records, st.binary(max_size=40))
def test_a_record_ends_where_the_next_begins(record: Record, rest: bytes) -> None:
    assert decode(b"before" + encode(record) + rest, 6) == (record, 6 + len(encode(record)))


@given(records, st.data())
def test_a_cut_record_is_corrupt(record: Record, data: st.DataObject) -> None:
    whole = encode(record)
    with pytest.raises(Corrupt):
        decode(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary(max_size=120))
def test_no_bytes_fail_otherwise(buffer: bytes) -> None:
    try:
        decode_all(buffer)
    except Corrupt:
        return


def test_the_header_is_readable_without_the_body() -> None:
    record = records_after(EMPTY, 2_049, 1)[0]
    assert encode(record).startswith(record.header())
    assert len(record.header()) == 24


def test_the_hash_vouches_for_place_id_kind_body_and_everything_before() -> None:
    base = chain(GENESIS, 1, 2, 3, KIND_EVENT, b"body")
    others = {
        chain(b"x" * 32, 1, 2, 3, KIND_EVENT, b"body"),
        chain(GENESIS, 9, 2, 3, KIND_EVENT, b"body"),
        chain(GENESIS, 1, 9, 3, KIND_EVENT, b"body"),
        chain(GENESIS, 1, 2, 9, KIND_EVENT, b"body"),
        chain(GENESIS, 1, 2, 3, 9, b"body"),
        chain(GENESIS, 1, 2, 3, KIND_EVENT, b"else"),
    }
    assert len(others) == 6
    assert base not in others
    assert base == chain(GENESIS, 1, 2, 3, KIND_EVENT, b"body")


def test_mixed_lanes_are_sorted_apart_and_each_must_be_dense() -> None:
    one, two = records_after(EMPTY, 1, 3), records_after(EMPTY, 2, 3)
    assert dense_by_lane([one[0], two[0], one[1], two[1], one[2]]) == {1: one, 2: two[:2]}
    with pytest.raises(Corrupt):
        dense_by_lane([one[0], two[0], one[2]])
    with pytest.raises(Corrupt):
        check_lane(1, [one[1], one[0]])
    with pytest.raises(Corrupt):
        check_lane(2, one)


def test_a_record_whose_id_no_store_could_hold_is_none() -> None:
    sound = Record(2048, 1, ID_MAX, KIND_EVENT, b"", bytes(32), b"")
    assert decode(encode(sound))[0] == sound
    with pytest.raises(Corrupt):
        decode(encode(replace(sound, id=ID_MAX + 1)))
