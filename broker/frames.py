"""The frames of the stream, to and from bytes. docs/websocket.md is their contract.

An update is encoded once, by whoever applied it; here its bytes are put between brackets, for as many recipients as
there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum

import msgspec

from core import limits
from core.errors import Corrupt, TokenExpired, Unauthenticated
from core.unreadable import UNREADABLE


class Close(IntEnum):
    """Close codes of the stream."""

    TRY_LATER = 1013
    MOVE = 4001
    REVOKED = 4003
    SLOW = 4008
    REFUSED = 4400
    REPLACED = 4409
    TOO_MUCH = 4429
    UNAUTHENTICATED = 4401
    EXPIRED = 4402


def of_refusal(error: Unauthenticated) -> Close:
    """How to close where a token is not good, or no longer."""
    return Close.EXPIRED if isinstance(error, TokenExpired) else Close.UNAUTHENTICATED


# -- what the appliers announce (stores/announce.py)


class Announcement(msgspec.Struct, frozen=True, array_like=True):
    deliveries: list[tuple[str, int, int | None]]
    """(owner, pts, index into updates); no index where the client has to fetch."""
    updates: list[bytes]
    revoked: list[str] = []
    """Sessions that ended."""


class _Head(msgspec.Struct, frozen=True):
    type: str


_announcement = msgspec.msgpack.Decoder(Announcement)
_head = msgspec.json.Decoder(_Head)


def announcement(frame: bytes) -> Announcement:
    """Corrupt for what is no announcement."""
    try:
        found = _announcement.decode(frame)
    except UNREADABLE as error:
        raise Corrupt("an announcement can't be read", private=str(error)) from error
    if any(index is not None and not 0 <= index < len(found.updates) for _, _, index in found.deliveries):
        raise Corrupt("an announcement names an update that it does not hold")
    return found


def type_of(update: bytes) -> str:
    """The `type` of an encoded update. Corrupt if it has none."""
    try:
        return _head.decode(update).type
    except UNREADABLE as error:
        raise Corrupt("an announced update can't be read", private=str(error)) from error


# -- what a client sends


class At(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A client's own statement of what it has: it can harm only itself."""

    dc: str
    epoch: int
    pts: int
    channels: dict[str, int] = {}


class Hello(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hello", tag_field="type"):
    token: str | None = None
    cursor: str | None = None
    at: At | None = None
    """Overrides the position in the cursor: updates received since it was issued."""


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ping", tag_field="type"):
    pass


_from_client: msgspec.json.Decoder[Hello | Ping] = msgspec.json.Decoder(Hello | Ping)


def from_client(text: str) -> Hello | Ping | None:
    """None for anything that is neither."""
    try:
        return _from_client.decode(text)
    except UNREADABLE:
        return None


# -- what a client gets

_json = msgspec.json.Encoder()
PONG = b'{"type":"pong"}'


def encoded(update: object) -> bytes:
    """One update as JSON."""
    return _json.encode(update)


def hello(dc: str, epoch: int, pts: int, channels: Mapping[str, int], heartbeat_s: int) -> bytes:
    return _json.encode(
        {"type": "hello", "dc": dc, "epoch": epoch, "pts": pts, "channels": channels, "heartbeat_s": heartbeat_s}
    )


def resume(reason: str, dc: str, epoch: int) -> bytes:
    return _json.encode({"type": "resume", "reason": reason, "dc": dc, "epoch": epoch})


def heartbeat(pts: int, channels: Mapping[str, int]) -> bytes:
    return _json.encode({"type": "heartbeat", "pts": pts, "channels": channels})


def poke(owner: str, pts: int) -> bytes:
    if is_channel(owner):
        return b'{"type":"poke","channel":"%b","pts":%d}' % (owner.encode(), pts)
    return b'{"type":"poke","pts":%d}' % pts


def item(owner: str, pts: int, update: bytes) -> bytes:
    """One member of an updates frame; the same bytes for all who get it."""
    if is_channel(owner):
        return b'{"pts":%d,"channel":"%b","update":%b}' % (pts, owner.encode(), update)
    return b'{"pts":%d,"update":%b}' % (pts, update)


def updates(items: Sequence[bytes]) -> Iterator[bytes]:
    """Updates frames that hold the items in order."""
    size, begin = 0, 0
    for at, one in enumerate(items):
        if size and size + len(one) > limits.STREAM_FRAME_BYTES_MAX:
            yield _updates(items[begin:at])
            size, begin = 0, at
        size += len(one)
    if begin < len(items):
        yield _updates(items[begin:])


def _updates(items: Sequence[bytes]) -> bytes:
    return b'{"type":"updates","updates":[' + b",".join(items) + b"]}"


def is_channel(owner: str) -> bool:
    """A supergroup's list rather than a user's."""
    return owner[:1] == "C"
