"""Keeps the event log small: forgets what is archived, in every store, and not likely to be asked for again.

Per lane, through

    min(archived here, synced in every store here, max(bound, end - LOG_KEPT_RECORDS_MAX)) - REFEED_RECORDS_MAX

The first two are safety: whatever the log forgets can be read from the archive (snapshot/past.py), and recovery never
begins before it. The third is courtesy: what a peer lacks, or a parked event holds, stays at hand, but a peer that is
away for long does not fill the log's memory; it gets the rest from the archive. The last is what hot state is fed from
when it is rebuilt.
"""

from collections.abc import Awaitable, Callable, Mapping

from core import limits
from events.ports import EventLog, Top, Trimmed

Seqs = Mapping[int, int]
"""lane -> seq."""


def trim_points(
    *,
    archived: Seqs,
    stored: Seqs,
    bound: Seqs,
    ends: Seqs,
    kept: int,
    refed: int,
) -> dict[int, int]:
    """lane -> the seq through which the log may forget; lanes of which it must keep all are left out."""
    points = {}
    for lane, end in ends.items():
        wanted = max(bound.get(lane, 0), end - kept)
        through = min(archived.get(lane, 0), stored.get(lane, 0), wanted, end) - refed
        if through > 0:
            points[lane] = through
    return points


class Trimmer:
    """One per DC, in the process that serves; `trim` is called now and then."""

    def __init__(
        self,
        log: EventLog,
        *,
        archived: Callable[[], Mapping[int, Top]],
        stored: Callable[[], Awaitable[Seqs]],
        bound: Callable[[], Seqs],
        kept: int,
        refed: int,
        step: int,
    ) -> None:
        """`archived`: never more than is durably in the archive. `stored`: what no crash and no power failure takes
        from any store (it syncs them, so it is asked only when there is something to trim). `bound`: see
        replicator/bound.py. `kept`, `refed`: the two limits above. `step`: a lane is trimmed when so many
        records may go."""
        self._log = log
        self._archived = archived
        self._stored = stored
        self._bound = bound
        self._kept = kept
        self._refed = refed
        self._step = step
        self.first: dict[int, int] = {}
        """lane -> the first seq that the log holds; beyond its end where it holds none."""
        self.ends: dict[int, int] = {}
        """lane -> the end of the log, when it was looked at last."""
        self.trimmed = 0
        """Records forgotten by this process."""

    @property
    def records(self) -> int:
        """Records in the log, by the last look."""
        return sum(end + 1 - self.first[lane] for lane, end in self.ends.items() if lane in self.first)

    async def trim(self) -> int:
        """Forgets what may be forgotten; the number of records. Repeatable; raises LogUnavailable, StoreUnavailable
        (and what was not trimmed is trimmed the next time)."""
        self.ends = {lane: top.seq for lane, top in (await self._log.tops()).items()}
        for lane in self.ends.keys() - self.first.keys():
            self.first[lane] = await self._begin(lane)
        archived = {lane: top.seq for lane, top in self._archived().items()}
        bound = self._bound()
        # Without the stores at first: syncing them costs, and mostly there is nothing to do.
        if not self._due(self._points(archived, archived, bound)):
            return 0
        due = self._due(self._points(archived, await self._stored(), bound))
        before = self.trimmed
        for lane, through in due.items():
            await self._log.trim(lane, through)
            self.trimmed += through + 1 - self.first[lane]
            self.first[lane] = through + 1
        return self.trimmed - before

    def _points(self, archived: Seqs, stored: Seqs, bound: Seqs) -> dict[int, int]:
        return trim_points(
            archived=archived, stored=stored, bound=bound, ends=self.ends, kept=self._kept, refed=self._refed
        )

    def _due(self, points: Seqs) -> dict[int, int]:
        """At most TRIM_RECORDS_MAX of a lane at once: the log server does nothing else meanwhile."""
        due = {}
        for lane, through in points.items():
            through = min(through, self.first[lane] - 1 + limits.TRIM_RECORDS_MAX)
            if through + 1 - self.first[lane] >= self._step:
                due[lane] = through
        return due

    async def _begin(self, lane: int) -> int:
        try:
            found = await self._log.read(lane, 0, 1)
        except Trimmed as trimmed:
            return trimmed.first or self.ends[lane] + 1
        return found[0].seq if found else 1
