"""Where a client stands: its cursor, and what it has had of the stream since, by its own statement.

Frames of the stream carry positions in clear, not cursors. A false statement harms only whoever makes it: it can skip
his own updates and set his own marks, no more.
"""

from typing import Annotated

import msgspec
import pydantic

from api.cursors import Cursor
from core.action import Position, Request
from core.actions.fields import ChatId

Pts = Annotated[int, pydantic.Field(ge=0, le=(1 << 53) - 1)]


class At(Request):
    """The position of the last frame or page that the client has, as answers and frames show it."""

    dc: Annotated[str, pydantic.Field(max_length=64)]
    epoch: Pts
    pts: Pts
    channels: dict[ChatId, Pts] = pydantic.Field(default_factory=dict)


def ahead(cursor: Cursor, at: At | None) -> Cursor:
    """The cursor with what the client has of the stream since. A list that is being searched by V stays where the
    search is, and a supergroup that the cursor does not know is searched: the stream can't speak for those."""
    if at is None or (at.dc, at.epoch) != (cursor.dc, cursor.epoch):
        return cursor
    scan = set(cursor.scan)
    pts = cursor.pts if cursor.user in scan else max(cursor.pts, at.pts)
    channels = {
        chat: known if chat in scan else max(known, at.channels.get(chat, 0)) for chat, known in cursor.channels.items()
    }
    return msgspec.structs.replace(cursor, pts=pts, channels=channels)


def position_of(cursor: Cursor | None, at: At | None) -> Position | None:
    """What a mark may cover. Without a cursor only the stream counts, and nothing in another DC or epoch."""
    if cursor is None:
        return Position(at.dc, at.epoch, at.pts, {}, at.channels) if at is not None else None
    if at is None or (at.dc, at.epoch) != (cursor.dc, cursor.epoch):
        return cursor.position()
    return ahead(cursor, at).position()._replace(channels=at.channels | ahead(cursor, at).channels)
