"""`GET /v1/messages/{message}/replies`: a thread, that is a message and all replies to it and to one another."""

from typing import Any

from api import answers
from api.calls import Call
from api.operations import Read
from api.queries.paging import LIMIT_DEFAULT, Limit
from api.queries.visible import Budget, Reader
from core import limits
from core.action import Request
from core.actions.conversations import readable
from core.actions.fields import MessageId
from core.errors import Invalid, NotFound
from stores.view import StoreView


class RepliesRequest(Request):
    message: MessageId
    after: MessageId | None = None
    limit: Limit = LIMIT_DEFAULT


class ThreadReader(Reader):
    """One user's sight of one thread: `after` walks its replies."""

    thread = 0
    """The class of its first message."""

    async def _ids(
        self, *, before: int | None, after: int | None, limit: int, known: dict[int, int] | None
    ) -> list[int]:
        assert before is None and known is None, "a thread is read forward"
        return await self._view.replies(self.thread, after or 0, limit)

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
                "recalled ones; `count_more` says that there are others. A late reply takes its place by its id. Pages "
                "end early as those of a history do.",
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
        page = await reader.after(int(request.after or 0), request.limit, Budget(limits.SCAN_MESSAGES_MAX))
        return {
            "thread": str(first),
            "root": root.shown() if root is not None else None,
            "replies": [reply.shown() for reply in page.messages],
            "count": count,
            "count_more": more,
            "next_after": str(page.next) if page.next else None,
        }
