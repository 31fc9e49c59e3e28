"""What this DC has applied, read through a bounded cache: the `View` of core.action and the reads of the API."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from core import limits, mentions
from core.access import kind_of
from core.action import ChatView, Parking, Position, SessionView, UserView
from core.actions.conversations import known_chat, owner_in_force
from core.drops import dropped
from core.event import Event
from core.membership import Membership, Roll
from core.messages import Message, Row, fold
from core.ownership import owner_of
from core.replies import Row as Reply
from core.rivalry import Write
from core.tables import Effect, canonical
from stores import crowd, registers
from stores.crowd import MEMBER_TABLES
from stores.entry_view import EntryView
from stores.own_view import OwnView, own_keys
from stores.ports import HotStore, MessageStore, RelationalStore, Result, Scan, Stamped

NOBODY: Mapping[str, Membership] = {}
_BY_ONE = ("users", "sessions", "chats", "directs")
"""Tables of which rows are kept by the first part of the key."""
_PART = 1_000
"""Registers that are looked at in one go."""
_STALE_MAX = 256
"""Of a roll that nobody asked for meanwhile, more changes are not noted: it is made anew."""


class NotAtHand(Exception):
    """A store would have to be asked: no answer, and no failure."""


class KeptRoll(NamedTuple):
    roll: Roll
    stale: dict[str, None]
    """Whose registers have changed since."""


class StoreView(OwnView, EntryView):
    """Applied state of one DC. Every method is a read and may be repeated; StoreUnavailable when a store fails."""

    def __init__(self, dc: str, relational: RelationalStore, messages: MessageStore, hot: HotStore) -> None:
        super().__init__(relational)
        self.dc = dc
        self.epoch = 0
        """The hot store's epoch, set by the Applier."""
        self.number = -1
        self.dcs: frozenset[int] = frozenset()
        """The DC map by number; whoever composes the DC sets both."""
        self.promise: Callable[[int, int], Awaitable[bool]] | None = None
        """Parking.promise (stores/parking.py); the Applier sets this."""
        self.forgo: Callable[[int, int], None] = lambda lane, seq: None
        """See core.action.View. Drops.forgo; the Applier sets this."""
        self.passed: Callable[[int, int], bool] = lambda lane, seq: False
        """Is the lane applied through there? The Applier sets this."""
        self.find_event: Callable[[int], Awaitable[Event | None]] | None = None
        """EventFinder.applied; the Applier sets this."""
        self.told: Callable[[Sequence[Stamped]], None] | None = None
        """Hears of what is invalidated, where other processes keep rows as well (stores/tidings.py)."""
        self._messages = messages
        self._hot = hot

    # -- core.action.View

    def user(self, user: str) -> Coroutine[Any, Any, UserView | None]:
        return self._one("users", "user", user, registers.user_view)

    def session(self, session: str) -> Coroutine[Any, Any, SessionView | None]:
        return self._one("sessions", "session", session, registers.session_view)

    async def chat(self, chat: str) -> ChatView | None:
        found = await self._one("chats", "chat", chat, registers.chat_view)
        return found if found is not None and found.kind else None

    async def direct(self, conversation: str) -> tuple[str, str] | None:
        return await self._one("directs", "conversation", conversation, lambda row: (row["low"], row["high"]))

    def knows_direct(self, conversation: str) -> bool:
        """Is it at hand that this direct conversation is there? False where one would have to look."""
        return self._cache.get(("directs", conversation)) is not None

    async def membership(self, chat: str, user: str) -> Membership:
        async def load() -> Membership:
            found = await self._registers({"chat": chat, "user": user}, "user")
            return found.get(user, Membership())

        return await self._cached(("membership", chat, user), load)

    async def roll(self, chat: str) -> Roll:
        """See core.action.View. A change of some members costs as much as they do, not as all who were ever here."""
        kept = await self._cached(("roll", chat), lambda: self._whole_roll(chat))
        if not kept.stale:
            return kept.roll
        generation = self._generation
        roll = kept.roll.told({user: await self.membership(chat, user) for user in tuple(kept.stale)})
        self._keep(generation, ("roll", chat), KeptRoll(roll, {}))
        return roll

    async def _whole_roll(self, chat: str) -> KeptRoll:
        members = list((await self._registers({"chat": chat}, "user")).items())
        roll = Roll()
        for at in range(0, len(members), _PART):
            roll = roll.told(dict(members[at : at + _PART]))
            await asyncio.sleep(0)  # others have their turn
        return KeptRoll(roll, {})

    async def heir(self, chat: str) -> str:
        """See core.action.View."""
        if kind_of(chat) == "group":
            return owner_of("", (await self.roll(chat)).present)
        return await self._cached(("heir", chat), lambda: self._heir(chat))

    async def _heir(self, chat: str) -> str:
        over = ("adds_over", chat)
        generation = self._generation
        heir = await crowd.heir_of(self._relational, chat, self._cache.get(over, 0))
        if heir.over:
            self._keep(generation, over, heir.over)
        return heir.user

    async def managers(self, chat: str) -> list[str]:
        """See core.action.View."""
        owner = await owner_in_force(self, await known_chat(self, chat))
        if kind_of(chat) == "group":
            present = (await self.roll(chat)).present
            admins = [user for user, its in present.items() if its.valid_role == "admin"]
        else:
            admins = await crowd.admins_of(self._relational, chat, limits.MANAGERS_TOLD_MAX)
        return list(dict.fromkeys((*((owner,) if owner else ()), *sorted(admins))))[: limits.MANAGERS_TOLD_MAX]

    async def members(self, chat: str, after: str, limit: int) -> tuple[dict[str, Membership], str | None]:
        """A page of a supergroup's members: stores.crowd.page_of."""
        return await crowd.page_of(self._relational, chat, after, limit)

    async def parking(self, lane: int, seq: int) -> Parking:
        """See core.action.View."""
        parked = self.promise is not None and await self.promise(lane, seq)
        rows = await self._relational.rows("drops", {"lane": lane, "seq": seq})
        return Parking(
            parked=parked,
            passed=self.passed(lane, seq),
            said=any(row["dc"] == self.number for row in rows),
            dropped=dropped(rows),
            dcs=self.dcs,
        )

    async def message(self, message: int, known: Mapping[int, int] | None = None) -> Message | None:
        """See core.action.View."""
        found = folded(await self._messages.rows_of([message], known))
        return next((one for one in found if message in one.ids), None)

    async def event(self, id: int) -> Event | None:
        """See core.action.View."""
        return None if self.find_event is None else await self.find_event(id)

    async def writes_of(self, table: str, key: Sequence[str | int], column: str) -> list[Write]:
        """See core.action.View."""
        text = canonical(list(key)).decode()
        where = {"table": table, "key": text, "column": column}
        rows = await self._relational.page(
            "overwrites", where, Scan("stamp", limits.COLUMN_WRITES_MAX, newest_first=True)
        )
        return [Write(table, text, column, row["stamp"], row["basis"], row["value"]) for row in reversed(rows)]

    async def seen(self, user: str, conversation: str, message: int, position: Position) -> dict[int, int]:
        """See core.action.View. Within this DC's epoch by delivered pts, else by the cursor's V per lane."""
        if position.dc == self.dc and position.epoch == self.epoch:
            channel = conversation.startswith("C")
            if channel and conversation not in position.channels:
                membership = await self.membership(conversation, user)
                if membership.former:  # cursors leave it out once V covers his end
                    return {lane: min(id, message, position.v.get(lane, 0)) for lane, id in membership.seen.items()}
            owner = conversation if channel else user
            pts = position.channels.get(conversation, 0) if channel else position.pts
            return await self._hot.seen(owner, conversation, message, pts)
        return {lane: min(id, message) for lane, id in position.v.items()}

    async def rows_about(self, messages: Iterable[int]) -> list[Row]:
        """All rows about these message ids, and about the other ids of their classes."""
        return await self._messages.rows_of(messages)

    # -- further reads

    async def result(self, actor: str, key: str) -> Result | None:
        """What (actor, key) led to, unless it was a message, as the relational store has it for a day."""
        return await self._relational.result(actor, key)

    async def memberships_of(self, user: str) -> dict[str, Membership]:
        """chat -> registers, of all chats the user is or was in."""
        return await self._cached(("memberships_of", user), lambda: self._registers({"user": user}, "chat"))

    async def sessions_of(self, user: str, now_ms: int, limit: int) -> list[SessionView]:
        """The newest sessions that are neither over nor revoked, the newest first."""
        scan = Scan("expires_ms", limit, beyond=now_ms, newest_first=True)
        rows = await self._relational.page("sessions", {"user": user, "revoked": 0}, scan)
        return [registers.session_view(row) for row in rows]

    async def hidden(self, user: str, messages: Collection[int]) -> set[int]:
        """Those of these message ids that the user has hidden for himself."""
        rows = await self._relational.some("hidden", {"user": user}, "message", messages) if messages else []
        return {row["message"] for row in rows if row["hidden"]}

    async def messages(self, ids: Iterable[int], former: Mapping[str, Membership] = NOBODY) -> dict[int, Message]:
        """id -> the message it belongs to; ids of one class give the same message. Unknown ids are left out.
        `former`: the chats of which the reader is a former member; their messages are shown as his end knew them."""
        wanted = set(ids)
        found = folded(await self._messages.rows_of(wanted))
        for chat in {message.conversation for message in found} & former.keys():
            theirs = [message.id for message in found if message.conversation == chat]
            told = folded(await self._messages.rows_of(theirs, former[chat].seen))
            found = [*(message for message in found if message.conversation != chat), *told]
        return {id: message for message in found for id in message.ids if id in wanted}

    async def page(
        self,
        conversation: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int,
        known: Mapping[int, int] | None = None,
    ) -> list[int]:
        """Ids of up to `limit` messages next to `before` (the newest ones below it first) or `after` (the oldest ones
        above it first); with `known` (lane -> id) only those at or below known[their lane]."""
        return await self._messages.page(conversation, before=before, after=after, limit=limit, known=known)

    async def replies(
        self, thread: int, *, before: int | None = None, after: int | None = None, limit: int
    ) -> list[int]:
        """Ids of up to `limit` replies in the thread of this class, as `page` has those of a conversation."""
        scan = Scan("message", limit, beyond=after, below=before, newest_first=before is not None)
        rows = await self._relational.page("replies", {"thread": thread}, scan)
        return [row["message"] for row in rows]

    async def newest_replies(self, threads: Collection[int], known: Mapping[int, int] | None) -> dict[int, list[Reply]]:
        """The newest REPLIES_SHOWN_MAX replies of these threads, by their classes, the newest first, and one more where
        there is one; with `known` (lane -> id) of those at or below known[their lane]."""
        scan = Scan("message", limits.REPLIES_SHOWN_MAX + 1, newest_first=True, known=known)
        asked, found = list(threads), {}
        for at in range(0, len(asked), limits.PAGE_MAX):
            part = asked[at : at + limits.PAGE_MAX]
            pages = await self._relational.pages("replies", [{"thread": thread} for thread in part], scan)
            for thread, rows in zip(part, pages, strict=True):
                if rows:
                    found[thread] = [Reply(row["message"], bool(row["recalled"])) for row in rows]
        return found

    async def reply_count(self, thread: int, known: Mapping[int, int] | None) -> tuple[int, bool]:
        """How many of its first REPLIES_COUNTED_MAX replies were not recalled, and whether it has more; with `known`
        (lane -> id) of those at or below known[their lane]."""
        most = limits.REPLIES_COUNTED_MAX
        rows = await self._relational.page("replies", {"thread": thread}, Scan("message", most + 1, known=known))
        return sum(not row["recalled"] for row in rows[:most]), len(rows) > most

    async def unread_mentions(self, user: str, conversation: str) -> tuple[list[int], bool]:
        """Ids of the messages that mention the user and that he has not read, ascending; and whether the oldest of
        those that were looked at is one, so that there may be more."""
        rows, older = await self._mentions_of(user, conversation)
        if kind_of(conversation) == "group":
            of_all, older_of_all = await self._mentions_of(mentions.ALL, conversation)
            rows, older = rows + of_all, older or older_of_all
        if not rows:
            return [], False
        joined_at = 0
        if kind_of(conversation) != "direct":
            membership = await self.membership(conversation, user)
            if not membership.present:
                return [], False
            joined_at = membership.joined_at
        marks = (await self.read_mark(user, conversation), await self.clear_mark(user, conversation))
        beyond = mentions.unread(rows, user, marks, joined_at)
        hidden = await self.hidden(user, [id for ids in beyond for id in ids])
        found = mentions.seen(beyond, hidden)
        return found, older and any(min(row.message for row in rows) in ids for ids in beyond)

    async def written_before(self, chat: str, column: str, end: Membership) -> str:
        """What a former member's end knew of a chat's lww column; "" where nothing tells (any more)."""
        where = {"table": "chats", "key": canonical([chat]).decode(), "column": column}
        scan = Scan("stamp", 1, newest_first=True, known=end.seen)
        rows = await self._relational.page("overwrites", where, scan)
        return str(rows[0]["value"]) if rows else ""

    # -- cache

    def cached(self, key: tuple[str, ...]) -> Any:
        """What the cache holds. NotAtHand where one would have to look."""
        cache = self._cache
        if key not in cache:
            raise NotAtHand
        cache.move_to_end(key)
        return cache[key]

    def invalidate(self, effects: Sequence[Stamped]) -> None:
        """Forgets what these effects may have changed; called after they are committed."""
        if self.told is not None:
            self.told(effects)
        self._generation += 1
        for stamp, effect in effects:
            key = effect.key
            if effect.table in MEMBER_TABLES:
                chat, user = str(key[0]), str(key[1])
                self._forget(("membership", chat, user), ("memberships_of", user))
                self._disinherit(chat, user, stamp, effect)
                if (kept := self._cache.get(("roll", chat))) is not None:
                    kept.stale[user] = None
                    if len(kept.stale) > _STALE_MAX:
                        self._forget(("roll", chat))
            elif effect.table in _BY_ONE:
                self._forget((effect.table, str(key[0])))
            else:
                self._forget(*own_keys(effect.table, key))

    def _disinherit(self, chat: str, user: str, stamp: int, effect: Effect) -> None:
        """Who goes was the heir, or never will be; who comes, or gets a role, may be before him."""
        heir = self._cache.get(("heir", chat))
        if heir is not None and (heir == user or effect.table == "member_adds" or "role" in effect.columns):
            self._forget(("heir", chat))
        if effect.table == "member_adds" and stamp <= self._cache.get(("adds_over", chat), 0):
            self._forget(("adds_over", chat))

    async def _registers(self, where: dict[str, str], by: str) -> dict[str, Membership]:
        adds, left, kicked, seen, members = [await self._relational.rows(table, where) for table in MEMBER_TABLES]
        return registers.memberships(adds, left, kicked, seen, members, by)


def is_kept(effect: Effect) -> bool:
    """Is anything kept that this effect may change? `invalidate` looks at the first two parts of its key, and whether
    it sets a role."""
    return effect.table in MEMBER_TABLES or effect.table in _BY_ONE or bool(own_keys(effect.table, effect.key))


def folded(rows: Sequence[Row]) -> list[Message]:
    """The messages that these rows amount to, ascending by canonical id; rows of one class come together."""
    class_of = {row.event: row.class_ for row in rows if row.kind == "send"}
    classes: dict[int, list[Row]] = {}
    for row in rows:
        number = class_of.get(row.message)
        if number is not None:
            classes.setdefault(number, []).append(row)
    found = filter(None, map(fold, classes.values()))
    return sorted(found, key=lambda message: message.id)
