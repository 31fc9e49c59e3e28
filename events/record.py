"""A record: one place in a lane. The header is readable without the body; the body is opaque to a forwarder.

hash = BLAKE2b-256(previous hash | header | body), so one hash vouches for the whole lane up to it. The last record of
each group commit carries the origin DC's Ed25519 signature over its hash; the records before it count once it is here.
The wire form is described in docs/wire-formats.md.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence

import msgspec

from core.errors import Corrupt
from core.event import Event
from core.ids import ID_MAX

GENESIS = bytes(32)
"""The "previous hash" of a lane's first record."""

KIND_OPEN = 1
"""A process opened the lane (the body names it)."""
KIND_EVENT = 2

_HEADER = struct.Struct(">BBHQQI")  # wire version, kind, lane, seq, id, body length
WIRE_VERSION = 1


class Record(msgspec.Struct, frozen=True, gc=False):
    lane: int
    seq: int
    """Dense from 1."""
    id: int
    kind: int
    body: bytes
    hash: bytes
    signature: bytes
    """64 bytes, or b"" for a record that the next signed one vouches for."""

    def header(self) -> bytes:
        return _HEADER.pack(WIRE_VERSION, self.kind, self.lane, self.seq, self.id, len(self.body))


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A record as `apply` takes it: its place, and its event decoded."""

    lane: int
    seq: int
    id: int
    event: Event | None
    """None for an open record, which only moves the frontier, and for one that can't be decoded."""
    problem: str = ""
    """Why it can't be decoded: it is to be parked."""


def chain(previous: bytes, lane: int, seq: int, id: int, kind: int, body: bytes) -> bytes:
    """The hash of a record that follows the one with hash `previous`."""
    header = _HEADER.pack(WIRE_VERSION, kind, lane, seq, id, len(body))
    return hashlib.blake2b(previous + header + body, digest_size=32).digest()


def encode(record: Record) -> bytes:
    """The wire form: header, body, hash, signature length (1 byte), signature."""
    return b"".join((record.header(), record.body, record.hash, bytes((len(record.signature),)), record.signature))


def decode(data: bytes, offset: int = 0) -> tuple[Record, int]:
    """One record at `offset` and the offset after it. Corrupt for anything else."""
    try:
        version, kind, lane, seq, id, size = _HEADER.unpack_from(data, offset)
        at = offset + _HEADER.size
        body = data[at : at + size]
        digest = data[at + size : at + size + 32]
        length = data[at + size + 32]
        end = at + size + 33 + length
        signature = data[at + size + 33 : end]
    except (struct.error, IndexError) as error:
        raise Corrupt("a record is cut short", private=str(error)) from error
    if version != WIRE_VERSION or len(signature) != length or length not in (0, 64) or seq == 0 or id > ID_MAX:
        raise Corrupt(f"not a record (wire version {version})")
    return Record(lane, seq, id, kind, body, digest, signature), end


def decode_all(data: bytes) -> list[Record]:
    """All records of a buffer that holds nothing else."""
    records = []
    at = 0
    while at < len(data):
        record, at = decode(data, at)
        records.append(record)
    return records


def check_lane(lane: int, records: Sequence[Record]) -> None:
    """Corrupt unless these are records of `lane` whose seqs follow one another."""
    expected = records[0].seq if records else 0
    for record in records:
        if record.lane != lane:
            raise Corrupt(f"a record of lane {record.lane} among those of lane {lane}")
        if record.seq != expected:
            raise Corrupt(f"lane {lane} has a gap: seq {record.seq} where {expected} belongs")
        expected += 1


def dense_by_lane(records: Iterable[Record]) -> dict[int, list[Record]]:
    """The records of each lane, in order; Corrupt where a lane's seqs do not follow one another."""
    lanes: dict[int, list[Record]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record)
    for lane, group in lanes.items():
        check_lane(lane, group)
    return lanes
