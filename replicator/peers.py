"""One loop per peer DC: pull what it holds beyond ours, prove and store it, ask again.

A failed link backs off by itself and touches no other loop. While the direct link to a DC works, its lanes are left
out of what the others send (an eager path, and lazy ones that only show their frontiers); they are asked for from
everyone as soon as the link fails, or when somebody stays ahead of us in spite of it. After Leitão et al., "Epidemic
Broadcast Trees" (Plumtree, 2007).
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping

from core import limits
from core.clock_error import ClockError
from core.errors import Corrupt, LinkFailed, PlanBError
from core.ids import Lane
from core.system import Entropy
from events.record import Record
from replicator.backoff import Backoff
from replicator.board import Board
from replicator.intake import Intake
from replicator.link import ClocksApart, PeerLink
from replicator.own_lane import OwnLanes
from replicator.wire import PullHeader, PullRequest

log = logging.getLogger(__name__)

OnConflict = Callable[[int, str], Awaitable[None]]
"""(own lane, reason): stop the lane at once and come back as a new incarnation."""


class Mine:
    """What this DC says about itself in a pull."""

    def __init__(
        self,
        *,
        dc: str,
        durable: Callable[[], Mapping[int, int]],
        applied: Callable[[], Mapping[int, int]],
        held: Callable[[], Mapping[int, int]],
        live: Callable[[], frozenset[int]],
    ) -> None:
        self.dc = dc
        self.durable = durable
        self.applied = applied
        self.held = held
        self.live = live


class PeerLoop:
    """The loop for one peer.

    `want` is told of lanes that this peer can't give any more: (lane, through seq). `examine` is asked to look into a
    lane whose records from this peer do not follow from ours.
    """

    def __init__(
        self,
        *,
        name: str,
        number: int,
        link: PeerLink,
        mine: Mine,
        board: Board,
        intake: Intake,
        clocks: ClockError,
        own_lanes: OwnLanes,
        want: Callable[[int, int], None],
        examine: Callable[[int], Awaitable[None]],
        on_own_lane_conflict: OnConflict,
        entropy: Entropy,
    ) -> None:
        self.name = name
        self._number = number
        self._link = link
        self._mine = mine
        self._board = board
        self._intake = intake
        self._clocks = clocks
        self._own_lanes = own_lanes
        self._want = want
        self._examine = examine
        self._on_conflict = on_own_lane_conflict
        self._entropy = entropy
        self._backoff = Backoff(entropy)
        self._rerouted = asyncio.Event()
        self._ahead: dict[int, tuple[int, float]] = {}
        """Lanes that this peer was ahead of us in at its last answer -> (its seq, since when in loop seconds)."""
        self._trimmed: dict[int, int] = {}
        """Lanes that it can give only once we hold them through this seq."""
        self._resting: dict[int, tuple[Backoff, float]] = {}
        """Lanes of which it sent what can't be used -> until when they are not asked for (loop seconds)."""
        self.error = ""
        """Why the last round failed; "" if it did not."""
        self.pulls = 0

    def reroute(self) -> None:
        """The set of direct links changed: a poll that waits is asked anew."""
        self._rerouted.set()

    async def run(self) -> None:
        """Pulls until cancelled."""
        more = True
        while True:
            try:
                more = await self._pull(more)
                self._board.note_link(self.name)
                if self.error:
                    log.info("link to %s: well again", self.name)
                self.error = ""
            except (LinkFailed, Corrupt) as error:
                if not self.error:
                    log.warning("link to %s: %s", self.name, f"{error.detail} {error.private}".strip())
                self._board.note_link(self.name, error.detail)
                self.error = error.detail
            except PlanBError as error:  # our own log: the link is well
                if not self.error:
                    log.warning("what %s gave can't be stored: %s %s", self.name, error.detail, error.private)
                self.error = error.detail
            if self.error:
                more = True
                await self._backoff.wait()
            else:
                self._backoff.reset()

    async def _pull(self, more: bool) -> bool:
        """One request; whether to ask again at once."""
        self._rerouted.clear()
        answer = await self._unless_rerouted(self._request(0 if more else limits.PULL_WAIT_MS_MAX))
        if answer is None:
            return True
        header, records = answer
        self.pulls += 1
        if header.dc != self.name:
            raise Corrupt(f"{self.name} calls itself {header.dc[:64]!r}: the peers' addresses are mixed up")
        self._board.note(self.name, header.durable, header.applied, header.held)
        conflict = await self._own_lanes.conflict(self._mine.live(), header.tops)
        if conflict is not None:
            log.error("own lane %d: %s", *conflict)
            await self._on_conflict(*conflict)
        await self._intake.take(records)
        self._note_trimmed(header)
        self._note_ahead(header)
        for lane in {record.lane for record in records}:
            await self._note_use(lane, min(record.seq for record in records if record.lane == lane))
        return header.more or bool(records)

    async def _note_use(self, lane: int, first: int) -> None:
        """Records from `first` came. If they did not fit to ours the lane rests here for a while, so that they are not
        sent again and again; whether it is a fork is looked into."""
        reached = max(self._intake.top(lane).seq, self._intake.have().get(lane, 0))
        if first <= reached:
            self._resting.pop(lane, None)
            return
        backoff, _ = self._resting.get(lane) or (Backoff(self._entropy), 0.0)
        self._resting[lane] = (backoff, asyncio.get_running_loop().time() + backoff.next_s())
        if not self._intake.forked(lane):
            await self._examine(lane)

    async def _unless_rerouted(self, request: PullRequest) -> tuple[PullHeader, list[Record]] | None:
        """The answer; None if the routes changed before it came."""
        pull = asyncio.ensure_future(self._timed(request))
        rerouted = asyncio.ensure_future(self._rerouted.wait())
        try:
            await asyncio.wait((pull, rerouted), return_when=asyncio.FIRST_COMPLETED)
            return pull.result() if pull.done() else None
        finally:
            rerouted.cancel()
            pull.cancel()
            await asyncio.gather(pull, rerouted, return_exceptions=True)

    async def _timed(self, request: PullRequest) -> tuple[PullHeader, list[Record]]:
        """The answer; what it says of the peer's clock is noted, also when our clocks differ too much to talk."""
        sent_ms = self._clocks.steady()
        try:
            header, records = await self._link.pull(request)
        except ClocksApart as error:
            self._note_clock(sent_ms, 0, error.wall_ms)
            raise
        self._note_clock(sent_ms, header.held_ms, header.wall_ms)
        return header, records

    def _note_clock(self, sent_ms: int, held_ms: int, wall_ms: int) -> None:
        received_ms = self._clocks.steady()
        self._clocks.note(self.name, sent_ms=sent_ms, received_ms=received_ms, held_ms=held_ms, wall_ms=wall_ms)

    def _request(self, wait_ms: int) -> PullRequest:
        durable = dict(self._mine.durable())
        eager = {self._number} | self._overdue()
        stopped = [lane for lane, state in self._intake.lanes().items() if state.forked]
        waiting = [lane for lane, seq in self._trimmed.items() if self._intake.top(lane).seq < seq]
        now_s = asyncio.get_running_loop().time()
        resting = {lane: until_s - now_s for lane, (_, until_s) in self._resting.items() if now_s < until_s}
        # A poll holds its exceptions as long as it waits: not longer than they are meant to last.
        lasting_s = [*resting.values(), *([limits.LAZY_MS_MAX / 1000] if self._ahead else [])]
        wait_ms = min(wait_ms, *(math.ceil(left_s * 1000) for left_s in lasting_s)) if lasting_s else wait_ms
        return PullRequest(
            dc=self._mine.dc,
            durable=durable,
            applied=dict(self._mine.applied()),
            held=dict(self._mine.held()),
            have=self._intake.have(),
            live=sorted(self._mine.live()),
            lazy=[number for number in self._board.direct() if number not in eager],
            skip=[*stopped, *waiting, *resting],
            wait_ms=wait_ms,
        )

    def _note_trimmed(self, header: PullHeader) -> None:
        self._trimmed = {lane: seq for lane, seq in self._trimmed.items() if self._intake.top(lane).seq < seq}
        for lane, first in header.trimmed.items():
            through = first - 1 if first else header.durable.get(lane, 0)
            if self._intake.top(lane).seq < through:
                self._trimmed[lane] = through
                self._want(lane, through)

    def _note_ahead(self, header: PullHeader) -> None:
        now_s = asyncio.get_running_loop().time()
        ahead = {}
        for lane, seq in header.durable.items():
            if self._intake.top(lane).seq < seq and lane not in self._mine.live():
                since = self._ahead.get(lane)
                ahead[lane] = since if since and self._intake.top(lane).seq < since[0] else (seq, now_s)
        self._ahead = ahead

    def _overdue(self) -> set[int]:
        """DCs whose own link works, and yet this peer has been ahead of us in one of their lanes for too long."""
        before_s = asyncio.get_running_loop().time() - limits.LAZY_MS_MAX / 1000
        return {
            Lane.of(lane).dc
            for lane, (seq, since_s) in self._ahead.items()
            if since_s < before_s and self._intake.top(lane).seq < seq
        }
