"""`GET /v1/dialogs/{peer}/messages`: the messages of a conversation that the caller may read."""

from typing import Any

import pydantic

from api import answers
from api.calls import Call
from api.operations import Read
from api.queries.paging import LIMIT_DEFAULT, Limit
from api.queries.visible import Budget, Page, Reader
from core import ids, limits
from core.action import Request
from core.actions.fields import MessageId, Peer
from core.errors import Invalid, NotFound
from stores.view import StoreView


class HistoryRequest(Request):
    peer: Peer
    before: MessageId | None = None
    after: MessageId | None = None
    around: MessageId | None = None
    limit: Limit = LIMIT_DEFAULT

    @pydantic.model_validator(mode="after")
    def _one_direction(self) -> "HistoryRequest":
        if sum(one is not None for one in (self.before, self.after, self.around)) > 1:
            raise ValueError("give only one of before, after, around")
        return self


class History:
    def __init__(self, view: StoreView) -> None:
        self._view = view

    def reads(self) -> list[Read]:
        return [
            Read(
                "messages.list",
                "GET",
                "/v1/dialogs/{peer}/messages",
                "Messages of a dialog, oldest first",
                "Each message is the fold of its rows that this datacenter has applied; order is by id. A late message "
                "takes its place among those that were shown before: updates bring it, a history does not repeat it. A "
                f"page ends early with the message that brings its texts and reactions to {limits.HISTORY_BYTES_MAX:,} "
                f"bytes, and after {limits.SCAN_MESSAGES_MAX:,} messages of which the caller is shown none: go on from "
                "`next_before` or `next_after`. `replies` has each of its messages that begins a thread: how many of "
                f"the newest {limits.REPLIES_SHOWN_MAX} replies the caller may see, and the newest of them.",
                self.messages,
                answers.History,
                HistoryRequest,
                errors=(Invalid, NotFound),
            )
        ]

    async def messages(self, call: Call, request: HistoryRequest) -> dict[str, Any]:
        reader = await Reader.of_peer(self._view, call.caller.user, request.peer)
        budget = Budget(limits.SCAN_MESSAGES_MAX)
        older, newer = Page([], 0), Page([], 0)
        if request.after is not None:
            newer = await reader.after(int(request.after), request.limit, budget)
        elif request.around is not None:
            middle = int(request.around)
            older = await reader.before(min(middle + 1, ids.ID_MAX), (request.limit + 1) // 2, budget)
            newer = await reader.after(middle, request.limit // 2, budget) if request.limit > 1 else newer
        else:
            older = await reader.before(int(request.before or ids.ID_MAX), request.limit, budget)
        messages = [*older.messages, *newer.messages]
        replies = await reader.replies_to(messages)
        return {
            "conversation": reader.conversation,
            "messages": [message.shown() for message in messages],
            "replies": {str(id): told.shown() for id, told in replies.items()},
            "next_before": str(older.next) if older.next else None,
            "next_after": str(newer.next) if newer.next else None,
        }
