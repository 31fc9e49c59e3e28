"""The composition root: one datacenter in one process, every adapter built here and handed in.

the lane that it writes on                 writer_lane.py
what its clients talk to                   public_side.py
what other datacenters and operators do    internal_side.py
how the two listeners are opened           listeners.py, settings.py
whether it serves, and why not             serving.py, clock_watch.py
"""

import asyncio
import json
import logging
from collections.abc import Container
from typing import Any, ClassVar

from aiohttp import web

from api.app import PARTS, PublicDeps
from api.door import Door
from api.files import Files
from api.internal_auth import InternalAuth
from api.operations import Other
from api.scheduler import Scheduler
from api.sys_status import Status
from broker.description import described as stream_described
from broker.hub import Hub
from cli import event_log, hot_state, internal_side, objects, public_side, series, stores
from cli.clock_watch import ClockWatch
from cli.disks import Disks
from cli.listeners import SHUTDOWN_S_MAX, open_public, open_sys
from cli.measuring import Measuring
from cli.process import Process
from cli.serving import Serving
from cli.settings import Listen, Settings
from cli.writer_lane import WriterLane, who_knows
from core import limits
from core.action import registry
from core.clock import HybridClock
from core.clock_error import ClockError
from core.errors import ClockRefused, ConfigError, Conflict, LaneLost, PlanBError, StoreUnavailable
from core.system import entropy, steady_clock_ms, wall_clock_ms
from events.codec import codec
from events.ports import Top, Trimmed
from events.signing import Verifier
from replicator.bootstrap import META_NAME, Knows
from replicator.bound import held_down
from replicator.collector import Collector
from replicator.incarnations import Incarnations
from replicator.link import HttpLink, open_session
from replicator.remote import RemoteDurability
from replicator.repair import PeerTops
from replicator.service import Replicator
from snapshot.archive import Archive
from snapshot.archiver import Archiver
from snapshot.manifest import Place
from snapshot.past import LogWithPast
from snapshot.restore import ANCHORS, SERVE_AFTER
from snapshot.target import unfinished
from snapshot.trimmer import Trimmer
from stores.announce import Announce
from stores.apply import Applier
from stores.digest import digest
from stores.view import StoreView

log = logging.getLogger(__name__)

TICK_S = 1.0


