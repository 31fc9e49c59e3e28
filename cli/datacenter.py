"""The composition root: one datacenter in one process, every adapter built here and handed in."""

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import aiohttp
from aiohttp import web

from api.app import PARTS, PublicDeps, create_public_app
from api.clock_header import ClockHeader
from api.door import Door
from api.internal_auth import InternalAuth
from api.metrics import Metrics
from api.operations import Other
from api.replay import Replay
from api.sys_app import SysDeps, create_sys_app
from api.sys_status import Figures, Status
from api.sys_writes import SysCalls, SysWriteRoutes
from broker.deps import BrokerDeps
from broker.description import described as stream_described
from broker.hub import Hub
from broker.routes import add_routes as add_stream
from cli import settings as configuration
from cli.clock_watch import ClockWatch
from cli.file_limit import make_room
from cli.listeners import SHUTDOWN_S_MAX, open_public, open_sys, runner_of
from cli.serving import Serving
from cli.settings import Listen, Settings
from core import limits
from core.action import Action, registry
from core.clock import HybridClock
from core.clock_error import ClockError
from core.errors import ClockRefused, ConfigError, Conflict, LaneLost, PlanBError
from core.ids import Lane
from core.system import entropy, steady_clock_ms, wall_clock_ms
from events.adapters.valkey import ValkeyLog
from events.codec import codec
from events.lane_writer import LaneWriter
from events.ports import Top, Trimmed
from events.signing import Signer, Verifier
from replicator.bootstrap import META_NAME, Knows, applied_ends, ask, choose_incarnation, choose_lane
from replicator.bound import held_down
from replicator.collector import Collector
from replicator.link import HttpLink
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
from stores.adapters.directory_objects import DirectoryObjects
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore
from stores.adapters.valkey_hot import ValkeyHot
from stores.apply import Applier
from stores.digest import digest
from stores.view import StoreView

log = logging.getLogger(__name__)

TICK_S = 1.0
ASK_S_MAX = 2.0
"""How long a start waits for peers to say what they hold of our lanes."""
OPENED = "incarnation_opened"
"""Meta: the last incarnation that a lane was opened in."""
SYS_CONNECTIONS_MAX = 32


