"""Cursors: where a client stands, signed and opaque, `PC1.<msgpack>.<mac>`, bound to their user.

`{dc, epoch, pts, V, channels}` as in docs/client-protocol.md, and `scan`: the lists that are being searched by V
because the client came from another DC or epoch. Until such a search has drained, the cursor keeps the old V.
"""

from typing import Any

import msgspec

from api.signing import Signer
from core import limits
from core.action import Position
from core.errors import Invalid


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


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Cursor)


def refused(problem: str) -> Invalid:
    return Invalid("the cursor is not valid", errors=[{"field": "cursor", "problem": problem}])


class Cursors:
    """Seals and opens cursors."""

    def __init__(self, key: bytes) -> None:
        self._signer = Signer(key, "PC1", limits.CURSOR_CHARS_MAX)

    def seal(self, cursor: Cursor) -> str:
        return self._signer.seal(_encoder.encode(cursor))

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
            cursor = _decoder.decode(payload)
        except msgspec.DecodeError as error:
            raise refused("not a cursor of this version") from error
        if cursor.user != user:
            raise refused("belongs to another user")
        return cursor
