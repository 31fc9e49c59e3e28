"""The relational store and the message store as `apply` sees them: what a batch writes there, each with its frontier.

Its counterpart for the hot store is stores/hot_writer.py.
"""

from collections.abc import Sequence

from core.tables import Effect
from stores.plan import Planned, changes, relational_results, stamped
from stores.ports import (
    Frontier,
    HotStore,
    MessageStore,
    Parked,
    RelationalBatch,
    RelationalStore,
    Result,
    Stamped,
)
from stores.progress import NOWHERE
from stores.view import StoreView

_STORED = "stored"
"""Meta: written for its sync, which takes along all that was written before."""


class RowWriter:
    """One per Applier, which calls it for one batch at a time. Whatever it raises, the same call may be made again."""

    def __init__(self, relational: RelationalStore, messages: MessageStore, hot: HotStore, view: StoreView) -> None:
        self._relational = relational
        self._messages = messages
        self._hot = hot
        self._view = view
        self._relational_at: Frontier = {}
        self._messages_at: Frontier = {}
        self.superseded_writes = 0
        """lww writes that were older than what stood there when they came: no loss, the newer one counts everywhere."""

    async def open(self) -> Frontier:
        """How far both stores have come."""
        self._relational_at = await self._relational.frontier()
        self._messages_at = await self._messages.frontier()
        return {
            lane: mark
            for lane in {*self._relational_at, *self._messages_at}
            if (mark := min(self._relational_at.get(lane, NOWHERE), self._messages_at.get(lane, NOWHERE))).seq
        }

    async def write(self, planned: Sequence[Planned], parked: Sequence[Parked], reached: Frontier) -> list[Stamped]:
        """Steps 2 to 4 of a batch, after which the lanes stand at `reached`; its effects. Message rows are queued."""
        effects = stamped(planned)
        await self._decide(effects)
        await self._write_relational(effects, relational_results(planned), parked, (), reached)
        await self._write_messages(planned, reached)
        return effects

    async def write_again(self, item: Planned, applied: Frontier) -> None:
        """The same for an event whose place was passed while it was parked. Durable in both when it returns, for it has
        no frontier that would bring it back."""
        effects = stamped([item])
        await self._decide(effects)
        await self._write_relational(effects, relational_results([item]), (), (), applied)
        await self._write_messages([item], {})
        await self._messages.flush()

    async def unpark(self, lane: int, seq: int, applied: Frontier) -> None:
        """It is parked no more."""
        await self._write_relational((), (), (), [(lane, seq)], applied)

    async def move(self, applied: Frontier) -> None:
        """Brings the frontiers to `applied`, where the last batches had nothing to write."""
        if self._relational_at != applied:
            await self._relational.apply(RelationalBatch((), (), (), (), applied))
            self._relational_at = applied
        if self._messages_at != applied:
            await self._messages.ready()
            self._messages.put((), applied)
            self._messages_at = applied

    async def stored(self, applied: Frontier) -> dict[int, int]:
        """lane -> seq: of what hot state has (`applied`), what both stores hold so that no crash and no power failure
        takes it back. Syncs them."""
        frontiers = [await self._relational.frontier(), await self._messages.frontier()]
        await self._relational.set_meta(_STORED, "")
        await self._messages.flush()
        return {lane: min(mark.seq, *(at.get(lane, NOWHERE).seq for at in frontiers)) for lane, mark in applied.items()}

    async def _decide(self, effects: Sequence[Stamped]) -> None:
        wanted = changes(effects)
        if wanted:
            self.superseded_writes += sum(await self._hot.decide(wanted))

    async def _write_relational(
        self,
        effects: Sequence[Stamped],
        results: Sequence[Result],
        parked: Sequence[Parked],
        unparked: Sequence[tuple[int, int]],
        reached: Frontier,
    ) -> None:
        # Every message to a direct names its two users again: no reason for a transaction each.
        effects = [item for item in effects if not self._is_at_hand(item.effect)]
        effects = [item for item in effects if not await self._is_known(item.effect)]
        if not (effects or results or parked or unparked):
            return
        try:
            await self._relational.apply(RelationalBatch(effects, results, parked, unparked, reached))
            self._relational_at = reached
        finally:
            # Also where the outcome is not known.
            self._view.invalidate(effects)

    def _is_at_hand(self, effect: Effect) -> bool:
        return effect.table == "directs" and self._view.knows_direct(str(effect.key[0]))

    async def _is_known(self, effect: Effect) -> bool:
        return effect.table == "directs" and await self._view.direct(str(effect.key[0])) is not None

    async def _write_messages(self, planned: Sequence[Planned], reached: Frontier) -> None:
        rows = [row for item in planned for row in item.rows]
        if rows:
            await self._messages.ready()
            self._messages.put(rows, reached)
            if reached:
                self._messages_at = reached
