"""Fills holes that pulling does not: records that a peer has trimmed are fetched from another peer or the archive.

What comes is proven like everything else, so it does not matter who gives it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from core import limits
from core.errors import PlanBError
from core.system import Entropy
from events.ports import LogReader, Top, Trimmed
from events.record import Record
from replicator.backoff import Backoff
from replicator.intake import Intake
from replicator.link import PeerLink
from replicator.peers import Mine
from replicator.wire import PullRequest

log = logging.getLogger(__name__)


class RecordSource(Protocol):
    """Anything that holds records of lanes: a peer, the archive (snapshot/archive.py)."""

    async def read(self, lane: int, after: int, limit: int) -> list[Record]:
        """Up to `limit` records with seq > `after`, in order; [] if it has none. May raise any PlanBError or
        Trimmed: then another source is asked."""
        ...

    async def tops(self) -> Mapping[int, Top]:
        """The end of each lane there."""
        ...


class PeerTops:
    """What a peer DC holds."""

    def __init__(self, link: PeerLink) -> None:
        self._link = link

    async def tops(self) -> Mapping[int, Top]:
        """See `RecordSource`. Ids are not told: 0."""
        return {lane: Top(seq, 0, hash) for lane, (seq, hash) in (await self._link.tops()).items()}


class PeerSource(PeerTops):
    """A peer DC as a `RecordSource`."""

    def __init__(self, link: PeerLink, mine: Mine) -> None:
        super().__init__(link)
        self._mine = mine

    async def read(self, lane: int, after: int, limit: int) -> list[Record]:
        """See `RecordSource`."""
        request = PullRequest(
            dc=self._mine.dc,
            durable=dict(self._mine.durable()),
            applied=dict(self._mine.applied()),
            held=dict(self._mine.held()),
            again={lane: after},
            lanes=[lane],
            limit=limit,
        )
        header, records = await self._link.pull(request)
        if lane in header.trimmed:
            raise Trimmed(lane, header.trimmed[lane])
        return records


async def examine(lane: int, intake: Intake, event_log: LogReader, source: RecordSource) -> None:
    """A source's records do not follow from ours: finds where the two histories part and shows the intake its side
    from there on. If it is signed, the lane is found forked. Where it was trimmed away nothing can be said.

    Raises what the source and the log raise.
    """
    try:
        await _compare(lane, intake, event_log, source)
    except Trimmed as error:
        log.warning("lane %d does not continue there, and can't be compared: %s", lane, error)


async def _compare(lane: int, intake: Intake, event_log: LogReader, source: RecordSource) -> None:
    after = intake.top(lane).seq
    step = limits.LANE_BATCH_MAX
    while after > 0:
        after = max(0, after - step)
        step *= 2
        theirs, ours = await source.read(lane, after, 1), await event_log.read(lane, after, 1)
        if theirs and ours and theirs[0].hash == ours[0].hash:
            break
    while not intake.forked(lane):
        records = await source.read(lane, after, limits.PULL_RECORDS_MAX)
        if not records:
            return
        await intake.take(records, "repair")
        after = records[-1].seq


class Repairer:
    """One per process; `sources` in the order in which they are asked."""

    def __init__(
        self,
        intake: Intake,
        sources: Mapping[str, RecordSource],
        entropy: Entropy,
        on_filled: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_filled` is called when nothing is missing any more: pulling may go on."""
        self._on_filled = on_filled
        self._intake = intake
        self._sources = sources
        self._entropy = entropy
        self._backoff = Backoff(entropy)
        self._asked = asyncio.Event()
        self.wanted: dict[int, int] = {}
        """lane -> through which seq records are missing here."""
        self.error = ""
        """Why the last attempt brought nothing; "" if it did."""

    def want(self, lane: int, through: int) -> None:
        """Records of the lane through `through` are not to be had by pulling."""
        self.wanted[lane] = max(through, self.wanted.get(lane, 0))
        self._asked.set()

    async def want_all_of(self, source: RecordSource, live: Callable[[], frozenset[int]]) -> None:
        """Wants whatever the source holds beyond ours, however often it has to be asked. Once, at a start: the end of a
        lane that burnt with its log may be in our own archive alone, and no peer's answer ever names it."""
        backoff, told = Backoff(self._entropy), ""
        while True:
            try:
                tops = await source.tops()
                break
            except PlanBError as error:
                if told != error.detail:
                    told = error.detail
                    log.warning("the archive does not say what it holds: %s", told)
                await backoff.wait()
        for lane, top in tops.items():
            if lane not in live() and top.seq > self._intake.top(lane).seq:
                self.want(lane, top.seq)

    async def run(self) -> None:
        """Repairs until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            for lane in list(self.wanted):
                await self._fill(lane)
            self.wanted = {lane: seq for lane, seq in self.wanted.items() if self._intake.top(lane).seq < seq}
            if self.wanted:
                self._asked.set()
                await self._backoff.wait()
            else:
                self._backoff.reset()
                self._on_filled()

    async def _fill(self, lane: int) -> None:
        for name, source in self._sources.items():
            try:
                while self._intake.top(lane).seq < self.wanted[lane]:
                    records = await self._some(source, lane)
                    if not records or not await self._intake.take(records, "repair"):
                        break
                    self.error = ""
            except (PlanBError, Trimmed) as error:
                self.error = f"{name}: {error}"
                log.info("lane %d after %d: not from %s: %s", lane, self._intake.top(lane).seq, name, error)
            if self._intake.top(lane).seq >= self.wanted[lane]:
                return

    async def _some(self, source: RecordSource, lane: int) -> Sequence[Record]:
        """Records after our top through at least one signed one, or [] if there is no such here."""
        found: list[Record] = []
        after = self._intake.top(lane).seq
        while not any(record.signature for record in found):
            records = await source.read(lane, after, limits.PULL_RECORDS_MAX)
            if not records or len(found) > limits.PULL_RECORDS_MAX:
                return []
            found.extend(records)
            after = records[-1].seq
        return found
