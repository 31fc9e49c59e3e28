"""The wire form of a pull. Described in docs/replication.md.

Request: a JSON object. Answer: 4 bytes big-endian length, a msgpack map of that length, then encoded records
(events/record.py), those of one lane in order.
"""

import struct
from collections.abc import Sequence

import msgspec

from core.errors import Corrupt, Invalid
from core.unreadable import UNREADABLE
from events.record import Record, decode_all, encode

_LENGTH = struct.Struct(">I")


class PullRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What one DC asks of another."""

    dc: str
    """Who asks."""
    durable: dict[int, int] = {}
    """lane -> seq: what it holds durably. This is its word that a write is safe there."""
    applied: dict[int, int] = {}
    """lane -> seq: what it has applied."""
    held: dict[int, int] = {}
    """lane -> the last seq that it will not need again, where something holds it back (bound.held_down)."""
    have: dict[int, int] = {}
    """lane -> seq: received beyond `durable`, but not signed for yet. Records after this are wanted."""
    again: dict[int, int] = {}
    """lane -> seq: records after this are wanted in spite of `durable` and `have` (to compare histories)."""
    live: list[int] = []
    """Its own lanes that it writes to: never sent back, their ends are compared instead."""
    lazy: list[int] = []
    """DC numbers whose lanes it gets directly at present: their records are not sent."""
    skip: list[int] = []
    """Lanes that it does not want from here: trimmed here and fetched elsewhere, or stopped by a fork."""
    lanes: list[int] | None = None
    """Only these lanes (a repair); None: all."""
    wait_ms: int = 0
    limit: int = 0
    """Records wanted at most; 0: as many as the server gives."""


class PullHeader(msgspec.Struct, kw_only=True):
    """What stands before the records."""

    dc: str
    """Who answers."""
    wall_ms: int = 0
    """Its wall clock when the answer was made."""
    held_ms: int = 0
    """How long it had the request then."""
    durable: dict[int, int]
    applied: dict[int, int]
    held: dict[int, int] = {}
    more: bool = False
    """There is more right now: ask again without waiting."""
    tops: dict[int, tuple[int, bytes]] = {}
    """Of the asker's live lanes: seq and hash of the end as it is held here."""
    trimmed: dict[int, int] = {}
    """Lanes whose next records are not here any more -> the oldest seq that is (0: none)."""


_request = msgspec.json.Decoder(PullRequest)
_header = msgspec.msgpack.Decoder(PullHeader)


def encode_request(request: PullRequest) -> bytes:
    return msgspec.json.encode(request)


def decode_request(body: bytes) -> PullRequest:
    """Invalid for anything else."""
    try:
        return _request.decode(body)
    except UNREADABLE as error:
        raise Invalid(f"not a pull request: {error}") from error


def encode_answer(header: PullHeader, records: Sequence[Record]) -> bytes:
    head = msgspec.msgpack.encode(header)
    return b"".join((_LENGTH.pack(len(head)), head, *map(encode, records)))


def decode_answer(body: bytes) -> tuple[PullHeader, list[Record]]:
    """Corrupt for anything else."""
    try:
        (length,) = _LENGTH.unpack_from(body)
        header = _header.decode(body[4 : 4 + length])
    except (struct.error, *UNREADABLE) as error:
        raise Corrupt("not an answer to a pull", private=str(error)) from error
    return header, decode_all(body[4 + length :])
