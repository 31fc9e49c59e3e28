"""Cursors: where a client stands, signed and opaque, `PC1.<msgpack>.<mac>`, bound to their user.

`{dc, epoch, pts, V, channels}` as in docs/client-protocol.md, and `scan`: the lists that are being searched by V
because the client came from another DC or epoch. Until such a search has drained, the cursor keeps the old V.

Anybody may put a user into supergroups, so a cursor is kept short, and what it can't hold it leaves out: a cursor that
was sealed is never too long to be opened.
"""

import struct
from collections.abc import Iterable
from typing import Any

import msgspec

from api.signing import Signer
from core import limits
from core.action import Position
from core.errors import Invalid
from core.unreadable import UNREADABLE


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    user: str
    dc: str
    epoch: int
    pts: int
    """Position in the user's own list of this DC and epoch."""
    v: dict[int, int]
    """lane -> id: everything at or below it was delivered, or was never for this client."""
    channels: dict[str, int]
    """supergroup -> position in its list. A supergroup that is missing is searched from its beginning by V."""
    scan: tuple[str, ...] = ()
    """Owners of the lists whose entries count only beyond V."""

    def position(self) -> Position:
        return Position(self.dc, self.epoch, self.pts, self.v, self.channels)


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    """How a cursor travels."""

    user: str
    dc: str
    epoch: int
    pts: int
    v: dict[int, int]
    searched: bool
    """Is the user's own list searched by V?"""
    chats: bytes
    """Numbers of supergroups, 8 bytes each."""
    places: list[int]
    """Their positions, twice, and one more where the list is searched by V."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Sealed)
_CHAT_BYTES = 8
_BYTES_MAX = (limits.CURSOR_CHARS_MAX - len("PC1..") - 22) * 3 // 4
"""Of a payload: base64url makes four characters of three bytes, and 22 of the MAC."""


def decode(payload: bytes) -> Cursor:
    """One of UNREADABLE for what is none."""
    sealed = _decoder.decode(payload)
    count, rest = divmod(len(sealed.chats), _CHAT_BYTES)
    if rest or count != len(sealed.places):
        raise msgspec.DecodeError("chats and places differ")
    chats = [f"C{number}" for number in struct.unpack(f">{count}Q", sealed.chats)]
    scan = [chat for chat, place in zip(chats, sealed.places, strict=True) if place & 1]
    channels = {chat: place >> 1 for chat, place in zip(chats, sealed.places, strict=True)}
    mine = (sealed.user,) if sealed.searched else ()
    return Cursor(sealed.user, sealed.dc, sealed.epoch, sealed.pts, sealed.v, channels, (*mine, *scan))


def _encode(cursor: Cursor, chats: Iterable[str], scan: set[str]) -> bytes:
    numbers = [int(chat[1:]) for chat in chats]
    places = [cursor.channels[chat] << 1 | (chat in scan) for chat in chats]
    packed = struct.pack(f">{len(numbers)}Q", *numbers)
    mine = cursor.user in scan
    return _encoder.encode(_Sealed(cursor.user, cursor.dc, cursor.epoch, cursor.pts, cursor.v, mine, packed, places))


def _bounded(cursor: Cursor) -> tuple[bytes, bool]:
    """The payload, and whether it holds every position. One where a search has not begun is none: a supergroup that is
    missing is searched from its beginning."""
    scan = set(cursor.scan)
    chats = [chat for chat, pts in cursor.channels.items() if pts or chat not in scan]
    payload = _encode(cursor, chats, scan)
    over = len(payload) - _BYTES_MAX
    if over <= 0:
        return payload, True
    # Each has its number and at least one byte more.
    return _encode(cursor, chats[: max(0, len(chats) - over // (_CHAT_BYTES + 1) - 1)], scan), False


def refused(problem: str) -> Invalid:
    return Invalid("the cursor is not valid", errors=[{"field": "cursor", "problem": problem}])


class Cursors:
    """Seals and opens cursors."""

    def __init__(self, key: bytes) -> None:
        self._signer = Signer(key, "PC1", limits.CURSOR_CHARS_MAX)

    def seal(self, cursor: Cursor) -> str:
        """Supergroups beyond its bound are left out, so that they are searched by V."""
        return self._signer.seal(_bounded(cursor)[0])

    @staticmethod
    def holds(cursor: Cursor) -> bool:
        """Does a sealed cursor hold all these positions? In the midst of a search it has to: what was left out would
        be searched from its beginning again, and so for ever."""
        return _bounded(cursor)[1]

    def shown(self, cursor: Cursor) -> dict[str, Any]:
        """The members of an answer that tell the client where it stands: the cursor, which only we read, and in
        clear what it needs to follow the stream."""
        position = {"dc": cursor.dc, "epoch": cursor.epoch, "pts": cursor.pts, "channels": cursor.channels}
        return {"cursor": self.seal(cursor), "position": position}

    def open(self, text: object, user: str) -> Cursor:
        """Invalid for anything that was not sealed for this user."""
        if not isinstance(text, str):
            raise refused("must be a string")
        if len(text) > limits.CURSOR_CHARS_MAX:
            raise refused(f"longer than {limits.CURSOR_CHARS_MAX} characters")
        payload = self._signer.open(text)
        if payload is None:
            raise refused("not a cursor of this platform")
        try:
            cursor = decode(payload)
        except UNREADABLE as error:
            raise refused("not a cursor of this version") from error
        if cursor.user != user:
            raise refused("belongs to another user")
        return cursor
