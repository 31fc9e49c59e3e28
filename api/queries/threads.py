"""`GET /v1/messages/{message}/replies`: a thread, that is a message and all replies to it and to one another."""

from typing import Any

import pydantic

from api import answers
from api.calls import Call
from api.operations import Read
from api.queries.paging import LIMIT_DEFAULT, Limit
from api.queries.visible import Budget, Page, Reader
from core import ids, limits
from core.action import Request
from core.actions.conversations import readable
from core.actions.fields import MessageId
from core.errors import Invalid, NotFound
from stores.view import StoreView


class RepliesRequest(Request):
    message: MessageId
    before: MessageId | None = None
    after: MessageId | None = None
    limit: Limit = LIMIT_DEFAULT

    @pydantic.model_validator(mode="after")
    def _one_direction(self) -> "RepliesRequest":
        if self.before is not None and self.after is not None:
            raise ValueError("give only one of before, after")
        return self


class ThreadReader(Reader):
    """One user's sight of one thread: `before` and `after` walk its replies."""

    thread = 0
    """The class of its first message."""

    async def _ids(
        self, *, before: int | None, after: int | None, limit: int, known: dict[int, int] | None
    ) -> list[int]:
        assert known is None, "the last message that a former member knew is looked for in the whole conversation"
        return await self._view.replies(self.thread, before=before, after=after, limit=limit)

    async def count(self) -> tuple[int, bool]:
        """A former member learns nothing of how much is written since."""
        return await self._view.reply_count(self.thread, self.membership.seen if self.membership.former else None)


class Threads:
    def __init__(self, view: StoreView) -> None:
        self._view = view

    def reads(self) -> list[Read]:
        return [
            Read(
                "replies.list",
                "GET",
                "/v1/messages/{message}/replies",
                "The thread of a message: its first message and the replies, oldest first",
                "A reply is in the thread of what it replies to; a thread has the class of its first message for a "
                "name, so it is one thread whichever copy of a message was replied to. `count` is counted from the "
                f"first {limits.REPLIES_COUNTED_MAX:,} replies that this datacenter has applied, each once, without "
                "recalled ones; `count_more` says that there are others. A late reply takes its place by its id. The "
                f"first page has the oldest ones; `before={ids.ID_MAX}` begins with the newest. Pages end early as "
                "those of a history do.",
                self.replies,
                answers.Thread,
                RepliesRequest,
                errors=(Invalid, NotFound),
            )
        ]

    async def replies(self, call: Call, request: RepliesRequest) -> dict[str, Any]:
        user = call.caller.user
        message = await readable(self._view, user, int(request.message))
        reader = await ThreadReader.of(self._view, user, message.conversation)
        reader.thread = message.thread_class or message.class_
        first = message.thread or message.id
        root = await reader.one(first)
        count, more = await reader.count()
        budget, older, newer = Budget(limits.SCAN_MESSAGES_MAX), Page([], 0), Page([], 0)
        if request.before is not None:
            older = await reader.before(int(request.before), request.limit, budget)
        else:
            newer = await reader.after(int(request.after or 0), request.limit, budget)
        return {
            "thread": str(first),
            "root": root.shown() if root is not None else None,
            "replies": [reply.shown() for reply in (*older.messages, *newer.messages)],
            "count": count,
            "count_more": more,
            "next_before": str(older.next) if older.next else None,
            "next_after": str(newer.next) if newer.next else None,
        }
