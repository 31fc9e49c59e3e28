"""What an event log remembers of its own writes."""

from collections.abc import Sequence

from events.adapters.tail import Tail
from events.ports import Top
from events.record import GENESIS, KIND_EVENT, Record

LANE, OTHER = 645, 646


def records(first: int, last: int, size: int = 10, lane: int = LANE) -> list[Record]:
    return [
        Record(lane, seq, seq << 16 | lane, KIND_EVENT, bytes(size), GENESIS, b"") for seq in range(first, last + 1)
    ]


def seqs(found: Sequence[Record]) -> list[int]:
    return [record.seq for record in found]


def test_what_was_added_follows_any_place_in_it() -> None:
    tail = Tail()
    tail.add(LANE, records(5, 6))
    tail.add(OTHER, records(1, 1, lane=OTHER))
    tail.add(LANE, records(7, 9))
    assert seqs(tail.after(LANE, 4, 99)) == [5, 6, 7, 8, 9]
    assert seqs(tail.after(LANE, 6, 2)) == [7, 8]
    assert tail.after(OTHER, 0, 9) == records(1, 1, lane=OTHER)
    assert tail.after(LANE, 3, 99) == tail.after(LANE, 9, 99) == tail.after(99, 0, 99) == []


def test_what_does_not_follow_begins_a_new_tail() -> None:
    tail = Tail()
    tail.add(LANE, records(1, 3))
    tail.add(LANE, records(6, 7))
    assert tail.after(LANE, 1, 99) == []
    assert seqs(tail.after(LANE, 5, 99)) == [6, 7]


def test_it_is_bounded_by_the_bytes_of_bodies() -> None:
    tail = Tail(bytes_max=100)
    for seq in range(1, 1_000):
        tail.add(LANE, records(seq, seq))
        kept = next(seqs(tail.after(LANE, after, 99)) for after in range(seq) if tail.after(LANE, after, 99))
        assert kept[-1] == seq
        assert min(seq, 5) <= len(kept) <= 10
    tail.add(LANE, records(1_000, 1_000, size=101))
    assert tail.after(LANE, 999, 9) == []
    tail.add(LANE, records(1_001, 1_001, size=100))
    assert len(tail.after(LANE, 1_000, 9)) == 1


def test_it_is_bounded_by_records_too() -> None:
    tail = Tail(records_max=10)
    for seq in range(1, 100):
        tail.add(LANE, records(seq, seq, size=0))
        first, last = tail.spans()[LANE]
        assert last == seq
        assert min(seq, 5) <= last + 1 - first <= 10


def test_nothing_is_kept_beyond_the_log_s_end() -> None:
    tail = Tail(bytes_max=100)
    tail.add(LANE, records(3, 10))
    for end in (records(11, 11), records(10, 10)):
        tail.end(LANE, Top.of(end[0]))
        assert tail.spans() == {LANE: (3, 10)}
    tail.end(LANE, Top.of(records(6, 6)[0]))
    assert tail.spans() == {LANE: (3, 6)}
    tail.add(LANE, records(7, 12))  # ten bodies: what went no longer counts
    assert tail.spans() == {LANE: (3, 12)}
    tail.end(OTHER, Top(0, 0, GENESIS))
    tail.end(LANE, Top.of(records(2, 2)[0]))
    assert tail.spans() == {}


def test_a_log_that_holds_another_record_at_its_end_holds_none_of_ours_for_sure() -> None:
    tail = Tail()
    tail.add(LANE, records(3, 10))
    tail.end(LANE, Top.of(records(6, 6)[0])._replace(hash=bytes([1]) * 32))
    assert tail.spans() == {}


def test_what_was_trimmed_is_forgotten() -> None:
    tail = Tail(bytes_max=100)
    tail.add(LANE, records(3, 10))
    tail.forget(LANE, 2)
    assert seqs(tail.after(LANE, 2, 3)) == [3, 4, 5]
    tail.forget(LANE, 6)
    assert tail.after(LANE, 5, 3) == []
    assert seqs(tail.after(LANE, 6, 3)) == [7, 8, 9]
    tail.add(LANE, records(11, 16))  # ten bodies: what was forgotten no longer counts
    assert len(tail.after(LANE, 6, 99)) == 10
    tail.forget(LANE, 99)
    assert tail.after(LANE, 15, 9) == []
    tail.forget(OTHER, 9)