class Datacenter(Process):
    """All services of a DC in one process. `start`, then `stop`; `failure` returns if it can't go on."""

    role = "all"
    serving: Serving
    alone: ClassVar[bool] = True
    """No other process of this DC writes."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.where = settings.public if self.role == "all" else settings.sys
        self._objects_unchecked = False
        """S3 did not answer."""
        self.hub: Hub | None = None
        """Of the websockets that are here."""

    async def _start(self) -> None:
        """Opens the stores, recovers, takes the lane, replicates and serves."""
        self._open_links()
        await self._refuse_lost_objects()
        await self._join()
        await self._open_stores()
        await self._build_state()
        await self._build_upkeep()
        self._build_listeners()
        await self._listen_public()
        await self.applier.start()
        self._closers.append(self.applier.close)
        await self._listen(self.sys, self.settings.sys)
        self._spawn("replicator", self.replicator.run())
        await self.writer.start(self._lane_taken)
        self._closers.append(self.writer.close)
        self._spawn("archiver", self.archiver.run())
        self._spawn("tick", self._tick())
        self._spawn("scheduler", self.scheduler.run())
        self._spawn("disks", self.disks.run())
        if self.measuring:
            self._spawn("measuring", self.measuring.sampler.run())
            self._spawn("series", self.measuring.writer.run())
        await self.membership.serves()
        await self.serving.opened()

    # -- building

    def _open_links(self) -> None:
        """What others can be asked with."""
        dc = self.settings.dc
        self.clocks = ClockError(wall_clock_ms, steady_clock_ms)
        self.clock = HybridClock(self.clocks.trusted, self.clocks.doubt)
        self._session = open_session()
        self._closers.append(self._session.close)
        self.auth = InternalAuth(
            self._sys_key,
            dc.name,
            self.clocks.trusted,
            entropy,
            steady_ms=steady_clock_ms,
            shown_ms=wall_clock_ms,
        )
        self.links = {name: self._link(name, peer.sys_url) for name, peer in self.settings.peers.items()}
        self._peers: dict[str, Knows] = {name: PeerTops(link) for name, link in self.links.items()}

    async def _refuse_lost_objects(self) -> None:
        """ConfigError where the objects are missing and a peer holds lanes of ours; nothing is made before. Disks that
        remember their life need no S3 that answers; burnt or new ones do."""
        try:
            missing = await objects.are_missing(self.settings)
        except StoreUnavailable as error:
            if not await stores.remembers(self.settings):
                raise
            log.warning("object storage does not answer: %s", error)
            self._objects_unchecked = True
            return
        if missing:
            knows = await who_knows(self.settings.dc.number, self._peers)
            if knows:
                raise ConfigError(
                    f"{missing}, but {knows} knows what was written here before:"
                    " is the setting right, and the disk mounted?"
                )

    async def _join(self) -> None:
        """Returns when this process runs the datacenter; until then it stands by, and has opened nothing."""
        stores.make_ready(self.settings)
        self._closers.append(self.membership.leave)
        await self.membership.join()

    async def _open_stores(self) -> None:
        self.relational = await stores.relational(self.settings)
        self._closers.append(self.relational.close)
        unfinished_restore = await unfinished(self.relational)
        if unfinished_restore is not None:
            raise Conflict(f"a restore of {unfinished_restore} did not finish: run `planb restore` again")
        # One that has run has objects: a folder made anew would hide that their disk is missing.
        first = await self.relational.meta(META_NAME) is None
        self.objects, close = await objects.opened(
            self.settings, create=first, unchecked=self._objects_unchecked and not first
        )
        self._closers.append(close)
        self.messages = await stores.messages(self.settings)
        self._closers.append(self.messages.close)
        self.hot = hot_state.opened(self.settings)
        self._closers.append(self.hot.close)
        self.log = await event_log.opened(self.settings)
        self._closers.append(self.log.close)

    async def _build_state(self) -> None:
        """What brings events into the stores, and the lane that own ones go to."""
        dc = self.settings.dc
        self.view = StoreView(dc.name, self.relational, self.messages, self.hot)
        self.view.number = dc.number
        self.view.dcs = frozenset(self.settings.names)
        self.archive = Archive(self.objects)
        incarnations = Incarnations(self.objects, dc.number)
        self._own = WriterLane(dc.number, self.log, self.relational, self.messages, incarnations, self.alone)
        others = {**self._peers, "archive": self.archive}
        await self._own.choose(others, self.clock.can_follow, self.membership.take_worker)
        self.lane = self._own.number
        self.past = LogWithPast(self.log, Archive(self.objects))
        self.applier = Applier(
            event_log=self.past,
            relational=self.relational,
            messages=self.messages,
            hot=self.hot,
            view=self.view,
            actions=registry(),
            codec=codec(),
            clock=self.clock,
            now_ms=wall_clock_ms,
            own_lanes=self._own_lanes(),
            heard=self._heard,
            announce=self._announcing(),
        )
        self._owner = entropy(8)
        self.writer = self._lane_writer(self.log, self.lane, self._owner, self.applier.apply)

    async def _build_upkeep(self) -> None:
        """What goes on beside the writes: archive, replication, forgetting, and whether it may serve."""
        dc = self.settings.dc
        places = json.loads(await self.relational.meta(ANCHORS) or "{}")
        anchors = {int(lane): Place(**place).top() for lane, place in places.items()}
        self.archiver = Archiver(self.log, self.objects, anchors=anchors)
        progress = self.applier.progress
        self._verifier = Verifier(self.settings.public_keys() | {dc.number: self._signer.public})
        own = f"http://{self.settings.sys.host}:{self.settings.sys.port}"
        feed = event_log.feed(self.settings)
        if feed is not None:
            self._closers.append(feed.close)
        self.replicator = Replicator(
            dc=dc.name,
            dcs={name: number for number, name in self.settings.names.items()},
            links=self.links,
            target=self._link(dc.name, own),
            event_log=self.log,
            past=self.past,
            verifier=self._verifier,
            live=self._live,
            held=lambda: held_down(progress.parked, ()),
            applied=lambda: {lane: mark.seq for lane, mark in progress.applied.items()},
            archive=self.archive,
            feed=feed,
            on_own_lane_conflict=self._own_lane_conflict,
            clocks=self.clocks,
            entropy=entropy,
        )
        self.watch = ClockWatch(self.clocks, self.clock, self.replicator.names, self.applier.far_ahead, period_s=TICK_S)
        folders = self.settings.stores
        self.disks = Disks(
            {"data_dir": folders.data_dir} | ({"objects_dir": folders.objects_dir} if folders.objects_dir else {})
        )
        self.trimmer = Trimmer(
            self.log,
            archived=self.archiver.tops,
            stored=self.applier.stored,
            bound=self.replicator.bound,
            kept=limits.LOG_KEPT_RECORDS_MAX,
            refed=limits.REFEED_RECORDS_MAX,
            step=limits.TRIM_RECORDS_MIN,
        )
        self.collector = Collector(self.relational, self.past, self.replicator.bound, wall_clock_ms)
        serve_after = json.loads(await self.relational.meta(SERVE_AFTER) or "{}")
        self.serving = Serving(
            progress,
            {int(lane): seq for lane, seq in serve_after.items()},
            self.writer,
            self.replicator.growth,
            self.hot,
            self.clock,
            self.membership.refusal,
        )

    def _build_listeners(self) -> None:
        dc = self.settings.dc
        deps = PublicDeps(
            dc=dc.name,
            key=self._token_key,
            token_keys=self._token_keys,
            token_rules=public_side.token_rules(self.settings),
            actions=registry(),
            lane_writer=self.writer,
            view=self.view,
            hot=self.hot,
            files=Files(self.objects, self.links, self.settings.names),
            progress=self.applier.progress,
            clock=self.clock,
            epoch=lambda: self.applier.epoch,
            remote=RemoteDurability(self.replicator.board),
            wall=wall_clock_ms,
            entropy=entropy,
            checks=self.serving.checks,
            others=[Other(*one) for one in stream_described()],
            rates=public_side.rates(self.settings),
            proxies=frozenset(map(str, self.settings.public.proxies)),
            cors_origins=frozenset(self.settings.public.cors_origins),
        )
        self._build_public(deps)
        self.sys_metrics = internal_side.log_metrics(
            self.trimmer, self.past, self.collector, self.replicator, self.archiver, self.disks
        )
        self.scheduler = Scheduler(
            dc.name,
            self.view,
            self.public[PARTS].writes,
            deps.actions,
            wall_clock_ms,
            lambda: self.serving.open,
        )
        internal_side.scheduler_metrics(self.sys_metrics, self.scheduler)
        self._measure()
        status = Status(
            dc=dc.name,
            incarnation=self._own.incarnation,
            epoch=lambda: self.applier.epoch,
            progress=self.applier.progress,
            replicator=self.replicator,
            figures=internal_side.figures(
                self.applier,
                self.writer,
                self.replicator,
                self.archiver,
                self.trimmer,
                self.watch,
                self.disks,
                self.measuring,
                self.membership,
            ),
            now_ms=wall_clock_ms,
        )
        self.sys = internal_side.build(
            deps,
            self.public[PARTS],
            auth=self.auth,
            applier=self.applier,
            relational=self.relational,
            replicator=self.replicator,
            past=self.past,
            verifier=self._verifier,
            codec=codec(),
            status=status,
            digest=self._digest,
            metrics=self.sys_metrics,
        )

    def _build_public(self, deps: PublicDeps) -> None:
        self.public, self.hub = public_side.build(deps, streams_max=self.room.streams, gate=self.serving.gate)

    def _measure(self) -> None:
        metrics = self.sys_metrics
        metrics.stage("log", self.writer.append_times)
        metrics.stage("rows", self.applier.row_times)
        metrics.stage("hot", self.applier.hot_times)
        store = series.opened(self.settings)
        self.measuring: Measuring | None = None
        if store is not None:
            self.measuring = Measuring(
                store,
                self.settings.dc.name,
                applier=self.applier,
                writer=self.writer,
                replicator=self.replicator,
                service=self.role,
                hub=self.hub,
                public=self.public[PARTS].metrics,
                now_ms=wall_clock_ms,
                steady_ms=steady_clock_ms,
            )
            self.measuring.add_metrics(metrics)
            self._closers.append(self.measuring.close)

    def _link(self, name: str, url: str) -> HttpLink:
        return HttpLink(self._session, name, url, self.auth)

    async def _digest(self) -> dict[str, Any]:
        await self.messages.flush()
        return (await digest(self.relational, self.messages)).shown()

    # -- what differs where other processes of this datacenter write

    def _own_lanes(self) -> Container[int]:
        """Those that this DC writes, as its applier has to know them."""
        return {self.lane}

    def _live(self) -> frozenset[int]:
        """Those that nobody else may write on."""
        return self._own.live()

    def _heard(self, owner: str) -> bool:
        return self.hub is not None and self.hub.hears(owner)

    def _announcing(self) -> Announce | None:
        """How brokers are told; None: through the hot store."""
        return None

    # -- running

    async def _own_lane_conflict(self, lane: int, reason: str) -> None:
        await self._own.give_up()
        self._fail(LaneLost(f"{self.replicator.names.lane(lane)}: {reason}"))

    async def _lane_taken(self, top: Top) -> None:
        await self._own.taken(top, self._owner, self.applier.catch_up)

    def _check_lane(self) -> None:
        lost = self._own.lost(self.replicator.growth.tops, self.writer)
        if lost:
            self._fail(lost)

    def _check_clock(self) -> None:
        leave = self.watch.look()
        if leave:
            self._fail(ClockRefused(leave))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)  # a period, not a condition
            self._check_lane()
            self._check_clock()
            try:
                await self.applier.tick()
                await self.trimmer.trim()
                await self.collector.collect()
            except (PlanBError, Trimmed) as error:
                log.warning("frontiers could not be moved, or nothing be forgotten: %s", error)

    async def _listen(self, app: web.Application, where: Listen) -> None:
        runner = await self._runner(app)
        door = Door(limits.SYS_CONNECTIONS_MAX, self.sys_metrics)
        self._closers.append(door.close)
        await open_sys(runner, where, door)

    async def _listen_public(self) -> None:
        runner = await self._runner(self.public)
        door = Door(self.room.public, self.public[PARTS].metrics)
        front = await open_public(runner, self.settings.public, door, lambda: self.serving.open, wall_clock_ms)
        self._closers.append(lambda: front.close(SHUTDOWN_S_MAX))
