"""Answers a peer's pull: everything that this DC holds durably beyond what the peer has, of all lanes.

Long poll: where there is nothing to give it waits for the log to grow. Serving every lane, not only our own, is what
brings an event to a DC whose direct link is cut.
"""

from collections.abc import Callable, Mapping

from core import limits
from core.ids import Lane
from core.system import Clock
from events.ports import LogReader, Trimmed
from events.record import Record
from replicator.board import Board
from replicator.growth import Growth
from replicator.names import DcNames
from replicator.wire import PullHeader, PullRequest

_CHUNK_RECORDS = 256
"""Read from the log at once, so that the bound on bytes is never passed by much."""


class PullServer:
    """One per process. `applied` and `held` are this DC's own frontiers, lane -> seq."""

    def __init__(
        self,
        *,
        dc: str,
        names: DcNames,
        event_log: LogReader,
        growth: Growth,
        board: Board,
        applied: Callable[[], Mapping[int, int]],
        held: Callable[[], Mapping[int, int]],
        wall_ms: Clock,
        steady_ms: Clock,
    ) -> None:
        self._dc = dc
        self._wall_ms = wall_ms
        self._steady_ms = steady_ms
        self._names = names
        self._log = event_log
        self._growth = growth
        self._board = board
        self._applied = applied
        self._held = held
        self._turn = 0
        self._closing = False
        self.served = 0
        """Records given."""
        self.waiting = 0
        """Long polls that wait now."""

    async def answer(self, request: PullRequest) -> tuple[PullHeader, list[Record]]:
        """Waits up to `wait_ms` for something to give. Invalid for an unknown asker."""
        came_ms = self._steady_ms()
        asker = self._names.number(request.dc)
        if request.dc in self._board.peers:
            self._board.note_pulled(request.dc)
            self._board.note(request.dc, request.durable, request.applied, request.held)
        wait_ms = max(0, min(request.wait_ms, limits.PULL_WAIT_MS_MAX))
        if wait_ms and not self._wanted(request):
            self.waiting += 1
            try:
                await self._growth.until(lambda: self._closing or bool(self._wanted(request)), wait_ms / 1000)
            finally:
                self.waiting -= 1
        records, trimmed, more = await self._read(request)
        self.served += len(records)
        tops = self._growth.tops
        header = PullHeader(
            dc=self._dc,
            durable=self._growth.frontier(),
            applied=dict(self._applied()),
            held=dict(self._held()),
            more=more,
            tops={
                lane: (tops[lane].seq, tops[lane].hash)
                for lane in request.live
                if lane in tops and Lane.of(lane).dc == asker
            },
            trimmed=trimmed,
            wall_ms=self._wall_ms(),
            held_ms=self._steady_ms() - came_ms,
        )
        return header, records

    async def close(self) -> None:
        """Long polls are answered at once from now on: a server that goes away need not wait for them."""
        self._closing = True
        self._growth.wake()

    def _wanted(self, request: PullRequest) -> list[int]:
        """Lanes of which the asker misses something that it wants."""
        found = []
        for lane, top in self._growth.tops.items():
            if top.seq <= _start(request, lane) or lane in request.live or lane in request.skip:
                continue
            if request.lanes is not None:
                if lane not in request.lanes:
                    continue
            elif Lane.of(lane).dc in request.lazy:
                continue
            found.append(lane)
        return found

    async def _read(self, request: PullRequest) -> tuple[list[Record], dict[int, int], bool]:
        """Records within the bounds, the trimmed lanes, and whether more is here. Lanes take turns to be first."""
        lanes = self._wanted(request)
        if lanes:
            self._turn = (self._turn + 1) % len(lanes)
            lanes = lanes[self._turn :] + lanes[: self._turn]
        left = min(request.limit or limits.PULL_RECORDS_MAX, limits.PULL_RECORDS_MAX)
        size_left = limits.PULL_BYTES_MAX
        records: list[Record] = []
        trimmed: dict[int, int] = {}
        for lane in lanes:
            after = _start(request, lane)
            top = self._growth.tops[lane].seq
            while after < top:
                if left <= 0 or size_left <= 0:
                    return records, trimmed, True
                try:
                    chunk = await self._log.read(lane, after, min(left, _CHUNK_RECORDS))
                except Trimmed as error:
                    trimmed[lane] = error.first
                    break
                if not chunk:
                    break
                for record in chunk:
                    if size_left <= 0:
                        break
                    records.append(record)
                    after = record.seq
                    left -= 1
                    size_left -= len(record.body) + 128
        return records, trimmed, False


def _start(request: PullRequest, lane: int) -> int:
    if lane in request.again:
        return request.again[lane]
    return max(request.durable.get(lane, 0), request.have.get(lane, 0))
