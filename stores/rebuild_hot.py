"""Derives the hot store from the other stores and the log, after it was lost, flushed or failed over.

State (dialog index, unread window, marks, results) comes from rows; the lists of updates come from the log's last
records, fed again. What lies before those counts as trimmed, so a cursor that needs it is told `reset`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from core import ids, limits
from core.messages import Row
from events.ports import EventLog, Trimmed
from events.record import Record
from stores import feeding
from stores.plan import Planned
from stores.ports import Frontier, HotBatch, HotStore, Mark, MessageStore, Recent, RelationalStore, Result
from stores.view import StoreView

T = TypeVar("T")
_PART = 1_000
"""Operations in one call to the hot store."""


async def rebuild_hot(
    *,
    epoch: int,
    through: Frontier,
    event_log: EventLog,
    relational: RelationalStore,
    messages: MessageStore,
    hot: HotStore,
    view: StoreView,
    planner: Callable[[Sequence[Record]], list[Planned]],
    since_ms: int,
) -> None:
    """Begins `epoch` and publishes it when the hot state covers `through`. Repeatable after any failure."""
    await hot.begin(epoch)
    since = ids.make_id(ids.tick_at(since_ms), 0)
    await _results(epoch, relational, messages, hot, since)
    await _marks(epoch, relational, hot)
    await _conversations(epoch, messages, hot, view)
    await _memberships(epoch, relational, hot)
    floor = await _updates(epoch, through, event_log, messages, hot, view, planner)
    await hot.publish_epoch(epoch, through, floor)


async def _results(epoch: int, relational: RelationalStore, messages: MessageStore, hot: HotStore, since: int) -> None:
    found = await relational.results(since)
    for row in await messages.sends_since(since):
        key = row.body.get("key", "")
        if key:
            # The row does not hold the request's fingerprint; b"" accepts any body under the key.
            answer = {"id": str(row.event), "conversation": row.conversation}
            found.append(Result(row.actor, key, row.event, "message.send", b"", answer))
    for part in _parts(found):
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


async def _conversations(epoch: int, messages: MessageStore, hot: HotStore, view: StoreView) -> None:
    for conversation, top in (await messages.tops()).items():
        rows = await messages.recent(conversation, limits.RECENT_KEPT_MAX)
        sends = [row for row in rows if row.kind == "send"]
        recents = [
            Recent(conversation, row.message, row.actor, row.class_, not row.body.get("system", False)) for row in sends
        ]
        recalls = [(conversation, row.message) for row in rows if row.kind == "recall"]
        channel_tops = [(conversation, top)] if conversation.startswith("C") else []
        tops = await _tops(conversation, sends, view)
        floors = await _floors(conversation, sends, messages)
        await hot.apply(
            HotBatch(
                epoch, {}, recents=recents, recalls=recalls, channel_tops=channel_tops, tops=tops, window_floors=floors
            )
        )


async def _floors(conversation: str, sends: Sequence[Row], messages: MessageStore) -> list[tuple[str, int, int]]:
    """Per lane the greatest id below the window, as far back as one more window: what `unread_more` is told by."""
    if len({row.class_ for row in sends}) < limits.RECENT_KEPT_MAX:
        return []
    oldest = min(row.message for row in sends)
    below: dict[int, int] = {}
    for row in await messages.history(conversation, before=oldest, limit=limits.RECENT_KEPT_MAX):
        if row.kind == "send":
            lane = ids.lane_of(row.event)
            below[lane] = max(below.get(lane, 0), row.event)
    return [(conversation, lane, id) for lane, id in below.items()]


async def _tops(conversation: str, sends: Sequence[Row], view: StoreView) -> list[tuple[str, str, int]]:
    """Dialog tops of direct chats and groups: the newest message each user was to get."""
    top: dict[str, int] = {}
    for row in sends:
        for user in row.body.get("to", ()):
            top[user] = max(top.get(user, 0), row.message)
    if conversation.startswith("G"):
        for user, registers in (await view.members(conversation)).items():
            for row in sends:
                if registers.present and row.message > registers.joined_at:
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
    event_log: EventLog,
    messages: MessageStore,
    hot: HotStore,
    view: StoreView,
    planner: Callable[[Sequence[Record]], list[Planned]],
) -> dict[int, int]:
    """Feeds the newest records of each lane again; lane -> the id below which nothing is fed."""
    v = {lane: mark.id for lane, mark in through.items()}
    floor: dict[int, int] = {}
    for lane, mark in through.items():
        begin = max(0, mark.seq - limits.REFEED_RECORDS_MAX)
        at, floor[lane] = await _window(event_log, lane, begin, mark)
        while at < mark.seq:
            records = await event_log.read(lane, at, min(limits.LANE_BATCH_MAX, mark.seq - at))
            if not records:
                break
            at = records[-1].seq
            feeds = await feeding.feeds_of(planner(records), view, messages, v, limits.RECENT_KEPT_MAX)
            tops = feeds.tops
            await hot.apply(HotBatch(epoch, {}, (), [*feeds.feeds, *feeds.back_feeds], tops=tops))
    return floor


async def _window(event_log: EventLog, lane: int, begin: int, mark: Mark) -> tuple[int, int]:
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
