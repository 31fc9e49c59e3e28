"""Forgets what no DC needs any more, once it is old: rows from which conflicts are computed.

The list of conflicts does not depend on it. It shows what is younger than CONFLICTS_KEPT_S, forgetting begins with what
is oldest, and that does not change which of the younger writes lost (core/rivalry.py).
"""

from collections.abc import Callable, Mapping

from core import ids, limits
from core.system import Clock
from events.ports import LogReader
from stores.ports import RelationalStore


def conflicts_since(now_ms: int) -> int:
    """The smallest stamp that is still listed as a conflict."""
    return ids.make_id(ids.tick_at(max(now_ms - limits.CONFLICTS_KEPT_S * 1000, 0)), 0)


class Collector:
    """One per DC, in the process that serves; `collect` is called now and then."""

    def __init__(
        self, relational: RelationalStore, log: LogReader, bound: Callable[[], Mapping[int, int]], now_ms: Clock
    ) -> None:
        """`bound`: see replicator/bound.py."""
        self._relational = relational
        self._log = log
        self._bound = bound
        self._now_ms = now_ms
        self._next_ms = 0
        self._ids: dict[int, tuple[int, int]] = {}
        """lane -> (seq, id) of the bound."""
        self.collected = 0
        """Rows forgotten by this process."""

    async def collect(self) -> int:
        """Forgets some, at most once in COLLECT_INTERVAL_S unless there is more; how many. Repeatable; raises what log
        and store raise, and Trimmed where neither log nor archive has the record at the bound."""
        now_ms = self._now_ms()
        if now_ms < self._next_ms:
            return 0
        through = {lane: await self._id(lane, seq) for lane, seq in self._bound().items() if seq}
        count = await self._relational.collect(through, conflicts_since(now_ms), limits.COLLECT_ROWS_MAX)
        self.collected += count
        if count < limits.COLLECT_ROWS_MAX:
            self._next_ms = now_ms + limits.COLLECT_INTERVAL_S * 1000
        return count

    async def _id(self, lane: int, seq: int) -> int:
        known = self._ids.get(lane)
        if known is None or known[0] != seq:
            known = self._ids[lane] = (seq, (await self._log.read(lane, seq - 1, 1))[0].id)
        return known[1]
