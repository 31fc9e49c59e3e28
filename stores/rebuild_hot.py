"""Derives the hot store from the other stores and the log, after it was lost, flushed or failed over.

State (dialog index, unread window, marks, results) comes from rows; the lists of updates come from the log's last
records, fed again. What lies before those counts as trimmed, so a cursor that needs it is told `reset`.

Whatever has no bound is read in pages; no text is read.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from core import ids, limits
from core.messages import Row
from events.ports import LogReader, Trimmed
from events.record import Record
from stores import feeding
from stores.plan import Planned, hot_changes
from stores.ports import Frontier, HotBatch, HotStore, Mark, MessageStore, Recent, RelationalStore, Result
from stores.view import StoreView

T = TypeVar("T")
_PART = 1_000
"""Operations in one call to the hot store, and rows in one page of a store."""
_WINDOWS_MAX = 3
"""Further windows that are read of a conversation for as many messages as one has room for."""


async def rebuild_hot(
    *,
    epoch: int,
    through: Frontier,
    v: Mapping[int, int],
    event_log: LogReader,
    relational: RelationalStore,
    messages: MessageStore,
    hot: HotStore,
    view: StoreView,
    planner: Callable[[Sequence[Record]], list[Planned]],
    since_ms: int,
) -> dict[int, int]:
    """Begins `epoch` and fills it with what `through` covers; lane -> the id below which no update was fed, to publish
    it with. Repeatable after any failure. `v` is V, which parked events hold back; `planner` leaves those out."""
    await hot.begin(epoch)
    since = ids.make_id(ids.tick_at(since_ms), 0)
    await _results(epoch, relational, messages, hot, since)
    await _marks(epoch, relational, hot)
    await _conversations(epoch, messages, hot, view, v)
    await _memberships(epoch, relational, hot)
    return await _updates(epoch, through, v, event_log, hot, view, planner)


class _Pages:
    """Results of events after an id, page by page."""

    def __init__(self, read: Callable[[int, int], Awaitable[list[Result]]], since: int) -> None:
        self._read = read
        self._since = since
        self._ended = False
        self.waiting: list[Result] = []

    async def fill(self) -> None:
        """Something waits, or there is no more."""
        if not self.waiting and not self._ended:
            self.waiting = await self._read(self._since, _PART)
            self._ended = not self.waiting
            self._since = self.waiting[-1].event if self.waiting else self._since

    def take(self, through: int) -> list[Result]:
        """What waits up to this event."""
        taken = [one for one in self.waiting if one.event <= through]
        del self.waiting[: len(taken)]
        return taken


async def _results(epoch: int, relational: RelationalStore, messages: MessageStore, hot: HotStore, since: int) -> None:
    async def sent(since: int, limit: int) -> list[Result]:
        return [
            Result(
                one.actor, one.key, one.event, "message.send", one.fingerprint,
                {"id": str(one.event), "conversation": one.conversation},
            )
            for one in await messages.sent_since(since, limit)
        ]  # fmt: skip

    both = (_Pages(sent, since), _Pages(relational.results, since))
    while True:
        for pages in both:
            await pages.fill()
        ends = [pages.waiting[-1].event for pages in both if pages.waiting]
        if not ends:
            return
        # In the order of their events, as they came at first.
        part = sorted((one for pages in both for one in pages.take(min(ends))), key=lambda one: one.event)
        await hot.apply(HotBatch(epoch, {}, results=part))


async def _marks(epoch: int, relational: RelationalStore, hot: HotStore) -> None:
    for table in ("read_marks", "clear_marks"):
        async for rows in relational.dump(table):
            marks = [(row["user"], row["conversation"], row["lane"], row["mark"]) for row in rows]
            for part in _parts(marks):
                await hot.apply(HotBatch(epoch, {}, marks=part))
    async for rows in relational.dump("hidden"):
        hides = [(row["user"], row["conversation"], row["message"]) for row in rows if row["hidden"]]
        for some in _parts(hides):
            await hot.apply(HotBatch(epoch, {}, hides=some))


async def _conversations(
    epoch: int, messages: MessageStore, hot: HotStore, view: StoreView, v: Mapping[int, int]
) -> None:
    last = ""
    while page := await messages.tops(last, _PART):
        for conversation, top in page:
            if top:
                await hot.apply(await _conversation(epoch, messages, view, v, conversation, top))
        last = page[-1][0]


async def _conversation(
    epoch: int, messages: MessageStore, view: StoreView, v: Mapping[int, int], conversation: str, top: int
) -> HotBatch:
    rows = await messages.recent(conversation, limits.RECENT_KEPT_MAX)
    newest = [row for row in rows if row.kind == "send"]
    more = len({row.class_ for row in newest}) == limits.RECENT_KEPT_MAX
    for _ in range(_WINDOWS_MAX):  # lines about the chat stand among them, which nobody has unread
        short = limits.RECENT_KEPT_MAX - len({row.class_ for row in rows if _counts(row)})
        if not (more and short):
            break
        before = min(row.message for row in rows if row.kind == "send")
        page = await messages.recent(conversation, limits.RECENT_KEPT_MAX, before=before)
        more = len({row.class_ for row in page if row.kind == "send"}) == limits.RECENT_KEPT_MAX
        rows = [*rows, *page]
    counting = [row for row in rows if _counts(row)]
    channel = conversation.startswith("C")
    return HotBatch(
        epoch,
        {},
        recents=[Recent(conversation, row.message, row.actor, row.class_, True) for row in counting],
        recalls=[(conversation, row.message) for row in rows if row.kind == "recall"],
        channel_tops=[(conversation, top)] if channel else [],
        tops=[] if channel else await _tops(conversation, newest, view, v),
        window_floors=await _floors(conversation, rows, messages) if more else [],
    )


def _counts(row: Row) -> bool:
    """Is it a message that somebody may have unread?"""
    return row.kind == "send" and not row.body.get("system")


async def _floors(conversation: str, rows: Sequence[Row], messages: MessageStore) -> list[tuple[str, int, int]]:
    """Per lane the greatest id below the window, as far back as one more window: what `unread_more` is told by."""
    oldest = min(row.message for row in rows if row.kind == "send")
    below: dict[int, int] = {}
    for row in await messages.recent(conversation, limits.RECENT_KEPT_MAX, before=oldest):
        if _counts(row):
            lane = ids.lane_of(row.event)
            below[lane] = max(below.get(lane, 0), row.event)
    return [(conversation, lane, id) for lane, id in below.items()]


async def _tops(
    conversation: str, sends: Sequence[Row], view: StoreView, v: Mapping[int, int]
) -> list[tuple[str, str, int]]:
    """Dialog tops of direct chats and groups: the newest message each user was to get."""
    top: dict[str, int] = {}
    present = (await view.roll(conversation)).present if conversation.startswith("G") else {}
    for row in sends:
        for user in (*row.body.get("to", ()), *feeding.owed_of(row, present, v)):
            top[user] = max(top.get(user, 0), row.message)
    return [(user, conversation, id) for user, id in top.items()]


async def _memberships(epoch: int, relational: RelationalStore, hot: HotStore) -> None:
    async for rows in relational.dump("member_adds"):
        tops = [(r["user"], r["chat"], r["knew_at"]) for r in rows if r["chat"].startswith("G")]
        channels = [(r["chat"], r["knew_at"]) for r in rows if r["chat"].startswith("C")]
        for part in _parts(tops):
            await hot.apply(HotBatch(epoch, {}, tops=part))
        for channel_part in _parts(channels):
            await hot.apply(HotBatch(epoch, {}, channel_tops=channel_part))


async def _updates(
    epoch: int,
    through: Frontier,
    v: Mapping[int, int],
    event_log: LogReader,
    hot: HotStore,
    view: StoreView,
    planner: Callable[[Sequence[Record]], list[Planned]],
) -> dict[int, int]:
    """Feeds the newest records of each lane again; lane -> the id below which nothing is fed.

    All of `through` is applied, so what a member is owed is known at the message itself: there is nothing to back-feed
    (and a later add of the member brings his client to load the group anew).
    """
    floor: dict[int, int] = {}
    for lane, mark in through.items():
        begin = max(0, mark.seq - limits.REFEED_RECORDS_MAX)
        at, floor[lane] = await _window(event_log, lane, begin, mark)
        while at < mark.seq:
            records = await event_log.read(lane, at, min(limits.LANE_BATCH_MAX, mark.seq - at))
            if not records:
                break
            at = records[-1].seq
            planned = planner(records)
            found = await feeding.feeds_of(planned, view, v, lambda _: 0)  # nothing is back-fed
            # Rows tell of recalls only where the conversation has messages; one may have come before its first.
            recalls = hot_changes(planned).recalls
            await hot.apply(HotBatch(epoch, {}, found.feeds, recalls=recalls))
    return floor


async def _window(event_log: LogReader, lane: int, begin: int, mark: Mark) -> tuple[int, int]:
    """(seq after which the log can be read, id at that seq). Nothing below counts as kept."""
    try:
        if begin == 0:
            await event_log.read(lane, 0, 1)
            return 0, 0
        before = await event_log.read(lane, begin - 1, 1)
    except Trimmed as trimmed:
        if trimmed.first == 0 or trimmed.first > mark.seq:
            return mark.seq, mark.id
        first = await event_log.read(lane, trimmed.first - 1, 1)
        return trimmed.first - 1, first[0].id - 1
    return (before[0].seq, before[0].id) if before else (mark.seq, mark.id)


def _parts(items: Iterable[T]) -> list[list[T]]:
    found = list(items)
    return [found[at : at + _PART] for at in range(0, len(found), _PART)]
