"""The replicator of one process, put together: growth, a loop per peer, repairs, replay.

It owns its tasks: `run` ends when it is cancelled, and fails if one of them does.
"""

import asyncio
import functools
from collections.abc import Callable, Mapping

from core.clock_error import ClockError
from core.system import Entropy
from events.ports import EventLog, LogReader
from events.signing import Verifier
from replicator.board import Board
from replicator.bound import collection_bound
from replicator.feed import RecordFeed
from replicator.growth import Growth
from replicator.intake import Intake
from replicator.lag import LagMeter
from replicator.link import PeerLink, ReplayTarget
from replicator.names import DcNames
from replicator.own_lane import OwnLanes
from replicator.peers import Mine, OnConflict, PeerLoop
from replicator.pulling import PullServer
from replicator.repair import PeerSource, RecordSource, Repairer, examine
from replicator.replayer import Replayer


class Replicator:
    """Everything that replication needs in one process. Give `pulls` to syssvc (api/sys_app.py)."""

    def __init__(
        self,
        *,
        dc: str,
        dcs: Mapping[str, int],
        links: Mapping[str, PeerLink],
        target: ReplayTarget,
        event_log: EventLog,
        past: LogReader | None = None,
        verifier: Verifier,
        live: Callable[[], frozenset[int]],
        held: Callable[[], Mapping[int, int]],
        applied: Callable[[], Mapping[int, int]] | None = None,
        archive: RecordSource | None = None,
        feed: RecordFeed | None = None,
        on_own_lane_conflict: OnConflict,
        clocks: ClockError,
        entropy: Entropy,
    ) -> None:
        """`dcs`: the DC map, name -> number. `links`: the peers. `live`: the lanes that this process writes. `held`:
        see bound.held_down. `clocks`: this machine's, compared with every peer that answers. `applied`: lane -> seq;
        without it what the replayer learns from `target`. `past`: the log together with what was trimmed from it, for
        those who read; without it the log alone. `feed`: what brings records beside pulling."""
        now_ms = clocks.wall
        self.clocks = clocks
        reader = past or event_log
        self.names = DcNames(dcs)
        self.growth = Growth(event_log, entropy)
        self.board = Board({name: dcs[name] for name in links}, now_ms)
        self.lag = LagMeter()
        self.intake = Intake(event_log, verifier, live)
        self.replayer = Replayer(
            event_log=reader,
            growth=self.growth,
            target=target,
            names=self.names,
            live=live,
            lag=self.lag,
            now_ms=now_ms,
            entropy=entropy,
        )
        self.applied = applied or (lambda: self.replayer.applied)
        self.held = held
        self.live = live
        self.pulls = PullServer(
            dc=dc,
            names=self.names,
            event_log=reader,
            growth=self.growth,
            board=self.board,
            applied=self.applied,
            held=held,
            wall_ms=now_ms,
            steady_ms=clocks.steady,
        )
        mine = Mine(dc=dc, durable=self.durable, applied=self.applied, held=held, live=live)
        sources: dict[str, RecordSource] = {name: PeerSource(link, mine) for name, link in links.items()}
        if archive is not None:
            sources["archive"] = archive
        self._archive = archive
        self.feed = feed
        self.repairer = Repairer(self.intake, sources, entropy, self._reroute)
        own_lanes = OwnLanes(reader)
        self.loops = [
            PeerLoop(
                name=name,
                number=dcs[name],
                link=link,
                mine=mine,
                board=self.board,
                intake=self.intake,
                clocks=clocks,
                own_lanes=own_lanes,
                want=self.repairer.want,
                examine=functools.partial(examine, intake=self.intake, event_log=reader, source=sources[name]),
                on_own_lane_conflict=on_own_lane_conflict,
                entropy=entropy,
            )
            for name, link in links.items()
        ]
        self.board.on_rerouted = self._reroute

    def durable(self) -> dict[int, int]:
        """lane -> seq: what the local log holds, ours included."""
        frontier = self.growth.frontier()
        for lane, top in self.intake.durable.items():
            frontier[lane] = max(top.seq, frontier.get(lane, 0))
        return frontier

    def bound(self) -> dict[int, int]:
        """lane -> seq: the collection bound (replicator/bound.py) as of now."""
        return collection_bound(self.durable(), self.held(), self.board, self.applied())

    def beyond_bound(self) -> int:
        """Records held here that some DC lacks, or something holds."""
        bound = self.bound()
        return sum(seq - bound.get(lane, 0) for lane, seq in self.durable().items())

    async def run(self) -> None:
        """Replicates until cancelled. Raises LogUnavailable if the log is gone at the start."""
        await self.intake.load()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.growth.run(), name="log growth")
            group.create_task(self.repairer.run(), name="repair")
            group.create_task(self.replayer.run(), name="replay")
            if self._archive is not None:
                group.create_task(self.repairer.want_all_of(self._archive, self.live), name="archived ends")
            if self.feed is not None:
                take = functools.partial(self.intake.take, way="feed")
                group.create_task(self.feed.run(take), name="feed")
            for loop in self.loops:
                group.create_task(loop.run(), name=f"pull {loop.name}")

    def _reroute(self) -> None:
        for loop in self.loops:
            loop.reroute()
