"""A conversation as one user sees it: what he may read, less what he has cleared and hidden.

Ids are looked at first, by themselves: what is cleared or hidden costs no reading of messages.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

from core import ids, limits
from core.access import kind_of, may_read
from core.actions.conversations import conversation_of
from core.membership import Membership
from core.messages import Message
from core.replies import Replies, counted
from core.tables import canonical
from stores.view import StoreView

_SPARE = 8
"""Ids that are looked at beyond those there is room for: some are usually not shown."""


class Page(NamedTuple):
    messages: list[Message]
    """Ascending by id."""
    next: int
    """Where to go on in the same direction; 0 at the end."""


class Budget:
    """What one request may still look at, and bring. A search takes at least one look."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.bytes = limits.HISTORY_BYTES_MAX

    @property
    def spent(self) -> bool:
        return self.looks <= 0 or self.bytes <= 0


class Reader:
    """One user's sight of one conversation, read once and good for one request."""

    def __init__(
        self, view: StoreView, user: str, conversation: str, membership: Membership, cleared: dict[int, int]
    ) -> None:
        self._view = view
        self.user = user
        self.conversation = conversation
        self.kind = kind_of(conversation)
        self.membership = membership
        self._former = {conversation: membership} if membership.former else {}
        self._cleared = cleared

    @classmethod
    async def of_peer(cls, view: StoreView, user: str, peer: str) -> Self:
        """NotFound where there is no such conversation, or it is not his."""
        return await cls.of(view, user, await conversation_of(view, user, peer))

    @classmethod
    async def of(cls, view: StoreView, user: str, conversation: str) -> Self:
        direct = kind_of(conversation) == "direct"
        membership = Membership() if direct else await view.membership(conversation, user)
        return cls(view, user, conversation, membership, await view.clear_mark(user, conversation))

    def shows(self, message: Message, hidden: set[int]) -> bool:
        """Copies count together: cleared or hidden under one of its ids, a message is so under all."""
        if message.conversation != self.conversation:
            return False
        if not may_read(message, self.user, self.membership, self.kind):
            return False
        return not any(map(self._clears, message.ids)) and hidden.isdisjoint(message.ids)

    def _clears(self, id: int) -> bool:
        return id <= self._cleared.get(ids.lane_of(id), 0)

    async def before(self, id: int, limit: int, budget: Budget) -> Page:
        """The newest messages with ids below `id`."""
        return await self._walk(id, limit, budget, older=True)

    async def after(self, id: int, limit: int, budget: Budget) -> Page:
        """The oldest messages with ids above `id`."""
        return await self._walk(id, limit, budget, older=False)

    async def last_known(self, budget: Budget) -> Page:
        """A former member's newest message among those that his end knew: the same wherever and whenever one looks. A
        datacenter that has not heard of his end may still write to him."""
        end = self.membership.end
        return await self._walk(min(end + 1, ids.ID_MAX), 1, budget, older=True, known=self.membership.seen)

    async def _walk(
        self, id: int, limit: int, budget: Budget, *, older: bool, known: dict[int, int] | None = None
    ) -> Page:
        """Those that are come upon first."""
        found: list[Message] = []
        more = True
        while more and len(found) < limit and not budget.spent:
            size = min(limits.PAGE_MAX, limit - len(found) + _SPARE, budget.looks)
            page = await self._ids(before=id if older else None, after=None if older else id, limit=size, known=known)
            budget.looks -= max(1, len(page))
            more = len(page) == size
            wanted = await self._not_hidden([one for one in page if not self._clears(one)])
            shown, rest = await self._take(wanted, limit - len(found), budget)
            found += shown
            if rest:
                return Page(_in_order(found), wanted[-1 - rest])
            id = page[-1] if page else id
        return Page(_in_order(found), id if more else 0)

    async def replies_to(self, messages: Sequence[Message]) -> dict[int, Replies]:
        """id -> what there is of replies to it, for each of these messages that begins a thread. One query for all."""
        begun = {message.class_: message.id for message in messages if not message.thread}
        known = self.membership.seen if self.membership.former else None
        rows = await self._view.newest_replies(begun.keys(), known) if begun else {}
        hidden = await self._view.hidden(self.user, [row.message for some in rows.values() for row in some])
        most = limits.REPLIES_SHOWN_MAX
        told = {begun[class_]: counted(some, most, self._cleared, hidden) for class_, some in rows.items()}
        return {id: replies for id, replies in told.items() if replies is not None}

    async def one(self, id: int) -> Message | None:
        """The message that has this id; None where he is not shown it."""
        found = (await self._view.messages([id], self._former)).get(id)
        hidden = await self._view.hidden(self.user, found.ids) if found is not None else set()
        return found if found is not None and self.shows(found, hidden) else None

    async def _ids(
        self, *, before: int | None, after: int | None, limit: int, known: dict[int, int] | None
    ) -> list[int]:
        """What there is to be looked at, in the order of the walk."""
        return await self._view.page(self.conversation, before=before, after=after, limit=limit, known=known)

    async def _take(self, wanted: Sequence[int], room: int, budget: Budget) -> tuple[list[Message], int]:
        """Those of them that are shown, as far as there is room, and how many were not looked at."""
        found: list[Message] = []
        for at in range(0, len(wanted), limits.READ_TOGETHER):
            part = wanted[at : at + limits.READ_TOGETHER]
            messages = await self._view.messages(part, self._former)
            copies = {id for message in messages.values() for id in message.ids[1:]}
            hidden = await self._view.hidden(self.user, copies)
            for taken, id in enumerate(part, at + 1):
                message = messages.get(id)
                if message is not None and self.shows(message, hidden):
                    found.append(message)
                    budget.bytes -= _bytes_of(message)
                if len(found) >= room or budget.bytes <= 0:
                    return found, len(wanted) - taken
        return found, 0

    async def _not_hidden(self, wanted: list[int]) -> list[int]:
        hidden = await self._view.hidden(self.user, wanted)
        return [id for id in wanted if id not in hidden]


def _in_order(found: Sequence[Message]) -> list[Message]:
    """Each once, by the ids they have by now: between the look at ids and the reading of messages a copy with a smaller
    id may have come, and then the message stands there."""
    once = {message.id: message for message in found}
    return [once[id] for id in sorted(once)]


def _bytes_of(message: Message) -> int:
    """Of text, content and reactions."""
    content = len(canonical(message.content)) if message.content else 0
    return (
        _length(message.text or "")
        + content
        + sum(_length(emoji) + sum(map(len, users)) for emoji, users in message.reactions.items())
    )


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
