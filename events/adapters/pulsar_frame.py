"""What one Pulsar message of a lane's topic holds: the lane's state after it, and a group commit's records or none.

A frame says whose the lane is, in which *term*, and where it ends. Whoever takes a lane begins a term, with a frame of
its own; so the last message alone tells the state, and a frame of an earlier term behind it counts for nothing. One
message per group makes a group whole or absent, whatever a producer is doing when it dies. The wire form is described
in docs/wire-formats.md.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from core.errors import Corrupt
from events.ports import Top
from events.record import GENESIS, Record, check_lane, decode_all, encode

_HEADER = struct.Struct(">4sBBHQQQQ32sB")
"""Magic, version, flags, lane, term, first seq of the records (0: none), end (seq, id, hash), length of the owner."""
_MAGIC = b"PBLF"
_VERSION = 1
_RETIRED = 1


class State(NamedTuple):
    """A lane as its last frame tells it."""

    term: int
    """Counts the takings of the lane."""
    owner: bytes
    """b"": nobody's; others' records may be stored."""
    retired: bool
    """Nobody's for ever."""
    top: Top

    def then(self, told: "State") -> "State":
        """What the next frame, which tells that state, makes of it. One of an earlier term makes nothing; an end never
        goes back, for a term may begin while the last record of the one before is on its way."""
        if told.term < self.term:
            return self
        return told if told.top.seq >= self.top.seq else told._replace(top=self.top)


NEW = State(0, b"", False, Top(0, 0, GENESIS))


class Frame(NamedTuple):
    lane: int
    state: State
    first: int
    """The first seq of its records, which end at the state's top; 0 if it has none."""
    body: bytes
    """The records."""

    def records(self) -> list[Record]:
        """They are dense and end at the top, else Corrupt."""
        records = decode_all(self.body)
        if records:
            check_lane(self.lane, records)
        if (records[0].seq if records else 0) != self.first or (records and Top.of(records[-1]) != self.state.top):
            raise Corrupt(f"lane {self.lane} holds a group that is not what its head says")
        return records


def encode_frame(lane: int, state: State, records: Sequence[Record] = ()) -> bytes:
    """The bytes of a frame; `state.top` is the last record's, if there are any."""
    first = records[0].seq if records else 0
    head = _HEADER.pack(
        _MAGIC, _VERSION, _RETIRED * state.retired, lane, state.term, first, *state.top, len(state.owner)
    )
    return b"".join((head, state.owner, *map(encode, records)))


def decode_frame(lane: int, data: bytes) -> Frame:
    """Corrupt for anything that is not a frame of this lane."""
    try:
        magic, version, flags, of, term, first, seq, id, hash, length = _HEADER.unpack_from(data)
    except struct.error as error:
        raise Corrupt(f"lane {lane} holds a message that is none of ours", private=str(error)) from error
    at = _HEADER.size + length
    if magic != _MAGIC or version != _VERSION or flags > _RETIRED or of != lane or len(data) < at:
        raise Corrupt(f"lane {lane} holds a message that is none of ours", private=repr(data[:16]))
    owner = data[_HEADER.size : at]
    return Frame(lane, State(term, owner, bool(flags & _RETIRED), Top(seq, id, hash)), first, data[at:])
