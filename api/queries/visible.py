"""A conversation as one user sees it: what he may read, less what he has cleared and hidden."""

from typing import NamedTuple

from core import ids, limits
from core.access import kind_of, may_read
from core.actions.conversations import conversation_of
from core.membership import Membership
from core.messages import Message
from stores.view import StoreView


class Page(NamedTuple):
    messages: list[Message]
    """Ascending by id."""
    next: int
    """Where to go on in the same direction; 0 at the end."""


class Reader:
    """One user's sight of one conversation, read once and good for one request."""

    def __init__(
        self,
        view: StoreView,
        user: str,
        conversation: str,
        membership: Membership,
        cleared: dict[int, int],
        hidden: set[int],
    ) -> None:
        self._view = view
        self.user = user
        self.conversation = conversation
        self.kind = kind_of(conversation)
        self.membership = membership
        self._former = {conversation: membership} if membership.former else {}
        self._cleared = cleared
        self._hidden = hidden

    @classmethod
    async def of_peer(cls, view: StoreView, user: str, peer: str) -> "Reader":
        """NotFound where there is no such conversation, or it is not his."""
        return await cls.of(view, user, await conversation_of(view, user, peer))

    @classmethod
    async def of(cls, view: StoreView, user: str, conversation: str) -> "Reader":
        direct = kind_of(conversation) == "direct"
        return cls(
            view,
            user,
            conversation,
            Membership() if direct else await view.membership(conversation, user),
            await view.clear_mark(user, conversation),
            await view.hidden(user, conversation),
        )

    def shows(self, message: Message) -> bool:
        """Copies count together: cleared or hidden under one of its ids, a message is so under all."""
        if message.conversation != self.conversation:
            return False
        if not may_read(message, self.user, self.membership, self.kind):
            return False
        if any(id <= self._cleared.get(ids.lane_of(id), 0) for id in message.ids):
            return False
        return self._hidden.isdisjoint(message.ids)

    async def before(self, id: int, limit: int) -> Page:
        """The newest messages with ids below `id`."""
        found: list[Message] = []
        looks = limits.SCAN_MESSAGES_MAX
        while id and len(found) < limit and looks > 0:
            room, size = limit - len(found), _stretch(limit - len(found))
            chunk = await self._view.history(self.conversation, before=id, limit=size, former=self._former)
            looks -= size
            shown = [message for message in reversed(chunk) if self.shows(message)]
            found += shown[:room]
            id = found[-1].id if len(shown) > room else chunk[0].id if len(chunk) == size else 0
        return Page(found[::-1], id)

    async def after(self, id: int, limit: int) -> Page:
        """The oldest messages with ids above `id`."""
        found: list[Message] = []
        looks = limits.SCAN_MESSAGES_MAX
        more = True
        while more and len(found) < limit and looks > 0:
            room, size = limit - len(found), _stretch(limit - len(found))
            chunk = await self._view.history(self.conversation, after=id, limit=size, former=self._former)
            looks -= size
            shown = [message for message in chunk if self.shows(message)]
            found += shown[:room]
            more = len(shown) > room or len(chunk) == size
            id = found[-1].id if len(shown) > room else chunk[-1].id if chunk else id
        return Page(found, id if more else 0)


def _stretch(room: int) -> int:
    """How many messages to read for so much room: some are usually not shown."""
    return min(limits.PAGE_MAX, 2 * room + 8)
