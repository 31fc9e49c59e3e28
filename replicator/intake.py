"""The one door through which foreign records enter the local log: inbox, proof, durable store, in this order.

All sources (peers, repairs, the archive) bring records here; whichever is first wins. The durable frontier moves only
by what `store` has returned from.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from core import limits
from core.errors import Corrupt, Forked, PlanBError
from events.ports import EventLog, Top, Trimmed
from events.record import GENESIS, Record
from events.signing import Verifier
from replicator.inbox import Inbox, LaneInbox

log = logging.getLogger(__name__)

NOTHING = Top(0, 0, GENESIS)
Way = Literal["pull", "feed", "repair", "replay"]
"""By what records came: a loop that pulls, what brings them by itself, what mends holes, a batch to be applied."""
_COMPARED_MAX = limits.PULL_RECORDS_MAX
"""Records per call and lane that the inbox does not remember and reads from the log, to compare duplicates with."""


class LaneState(NamedTuple):
    """One foreign lane, for the status page."""

    durable: int
    waiting: int
    """Records held that are not proven yet."""
    bad: int
    forked: str


class Intake:
    """One per process. `live` names the lanes that this process writes: they never enter from outside. Lanes of earlier
    incarnations do, once `EventLog.open` has retired them."""

    def __init__(
        self,
        event_log: EventLog,
        verifier: Verifier,
        live: Callable[[], frozenset[int]],
        on_fork: Callable[[int, str], None] | None = None,
    ) -> None:
        self._log = event_log
        self._inbox = Inbox(verifier)
        self._live = live
        self._on_fork = on_fork
        self._lock = asyncio.Lock()
        self.durable: dict[int, Top] = {}
        """The end of every lane, as of the last load or store; the own live lanes' may be older than true."""
        self._alarmed: set[int] = set()
        self.came: Counter[str] = Counter()
        """Records that became durable, by the way whose bringing made them so."""
        self.refused = 0
        """Records of lanes that may not enter (own live ones)."""

    async def load(self) -> None:
        """Begins at what the log holds."""
        self.durable = await self._log.tops()

    def have(self) -> dict[int, int]:
        """lane -> seq, where more than the durable frontier was received: records after it are wanted."""
        found = {lane: inbox.have for lane, inbox in self._inbox.lanes.items()}
        return {lane: seq for lane, seq in found.items() if seq > self.top(lane).seq}

    def top(self, lane: int) -> Top:
        """The durable end of a lane."""
        return self.durable.get(lane, NOTHING)

    def lanes(self) -> dict[int, LaneState]:
        """The state of every lane that came from outside."""
        return {
            lane: LaneState(self.top(lane).seq, inbox.size, inbox.bad, inbox.forked)
            for lane, inbox in self._inbox.lanes.items()
        }

    def forked(self, lane: int) -> str:
        """Why the lane is stopped; "" if it is not."""
        inbox = self._inbox.lanes.get(lane)
        return inbox.forked if inbox is not None else ""

    @property
    def waiting(self) -> int:
        return self._inbox.size

    @property
    def dropped(self) -> int:
        """Records dropped because the inbox was full; they are pulled again."""
        return self._inbox.dropped

    def bad(self) -> int:
        """Records refused so far, over all lanes."""
        return sum(inbox.bad for inbox in self._inbox.lanes.values())

    @property
    def stored(self) -> int:
        """Records that became durable."""
        return self.came.total()

    async def take(self, records: Sequence[Record], way: Way = "pull") -> int:
        """Takes records of any lanes in any order; how many became durable.

        Raises LogUnavailable or OutcomeUnknown when the local log can't take them (nothing is lost: they are pulled
        again). A fork stops its lane and nothing else.
        """
        async with self._lock:
            live = self._live()
            welcome = [record for record in records if record.lane not in live]
            self.refused += len(records) - len(welcome)
            lanes = dict.fromkeys(record.lane for record in welcome)
            for lane in lanes:
                if lane not in self._inbox.lanes:
                    self._inbox.lane(lane, await self._top_now(lane))
            await self._recall(welcome)
            for record in welcome:
                self._inbox.offer(record)
            return await self._store(lanes, way)

    async def _store(self, lanes: Iterable[int], way: Way) -> int:
        proven: list[Record] = []
        for lane in lanes:
            proven.extend(self._inbox.drain(lane))
            if self._inbox.lanes[lane].forked:
                self._alarm(self._inbox.lanes[lane])
        if not proven:
            return 0
        return await self._write(proven, way)

    async def _write(self, proven: Sequence[Record], way: Way) -> int:
        lanes = {record.lane for record in proven}
        try:
            await self._log.store(proven)
        except Corrupt as error:  # the log holds something else than the inbox believed
            for lane in lanes:
                self._inbox.forget(lane)
            if len(lanes) > 1:
                parts = [[record for record in proven if record.lane == lane] for lane in sorted(lanes)]
                return sum([await self._write(part, way) for part in parts])
            for lane in lanes:
                await self._refused(lane, error)
            return 0
        except PlanBError:  # not certainly in the log: those lanes begin again at what the log says then
            for lane in lanes:
                self._inbox.forget(lane)
            raise
        for record in proven:
            self.durable[record.lane] = Top(record.seq, record.id, record.hash)
        self.came[way] += len(proven)
        return len(proven)

    async def _refused(self, lane: int, error: Corrupt) -> None:
        """The log does not take the lane: for good if other bytes stand there; else (a lane of ours that is not
        retired yet, an end that was lost) it is tried again from what the log says."""
        inbox = self._inbox.lane(lane, await self._top_now(lane))
        if isinstance(error, Forked):
            inbox.stop(error.detail)
            self._alarm(inbox)
        else:
            log.warning("lane %d is not stored: %s", lane, error.detail)

    async def _top_now(self, lane: int) -> Top:
        self.durable[lane] = (await self._log.tops()).get(lane, NOTHING)
        return self.top(lane)

    async def _recall(self, records: Sequence[Record]) -> None:
        """Loads the hashes that old duplicates are compared with; those trimmed here stay uncompared."""
        old: dict[int, list[int]] = {}
        for record in records:
            inbox = self._inbox.lanes[record.lane]
            if record.seq <= inbox.top.seq and not (inbox.remembers(record.seq) and inbox.remembers(record.seq - 1)):
                old.setdefault(record.lane, []).append(record.seq)
        for lane, seqs in old.items():
            first = max(1, min(seqs) - 1)
            try:
                for stored in await self._log.read(lane, first - 1, min(max(seqs) - first + 1, _COMPARED_MAX)):
                    self._inbox.lanes[lane].remember(stored.seq, stored.hash)
            except Trimmed:
                continue

    def _alarm(self, inbox: LaneInbox) -> None:
        if inbox.lane in self._alarmed:
            return
        self._alarmed.add(inbox.lane)
        log.error("lane %d is stopped: %s", inbox.lane, inbox.forked)
        if self._on_fork is not None:
            self._on_fork(inbox.lane, inbox.forked)
