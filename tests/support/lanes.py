"""Records for tests: lanes with a true hash chain and bodies that need not be events."""

from core.ids import make_id
from events.ports import Top
from events.record import GENESIS, KIND_EVENT, Record, chain

EMPTY = Top(0, 0, GENESIS)


def records_after(top: Top, lane: int, count: int, tag: str = "body") -> list[Record]:
    """`count` records that follow `top`; another tag gives other bytes."""
    records = []
    for _ in range(count):
        seq = top.seq + 1
        # Far beyond 2^53, so that an id that passed through a double is noticed.
        id = make_id((1 << 46) + seq, lane)
        body = f"{tag} {seq}".encode()
        record = Record(lane, seq, id, KIND_EVENT, body, chain(top.hash, lane, seq, id, KIND_EVENT, body), b"")
        records.append(record)
        top = Top.of(record)
    return records
