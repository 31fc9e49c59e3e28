"""The hot store as `apply` sees it: one atomic call per batch with its frontier, and a rebuild whenever it was lost.

The epoch shown to readers changes *before* a rebuilt state is published. In between the store refuses them, so nobody
reads the new lists by a position in the old ones.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from core import limits
from core.errors import StoreUnavailable
from core.system import Clock
from events.ports import LogReader
from events.record import Record
from stores import feeding
from stores.feeding import Feeds
from stores.plan import Planned, hot_changes
from stores.ports import EpochLost, Frontier, HotBatch, HotStore, Mark, MessageStore, RelationalStore, Stale
from stores.progress import NOWHERE
from stores.rebuild_hot import rebuild_hot
from stores.view import StoreView

log = logging.getLogger(__name__)

_TRIES = 3


class HotWriter:
    """One per Applier, which calls it for one batch at a time."""

    def __init__(
        self,
        *,
        event_log: LogReader,
        relational: RelationalStore,
        messages: MessageStore,
        hot: HotStore,
        view: StoreView,
        planner: Callable[[Sequence[Record]], list[Planned]],
        now_ms: Clock,
    ) -> None:
        """`planner` leaves out what is parked."""
        self._log = event_log
        self._relational = relational
        self._messages = messages
        self._hot = hot
        self._view = view
        self._planner = planner
        self._now_ms = now_ms
        self._complete = False
        """False from the beginning of a rebuild to its end: a half-built epoch accepts batches."""
        self.epoch = 0
        self.frontier: Frontier = {}

    async def open(self, through: Frontier, v: Mapping[int, int]) -> None:
        """Takes the hot store as it is, or, after a loss, rebuilds it through the other stores' frontier."""
        wanted = await self._stored_epoch()
        if wanted and await self._hot.epoch() == wanted:
            self._show(wanted)
            self.frontier = await self._hot.frontier()
            self._complete = True
        else:
            await self.rebuild(through, v)

    async def check(self, applied: Frontier, v: Mapping[int, int]) -> None:
        """Rebuilds it if it was lost: without traffic nothing else would notice, and nobody could write."""
        if not self._complete or await self._hot.epoch() != self.epoch:
            await self.rebuild(applied, v)

    async def write(
        self,
        planned: Sequence[Planned],
        marks: Mapping[int, Mark],
        applied: Frontier,
        v: Mapping[int, int],
        v_after: Mapping[int, int],
    ) -> tuple[Feeds, dict[str, int]]:
        """Brings a batch in; its feeds, and owner -> newest pts. Of what was in already nothing is fed again, but a
        membership change is: stores that had lost it back-fed without it."""
        for _ in range(_TRIES):
            if not self._complete:
                await self.rebuild(applied, v)
            fresh = [item for item in planned if item.entry.seq > self._seq(item.entry.lane)]
            moves = {lane: (self._seq(lane), mark) for lane, mark in marks.items() if mark.seq > self._seq(lane)}
            reached = self._reached(marks)
            feeds = await feeding.feeds_of(fresh, self._view, v_after, reached)
            await self._back_feed(feeds, feeding.changed_groups(planned), reached, v_after)
            found = hot_changes(fresh)
            try:
                pts = await self._hot.apply(
                    HotBatch(self.epoch, moves, feeds.feeds, feeds.back_feeds, **found._asdict())
                )
            except Stale as stale:  # an earlier call got through though its answer did not
                self.frontier = stale.frontier
            except EpochLost:
                self._complete = False
            else:
                self.frontier.update({lane: mark for lane, (_, mark) in moves.items()})
                return feeds, pts
        raise StoreUnavailable("the hot store does not settle")

    async def write_again(
        self,
        items: Sequence[Planned],
        groups: Mapping[str, None],
        applied: Frontier,
        v: Mapping[int, int],
        v_after: Mapping[int, int],
    ) -> tuple[Feeds, dict[str, int]]:
        """Brings in an event whose place was passed while it was parked; none if it was dropped. Repeatable: each user
        is fed once. `groups` are those in which messages may have waited for it."""
        for _ in range(_TRIES):
            if not self._complete:
                await self.rebuild(applied, v)
            reached = self._reached({})
            feeds = await feeding.feeds_of(items, self._view, v_after, reached)
            feeds = Feeds([], [*feeds.feeds, *feeds.back_feeds])
            await self._back_feed(feeds, {**feeding.changed_groups(items), **groups}, reached, v_after)
            found = hot_changes(items)
            try:
                pts = await self._hot.apply(HotBatch(self.epoch, {}, (), feeds.back_feeds, **found._asdict()))
            except EpochLost:
                self._complete = False
            else:
                return feeds, pts
        raise StoreUnavailable("the hot store does not settle")

    async def rebuild(self, through: Frontier, v: Mapping[int, int]) -> None:
        """Derives all hot state from the other stores and the log, as a new epoch. Repeatable after any failure."""
        self._complete = False
        for _ in range(_TRIES):
            try:
                await self._rebuild(through, v)
            except EpochLost:
                log.warning("hot state was lost again while it was rebuilt")
            else:
                self.frontier = dict(through)
                self._complete = True
                return
        raise StoreUnavailable("the hot store does not stay")

    async def _rebuild(self, through: Frontier, v: Mapping[int, int]) -> None:
        before = await self._stored_epoch()
        # Empty disks do not know the epochs of whoever was here before a fire; clients still hold positions in those.
        epoch = before + 1 if before else max(1, self._now_ms())
        await self._relational.set_meta("epoch", str(epoch))
        log.info("hot state is rebuilt: epoch %d", epoch)
        floor = await rebuild_hot(
            epoch=epoch,
            through=through,
            v=v,
            event_log=self._log,
            relational=self._relational,
            messages=self._messages,
            hot=self._hot,
            view=self._view,
            planner=self._planner,
            since_ms=self._now_ms() - limits.RESULT_KEPT_S * 1000,
        )
        self._show(epoch)
        await self._hot.publish_epoch(epoch, through, floor)

    async def _back_feed(
        self, feeds: Feeds, chats: Mapping[str, None], reached: feeding.Reached, v: Mapping[int, int]
    ) -> None:
        if chats:
            window = limits.RECENT_KEPT_MAX
            await feeding.back_feed(feeds, chats, self._view, self._messages, v, reached, window)

    def _reached(self, marks: Mapping[int, Mark]) -> feeding.Reached:
        """With a batch that ends at `marks`. No map of all lanes: hardly a batch asks."""
        return lambda lane: max(self.frontier.get(lane, NOWHERE).id, marks.get(lane, NOWHERE).id)

    def _seq(self, lane: int) -> int:
        return self.frontier.get(lane, NOWHERE).seq

    async def _stored_epoch(self) -> int:
        return int(await self._relational.meta("epoch") or "0")

    def _show(self, epoch: int) -> None:
        self.epoch = epoch
        self._view.epoch = epoch
