"""`GET /v1/dialogs/{peer}/mentions`: what names me and I have not read."""

from typing import Any

from api import answers
from api.calls import Call
from api.operations import Read
from api.queries.paging import LIMIT_DEFAULT, Limit
from api.queries.visible import Budget, Reader
from core import limits
from core.action import Request
from core.actions.fields import MessageId, Peer
from core.errors import Invalid, NotFound
from stores.view import StoreView


class MentionsRequest(Request):
    peer: Peer
    after: MessageId | None = None
    limit: Limit = LIMIT_DEFAULT


class MentionsReader(Reader):
    """One user's sight of some messages of a conversation: `after` walks them."""

    ids: list[int]

    async def _ids(
        self, *, before: int | None, after: int | None, limit: int, known: dict[int, int] | None
    ) -> list[int]:
        assert before is None and known is None, "mentions are read forward"
        return [id for id in self.ids if id > (after or 0)][:limit]


class Mentions:
    def __init__(self, view: StoreView) -> None:
        self._view = view

    def reads(self) -> list[Read]:
        return [
            Read(
                "mentions.list",
                "GET",
                "/v1/dialogs/{peer}/mentions",
                "Messages of a dialog that mention me and that I have not read, oldest first",
                "Derived from the messages that this datacenter has applied, the same in every one that has applied "
                "the same: beyond my read and clear marks per lane, after I joined, not recalled, not hidden, each "
                "once however many copies it has. A late message counts though its id is below one that I have read. "
                f"Of the newest {limits.MENTIONS_COUNTED_MAX} mentions in a dialog; `more` says that there may be "
                "others.",
                self.mentions,
                answers.Mentions,
                MentionsRequest,
                errors=(Invalid, NotFound),
            )
        ]

    async def mentions(self, call: Call, request: MentionsRequest) -> dict[str, Any]:
        user = call.caller.user
        reader = await MentionsReader.of_peer(self._view, user, request.peer)
        reader.ids, more = await self._view.unread_mentions(user, reader.conversation)
        page = await reader.after(int(request.after or 0), request.limit, Budget(limits.SCAN_MESSAGES_MAX))
        return {
            "conversation": reader.conversation,
            "messages": [message.shown() for message in page.messages],
            "count": len(reader.ids),
            "more": more,
            "next_after": str(page.next) if page.next else None,
        }
