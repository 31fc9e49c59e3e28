"""A segment: a stretch of one lane as an object of the archive, `archive/<lane>/<first>-<last>.seg`.

Layout (big-endian): magic 8, format version 2, lane 2, first seq 8, last seq 8, previous id 8, previous hash 32,
last id 8, last hash 32, payload length 8, checksum 32 | zstd frame of the payload: the records' wire form
(events/record.py), one after the other. The checksum is BLAKE2b-256 over the header before it and the zstd frame;
"previous" is the record before the first, so segments chain as records do and each can be verified alone.
"""

import hashlib
import re
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import zstandard

from core import limits
from core.errors import Corrupt, Forked
from events.ports import Top
from events.record import Record, chain, decode_all, encode

PREFIX = "archive/"
FORMAT = 1
_MAGIC = b"PLANBSEG"
_HEADER = struct.Struct(">8sHHQQQ32sQ32sQ")
_CHECKSUM_BYTES = 32
_RECORD_BYTES_MAX = limits.BODY_BYTES_MAX + 256
_NAME = re.compile(r"archive/(\d{1,5})/(\d{12})-(\d{12})\.seg")
_LEVEL = 1
"""Of records 3 makes no less, and takes half as long again: hashes and keys are most of them."""


def lane_folder(lane: int) -> str:
    """The prefix of a lane's segments."""
    return f"{PREFIX}{lane}/"


def lane_of(key: str) -> int | None:
    """The lane that an object of the archive, or a lane's folder, belongs to; None for any other key."""
    lane = key.removeprefix(PREFIX).partition("/")[0]
    return int(lane) if key.startswith(PREFIX) and lane.isdecimal() else None


class Span(NamedTuple):
    """A segment's place, as its key says it."""

    lane: int
    first: int
    last: int

    @property
    def key(self) -> str:
        return f"{lane_folder(self.lane)}{self.first:012d}-{self.last:012d}.seg"

    @property
    def size(self) -> int:
        """In records."""
        return self.last - self.first + 1

    def covers(self, other: "Span") -> bool:
        return self.first <= other.first and other.last <= self.last

    @classmethod
    def of(cls, key: str) -> "Span | None":
        """None for a key that names no segment."""
        match = _NAME.fullmatch(key)
        if match is None:
            return None
        lane, first, last = map(int, match.groups())
        return cls(lane, first, last) if lane <= 0xFFFF and 0 < first <= last else None


class Segment(NamedTuple):
    """A decoded and verified segment."""

    span: Span
    previous: Top
    """The place before the first record."""
    top: Top
    """The place of the last record."""
    records: Sequence[Record]
    payload_bytes: int

    def place(self, seq: int) -> Top:
        """The id and hash at a seq from `first - 1` to `last`."""
        if seq == self.previous.seq:
            return self.previous
        return Top.of(self.records[seq - self.span.first])


def check_chain(previous: Top, records: Iterable[Record], where: str) -> Top:
    """The end of `records` after `previous`. Corrupt for a gap, Forked where a hash does not follow; says `where`."""
    at, hash = previous.seq, previous.hash
    id = previous.id
    for record in records:
        if record.seq != at + 1:
            raise Corrupt(f"{where}: after seq {at} comes seq {record.seq}", object=where)
        hash = chain(hash, record.lane, record.seq, record.id, record.kind, record.body)
        if hash != record.hash:
            what = f"the record at seq {record.seq} does not follow from the one before it"
            raise Forked(f"{where}: {what}", object=where)
        at, id = record.seq, record.id
    return Top(at, id, hash)


def encode_segment(previous: Top, records: Sequence[Record]) -> tuple[Span, bytes]:
    """The object that holds `records`, which must follow `previous` in one lane (else Corrupt, Forked)."""
    lane = records[0].lane
    span = Span(lane, previous.seq + 1, previous.seq + len(records))
    if any(record.lane != lane for record in records):
        raise Corrupt(f"{span.key}: records of several lanes")
    top = check_chain(previous, records, span.key)
    payload = b"".join(map(encode, records))
    frame = zstandard.ZstdCompressor(level=_LEVEL).compress(payload)
    header = _HEADER.pack(
        _MAGIC, FORMAT, lane, span.first, span.last, previous.id, previous.hash, top.id, top.hash, len(payload)
    )
    return span, b"".join((header, _checksum(header, frame), frame))


def decode_segment(span: Span, data: bytes) -> Segment:
    """The segment with every record's hash verified. Corrupt, naming the object, for anything else."""
    at = _HEADER.size + _CHECKSUM_BYTES
    header, checksum, frame = data[: _HEADER.size], data[_HEADER.size : at], data[at:]
    if len(data) < at or checksum != _checksum(header, frame):
        raise Corrupt(f"{span.key}: damaged (its checksum differs)", object=span.key)
    magic, version, lane, first, last, previous_id, previous_hash, id, hash, size = _HEADER.unpack(header)
    if magic != _MAGIC or version != FORMAT:
        raise Corrupt(f"{span.key}: not a segment of format {FORMAT}", object=span.key)
    if Span(lane, first, last) != span or size > limits.SEGMENT_BYTES_MAX + _RECORD_BYTES_MAX:
        raise Corrupt(f"{span.key}: its header names lane {lane}, {first} to {last}", object=span.key)
    try:
        payload = zstandard.ZstdDecompressor().decompress(frame, max_output_size=size)
        records = decode_all(payload)
    except (zstandard.ZstdError, Corrupt) as error:
        raise Corrupt(f"{span.key}: damaged", private=str(error), object=span.key) from error
    previous = Top(first - 1, previous_id, previous_hash)
    top = Top(last, id, hash)
    if len(payload) != size or any(record.lane != lane for record in records):
        raise Corrupt(f"{span.key}: its records are not those that its header names", object=span.key)
    if check_chain(previous, records, span.key) != top:
        raise Corrupt(f"{span.key}: its last record is not the one that its header names", object=span.key)
    return Segment(span, previous, top, records, size)


def _checksum(header: bytes, frame: bytes) -> bytes:
    digest = hashlib.blake2b(header, digest_size=_CHECKSUM_BYTES)
    digest.update(frame)
    return digest.digest()