class Datacenter:
    """All services of a DC in one process. `start`, then `stop`; `failure` returns if it can't go on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._token_key = configuration.secret(settings.secrets.token_key_file)
        self._sys_key = configuration.secret(settings.secrets.sys_key_file)
        self._signer = Signer(configuration.secret(settings.secrets.signing_key_file))
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.room = make_room()
        self._tasks: list[asyncio.Task[None]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []
        """Undo what `start` did, last first."""

    async def start(self) -> None:
        """Opens the stores, recovers, takes the lane, replicates and serves."""
        try:
            await self._open_stores()
            await self._build()
            await self._listen_public()
            await self.applier.start()
            self._closers.append(self.applier.close)
            await self._listen(self.sys, self.settings.sys)
            self._spawn("replicator", self.replicator.run())
            await self.writer.start(self._lane_taken)
            self._closers.append(self.writer.close)
            self._spawn("archiver", self.archiver.run())
            self._spawn("tick", self._tick())
            await self.serving.opened()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Drains and closes, in the reverse order of `start`."""
        if self._tasks:  # else it did not come as far
            self.serving.ends("stopping")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._closers:
            try:
                await self._closers.pop()()
            except PlanBError as error:
                log.warning("while stopping: %s", error)

    async def failure(self) -> BaseException:
        """Waits until this process can't go on, and says why."""
        return await asyncio.shield(self._failed)

    # -- building

    async def _open_stores(self) -> None:
        stores = self.settings.stores
        folder = stores.make_data_dir()
        self.relational = await SqliteRelationalStore.open(folder / "relational.db", clock=wall_clock_ms)
        self._closers.append(self.relational.close)
        unfinished_restore = await unfinished(self.relational)
        if unfinished_restore is not None:
            raise Conflict(f"a restore of {unfinished_restore} did not finish: run `planb restore` again")
        # One that has run has objects: a folder made anew would hide that their disk is missing.
        first = await self.relational.meta(META_NAME) is None
        self.objects = DirectoryObjects(stores.objects_dir, create=first)
        self.messages = await SqliteMessageStore.open(folder / "messages.db")
        self._closers.append(self.messages.close)
        self.hot = ValkeyHot(stores.hot_url)
        self._closers.append(self.hot.close)
        self.log = await ValkeyLog.connect(stores.log_url)
        self._closers.append(self.log.close)

    async def _build(self) -> None:
        dc = self.settings.dc
        actions = registry()
        self.clocks = ClockError(wall_clock_ms, steady_clock_ms)
        self.clock = HybridClock(self.clocks.trusted, self.clocks.doubt)
        self.view = StoreView(dc.name, self.relational, self.messages, self.hot)
        self.view.number = dc.number
        self.view.dcs = frozenset(self.settings.names)
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=SYS_CONNECTIONS_MAX))
        self._closers.append(session.close)
        self.auth = InternalAuth(
            self._sys_key,
            dc.name,
            self.clocks.trusted,
            entropy,
            steady_ms=steady_clock_ms,
            shown_ms=wall_clock_ms,
        )
        links = {name: HttpLink(session, name, peer.sys_url, self.auth) for name, peer in self.settings.peers.items()}
        archive = Archive(self.objects)
        incarnation = await self._incarnation(links, archive)
        tops = await self.log.tops()
        self.lane = choose_lane(dc.number, incarnation, tops, self.clock.can_follow)
        self._left = {lane: top.seq for lane, top in tops.items() if self._could_be_ours(lane)}
        self.past = LogWithPast(self.log, Archive(self.objects))
        self.applier = Applier(
            event_log=self.past,
            relational=self.relational,
            messages=self.messages,
            hot=self.hot,
            view=self.view,
            actions=actions,
            codec=codec(),
            clock=self.clock,
            now_ms=wall_clock_ms,
            own_lanes={self.lane},
            heard=lambda owner: self.hub.hears(owner),
        )
        self._owner = entropy(8)
        self.writer = LaneWriter(
            self.log,
            self.lane,
            self._owner,
            self.clock,
            self._signer,
            self.applier.apply,
            now=wall_clock_ms,
            process=f"{dc.name} {socket.gethostname()}",
            on_lost=self._fail,
        )
        places = json.loads(await self.relational.meta(ANCHORS) or "{}")
        anchors = {int(lane): Place(**place).top() for lane, place in places.items()}
        self.archiver = Archiver(self.log, self.objects, anchors=anchors)
        progress = self.applier.progress
        verifier = Verifier(self.settings.public_keys() | {dc.number: self._signer.public})
        own = f"http://{self.settings.sys.host}:{self.settings.sys.port}"
        self.replicator = Replicator(
            dc=dc.name,
            dcs={name: number for number, name in self.settings.names.items()},
            links=links,
            target=HttpLink(session, dc.name, own, self.auth),
            event_log=self.log,
            past=self.past,
            verifier=verifier,
            live=lambda: frozenset({self.lane, *self._left}),
            held=lambda: held_down(progress.parked, ()),
            applied=lambda: {lane: mark.seq for lane, mark in progress.applied.items()},
            archive=archive,
            on_own_lane_conflict=self._own_lane_conflict,
            clocks=self.clocks,
            entropy=entropy,
        )
        self.watch = ClockWatch(self.clocks, self.clock, self.replicator.names, self.applier.far_ahead, period_s=TICK_S)
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
        )
        self._build_public(actions)
        self._build_sys(actions, verifier, incarnation)

    def _build_public(self, actions: dict[str, type[Action]]) -> None:
        deps = PublicDeps(
            dc=self.settings.dc.name,
            key=self._token_key,
            actions=actions,
            lane_writer=self.writer,
            view=self.view,
            hot=self.hot,
            progress=self.applier.progress,
            clock=self.clock,
            epoch=lambda: self.applier.epoch,
            remote=RemoteDurability(self.replicator.board),
            wall=wall_clock_ms,
            entropy=entropy,
            checks=self.serving.checks,
            others=[Other(*one) for one in stream_described()],
            proxies=frozenset(map(str, self.settings.public.proxies)),
        )
        self.public = create_public_app(deps)
        parts = self.public[PARTS]

        async def verify(token: str) -> tuple[str, str]:
            caller = await parts.tokens.authenticate(token)
            return caller.user, caller.session

        hub = self.hub = add_stream(
            self.public,
            BrokerDeps(
                hot=self.hot,
                view=self.view,
                verify_token=verify,
                open_cursor=lambda user, cursor: parts.cursors.open(cursor, user).position(),
                entropy=entropy,
                clock=wall_clock_ms,
                connections_max=self.room.streams,
            ),
        )
        for name in hub.metrics():
            parts.metrics.gauge(f"planb_stream_{name}", "Websockets: see docs/websocket.md.", _reader(hub, name))
        self.public.middlewares.append(self.serving.gate)

    def _build_sys(self, actions: dict[str, type[Action]], verifier: Verifier, incarnation: int) -> None:
        parts = self.public[PARTS]
        progress = self.applier.progress
        clock = ClockHeader(self._token_key, self.clock, wall_clock_ms, progress)
        calls = SysCalls(parts.tokens, parts.cursors, clock, progress)
        self.sys_metrics = self._log_metrics()
        self.sys = create_sys_app(
            SysDeps(
                metrics=self.sys_metrics,
                auth=self.auth,
                replicator=self.replicator,
                replay=Replay(
                    names=self.replicator.names,
                    event_log=self.past,
                    verifier=verifier,
                    applier=self.applier,
                    codec=codec(),
                    live=self.replicator.live,
                    store=self.replicator.intake.take,
                ),
                status=Status(
                    dc=self.settings.dc.name,
                    incarnation=incarnation,
                    epoch=lambda: self.applier.epoch,
                    progress=progress,
                    replicator=self.replicator,
                    figures=Figures(
                        log_first=lambda: self.trimmer.first,
                        queues=lambda: {"lane": self.writer.pending, "apply": self.applier.queued},
                        stores=lambda: {
                            "stores": "applying fails" if self.writer.stumbling else "ok",
                            "archive": "; ".join(
                                f"{self.replicator.names.lane(lane)}: {trouble.detail}"
                                for lane, trouble in self.archiver.troubles.items()
                            )
                            or "ok",
                        },
                        clock=self.watch.shown,
                        counters=lambda: {
                            "events": self.applier.applied_events,
                            "lost_writes": self.applier.lost_writes,
                        },
                    ),
                    now_ms=wall_clock_ms,
                ),
                applier=self.applier,
                relational=self.relational,
                writes=SysWriteRoutes(parts.writes, calls, parts.cursors, clock, parts.tokens),
                actions=actions,
                digest=self._digest,
                entropy=entropy,
                now_ms=wall_clock_ms,
                checks=self.serving.checks,
            )
        )

    def _log_metrics(self) -> Metrics:
        metrics = Metrics()
        trimmer, replicator = self.trimmer, self.replicator
        metrics.gauge("planb_log_records", "Records in the log, in memory.", lambda: trimmer.records)
        metrics.gauge("planb_log_trimmed_records", "Records that left the log.", lambda: trimmer.trimmed)
        metrics.gauge("planb_log_archive_reads_records", "Trimmed records that were read.", lambda: self.past.served)
        metrics.gauge("planb_conflict_rows_forgotten", "Of those that are old.", lambda: self.collector.collected)
        metrics.gauge("planb_bound_behind_records", "Beyond the collection bound.", replicator.beyond_bound)
        return metrics

    async def _digest(self) -> dict[str, Any]:
        await self.messages.flush()
        return (await digest(self.relational, self.messages)).shown()

    async def _incarnation(self, links: dict[str, HttpLink], archive: Archive) -> int:
        """The incarnation to write as. A restore, or a start that did not come as far as the lane, reserved one
        (META_NAME); what was opened is kept apart, so that a reserved one is used once and an opened one is only
        opened again if the log surely has its end."""
        number = self.settings.dc.number
        reserved = await self.relational.meta(META_NAME)
        opened = await self.relational.meta(OPENED)
        sources: dict[str, Knows] = {name: PeerTops(link) for name, link in links.items()}
        others = list((await ask({**sources, "archive": archive}, ASK_S_MAX)).values())
        frontiers = [await store.frontier() for store in (self.relational, self.messages)]
        # Last: another process of ours may be at work still, and what the others know of it is in the log before.
        own = await self.log.tops()
        others += [applied_ends(own, frontier) for frontier in frontiers]
        used = {Lane.of(lane).incarnation for tops in (own, *others) for lane in tops if Lane.of(lane).dc == number}
        if reserved is not None and reserved != opened and int(reserved) not in used:
            chosen = int(reserved)
        else:
            choice = choose_incarnation(number, opened, own, others)
            log.info("incarnation %d: %s", choice.incarnation, choice.reason)
            chosen = choice.incarnation
        if chosen > limits.INCARNATION_MAX:  # one more would be a lane of the next DC's number
            raise ConfigError(f"datacenter number {number} has used up its incarnations: it needs a new number")
        await self.relational.set_meta(META_NAME, str(chosen))
        return chosen

    async def _lane_taken(self, top: Top) -> None:
        """The log answers, and nothing is appended yet: from here on the incarnation counts as used."""
        await self.relational.set_meta(OPENED, str(Lane.of(self.lane).incarnation))
        await self.applier.catch_up(top)
        for lane in self._left:  # whoever writes there is fenced as on our own
            end = await self.log.open(lane, self._owner)
            await self.applier.catch_up(end)
            self._left[lane] = end.seq

    def _could_be_ours(self, lane: int) -> bool:
        """Another lane of the incarnation that we write as."""
        return lane != self.lane and Lane.of(lane)[:2] == Lane.of(self.lane)[:2]

    # -- running

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("%s broke", task.get_name(), exc_info=error)
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.serving.ends(str(error))
        if not self._failed.done():
            self._failed.set_result(error)

    async def _own_lane_conflict(self, lane: int, reason: str) -> None:
        """Somebody knows our lane better than our log: never write on it; the next start takes a new incarnation."""
        opened = await self.relational.meta(OPENED) or "0"
        await self.relational.set_meta(META_NAME, str(int(opened) + 1))
        self._fail(LaneLost(f"{self.replicator.names.lane(lane)}: {reason}"))

    def _check_lane(self) -> None:
        """A lane that grows while we write nothing is written by another process: ours would serve what is old."""
        top = self.replicator.growth.tops.get(self.lane)
        if top is not None and top.seq > self.writer.top.seq and not self.writer.pending:
            self._fail(LaneLost(private=f"the log holds seq {top.seq}, we wrote {self.writer.top.seq}"))
        for lane, seq in self._left.items():
            if (end := self.replicator.growth.tops.get(lane)) is not None and end.seq > seq:
                self._fail(LaneLost(private=f"lane {lane} holds seq {end.seq}, we left it at {seq}"))

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

    async def _runner(self, app: web.Application) -> web.AppRunner:
        runner = await runner_of(app)
        self._closers.append(runner.cleanup)
        return runner


def _reader(hub: Hub, name: str) -> Callable[[], float]:
    return lambda: hub.metrics()[name]
