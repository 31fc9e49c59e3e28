"""Lanes as a DC writes them: chained records in groups, the last of each group signed."""

from collections.abc import Sequence

from core.ids import Lane, make_id
from events.ports import Top
from events.record import GENESIS, KIND_EVENT, Record, chain
from events.signing import Signer, Verifier

SEED = b"s" * 32
LANE = Lane(1, 0, 0).number
EMPTY = Top(0, 0, GENESIS)


def verifier() -> Verifier:
    return Verifier({1: Signer(SEED).public})


def groups(
    sizes: Sequence[int],
    *,
    after: Top = EMPTY,
    lane: int = LANE,
    tag: str = "body",
    seed: bytes = SEED,
    tick: int = 1000,
) -> list[Record]:
    """Records in groups of these sizes. Another `tag` is another history, another `seed` another signer."""
    records: list[Record] = []
    hash, seq = after.hash, after.seq
    for size in sizes:
        for place in range(size):
            seq += 1
            id = make_id(tick + seq, lane)
            body = f"{tag} {seq}".encode()
            hash = chain(hash, lane, seq, id, KIND_EVENT, body)
            signature = Signer(seed).sign(hash) if place == size - 1 else b""
            records.append(Record(lane, seq, id, KIND_EVENT, body, hash, signature))
    return records


def top_of(record: Record) -> Top:
    return Top(record.seq, record.id, record.hash)
