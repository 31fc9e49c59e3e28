"""What datacenters have said of dropping parked events, as far as it is known here. The rule is in core/drops.py."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from core import limits
from core.drops import dropped, given
from events.ports import LogReader, Top, Trimmed
from events.record import Record
from stores.plan import Planned
from stores.ports import Frontier, RelationalStore
from stores.progress import NOWHERE
from stores.view import StoreView

_DROP = b"parked.drop"
_SILENT: Mapping[str, Any] = {"dcs": None, "agreed": 0, "applied": 0}


class Drops:
    """One per Applier. Whoever applies or retries asks here first."""

    def __init__(self, event_log: LogReader, relational: RelationalStore, view: StoreView) -> None:
        self._log = event_log
        self._relational = relational
        self._view = view
        self.promised: set[tuple[int, int]] = set()
        """Places (lane, seq) of events that this DC has agreed to drop: it does not apply them."""
        self._promising: Counter[tuple[int, int]] = Counter()
        """Place -> writes under way that may agree. One whose outcome is not known stays until it is heard."""
        self.dropped: set[tuple[int, int]] = set()
        """Those that all datacenters have agreed to drop."""

    def promise(self, place: tuple[int, int]) -> None:
        """A write is about to agree. It ends with `forgo`, or in the lane, or with the process."""
        self._promising[place] += 1

    def forgo(self, lane: int, seq: int) -> None:
        """It does not, and certainly will not."""
        if (lane, seq) in self._promising:
            self._promising[lane, seq] -= 1
            if not self._promising[lane, seq]:
                del self._promising[lane, seq]

    def hold(self, place: tuple[int, int]) -> bool:
        """Is the event there not to be applied?"""
        return place in self.promised or place in self.dropped or place in self._promising

    async def note(self, places: Collection[tuple[Any, ...]]) -> None:
        """Something was said of these places, and is in the relational store."""
        for lane, seq in places:
            self._weigh((lane, seq), await self._relational.rows("drops", {"lane": lane, "seq": seq}))

    async def recall(
        self, tops: Mapping[int, Top], applied: Frontier, planned: Callable[[Sequence[Record]], list[Planned]]
    ) -> None:
        """At a start: what was said, also in records that are to be applied yet. Those of one lane may forbid to apply
        one of another that a newer program than the one that parked it would understand."""
        words: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
        async for rows in self._relational.dump("drops"):
            for row in rows:
                words.setdefault((row["lane"], row["seq"]), []).append({**_SILENT, **row})
        for lane, top in tops.items():
            at = applied.get(lane, NOWHERE).seq
            while at < top.seq:
                try:
                    records = await self._log.read(lane, at, limits.LANE_BATCH_MAX)
                except Trimmed:
                    break  # to catch up will fail, and says so
                if not records:
                    break
                at = records[-1].seq
                for item in planned([one for one in records if _DROP in one.body]):
                    for effect in item.effects:
                        if effect.table == "drops":
                            row = {**_SILENT, "dc": effect.key[2], **effect.columns}
                            words.setdefault((int(effect.key[0]), int(effect.key[1])), []).append(row)
        for place, said in words.items():
            self._weigh(place, said)

    def _weigh(self, place: tuple[int, int], words: Iterable[Mapping[str, Any]]) -> None:
        words = list(words)
        if dropped(words):
            self.dropped.add(place)
        elif given(words, self._view.number):
            self.promised.add(place)
            self._promising.pop(place, None)
        elif any(row["applied"] and row["dc"] in self._view.dcs for row in words):
            self.promised.discard(place)
            self._promising.pop(place, None)
