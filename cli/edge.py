"""`planb serve api` and `planb serve broker`: processes that clients talk to, beside the one that applies.

Both read the stores through a view that keeps rows by the word of that process (api/line.py), and none of them writes a
row. An api process appends to a lane of its own, and answers when it was told that the lane is applied so far.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from api.app import PublicDeps
from api.door import Door
from api.files import Files
from api.internal_auth import InternalAuth
from api.line import SysLine
from api.metrics import Metrics
from cli import event_log, hot_state, objects, public_side, stores
from cli.edge_serving import EdgeServing
from cli.line_clock import LineClock
from cli.listeners import SHUTDOWN_S_MAX, open_front
from cli.process import Process
from cli.public_side import Built
from cli.settings import Listen, Settings
from cli.writer_lane import lease_lane
from core import limits
from core.action import registry
from core.clock import HybridClock
from core.errors import ClockRefused, ConfigError, LeaseLost, StoreUnavailable
from core.system import entropy, steady_clock_ms, wall_clock_ms
from events.lane_writer import LaneWriter
from events.record import Entry
from replicator.link import HttpLink, open_session
from replicator.names import DcNames
from stores.read_elsewhere import ReadElsewhere
from stores.tidings import Mirror, Pulse
from stores.view import StoreView

log = logging.getLogger(__name__)

TICK_S = 1.0


class Edge(Process):
    """What both have."""

    serving: EdgeServing
    writer: LaneWriter | None = None
    drain_s: float = 0.0
    """How long its clients' connections may take to come to an end."""

    def __init__(self, settings: Settings, where: Listen) -> None:
        """`where`: clients reach it."""
        super().__init__(settings, f"http://{where.host}:{where.port}")
        self.where = where
        self.metrics = Metrics()

    async def _start(self) -> None:
        self._closers.append(self.membership.leave)
        await self.membership.join_beside()
        await self._open_stores()
        await self._open_line()
        await self._open_lane()
        self.serving = EdgeServing(self.line, self.hot, self.clock, self.membership.refusal, self.writer)
        built = self._build()
        runner = await self._runner(built.app)
        door = Door(self.room.public, self.metrics)
        front = await open_front(
            runner, self.where, door, self.serving.serves, wall_clock_ms, built.guard, built.plain, shared=True
        )
        self._closers.append(lambda: front.close(SHUTDOWN_S_MAX))
        self._closers.append(lambda: front.drain(self.drain_s))
        self._spawn("tick", self._tick())
        await self.membership.serves()

    async def _open_stores(self) -> None:
        """They are there: the process that applies made them."""
        session = self._session = open_session()
        self._closers.append(session.close)
        self.clocks = LineClock(wall_clock_ms)
        self.clock = HybridClock(self.clocks.trusted, self.clocks.doubt)
        auth = self._auth = InternalAuth(
            self._sys_key, self.settings.dc.name, self.clocks.trusted, entropy, steady_ms=steady_clock_ms
        )
        relational = await stores.relational(self.settings)
        self._closers.append(relational.close)
        messages = await stores.messages(self.settings)
        self._closers.append(messages.close)
        self.hot = hot_state.opened(self.settings)
        self._closers.append(self.hot.close)

        async def written() -> None:
            await self.line.written()

        dc = self.settings.dc
        read = ReadElsewhere(messages, lambda: self.mirror.moves, written)
        self.view = StoreView(dc.name, relational, read, self.hot)
        self.mirror = Mirror(self.view, self.clock)
        self.view.number = dc.number
        self.view.dcs = frozenset(self.settings.names)
        self.line = SysLine(
            self.role,
            dc.name,
            session,
            auth,
            self._sys_key,
            lambda: self.membership.sys_url,
            self.mirror,
            entropy,
        )
        self.line.heard_pulse = self._heard_pulse

    async def _open_line(self) -> None:
        """It has to outlive the lane, which is closed when all of it is applied."""
        task = self._watched("line", self.line.run())

        async def close() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._closers.append(close)
        await self.line.up()
        await self._compare_clocks()

    async def _compare_clocks(self) -> None:
        """StoreUnavailable."""
        before_ms = wall_clock_ms()
        there_ms = await self.line.clock()
        self.clocks.note(before_ms, there_ms, wall_clock_ms())

    async def _open_lane(self) -> None:
        """Only a process that writes has one."""

    def _build(self) -> Built:
        raise NotImplementedError

    def _heard_pulse(self, pulse: Pulse) -> None:
        self.clocks.told = pulse.doubt

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)  # a period, not a condition
            self._look()
            with contextlib.suppress(StoreUnavailable):  # which readyz shows
                await self._compare_clocks()

    def _look(self) -> None:
        self.serving.look()


class ApiProcess(Edge):
    """REST, on the public port, which several processes may share."""

    role = "api"
    drain_s = limits.DRAIN_S_MAX
    writer: LaneWriter
    _incarnation = -1

    async def _open_files(self) -> None:
        """Whoever runs the datacenter has made the place of the objects."""
        store, close = await objects.opened(self.settings, create=False)
        self._closers.append(close)
        links = {
            name: HttpLink(self._session, name, peer.sys_url, self._auth) for name, peer in self.settings.peers.items()
        }
        self._files = Files(store, links, self.settings.names)

    async def _open_lane(self) -> None:
        await self._open_files()
        dc = self.settings.dc
        own_log = await event_log.opened(self.settings)
        self._closers.append(own_log.close)
        assert self.line.pulse is not None, "the line is up"
        self._incarnation = self.line.pulse.incarnation
        lane, _ = await lease_lane(
            dc.number, self._incarnation, await own_log.tops(), self.clock.can_follow, self.membership.take_worker
        )
        self.writer = self._lane_writer(own_log, lane, entropy(8), self._apply)
        await self.writer.start(lambda top: self.line.apply(lane, top.seq, ()))
        self._closers.append(self.writer.close)
        self.metrics.stage("log", self.writer.append_times)
        log.info("writes on lane %s", DcNames({dc.name: dc.number}).lane(lane))

    async def _apply(self, entries: Sequence[Entry]) -> None:
        last = entries[-1]
        await self.line.apply(last.lane, last.seq, self.writer.unapplied(last.seq))

    def _build(self) -> Built:
        deps = PublicDeps(
            dc=self.settings.dc.name,
            key=self._token_key,
            token_keys=self._token_keys,
            token_rules=public_side.token_rules(self.settings),
            actions=registry(),
            lane_writer=self.writer,
            view=self.view,
            hot=self.hot,
            files=self._files,
            progress=self.mirror.progress,
            clock=self.clock,
            epoch=lambda: self.view.epoch,
            remote=self.line,
            wall=wall_clock_ms,
            entropy=entropy,
            checks=self.serving.checks,
            metrics=self.metrics,
            rates=public_side.rates(self.settings),
            proxies=frozenset(map(str, self.settings.public.proxies)),
            cors_origins=frozenset(self.settings.public.cors_origins),
        )
        return public_side.build_api(deps, gate=self.serving.gate)

    def _heard_pulse(self, pulse: Pulse) -> None:
        super()._heard_pulse(pulse)
        if self._incarnation not in (-1, pulse.incarnation):
            self._fail(LeaseLost(f"this datacenter writes as incarnation {pulse.incarnation} now"))

    def _look(self) -> None:
        super()._look()
        ahead_ms = self.clock.ahead_ms()
        if ahead_ms > limits.LANE_AHEAD_MS_MAX and not self.clocks.doubt():
            self._fail(ClockRefused(f"the lane ends {ahead_ms} ms ahead of this machine's clock: another one is begun"))


class BrokerProcess(Edge):
    """Websockets, on a port of their own."""

    role = "broker"

    def _build(self) -> Built:
        return public_side.build_broker(
            key=self._token_key,
            token_keys=self._token_keys,
            token_rules=public_side.token_rules(self.settings),
            view=self.view,
            hot=self.hot,
            listen=self.line.listen,
            checks=self.serving.checks,
            gate=self.serving.gate,
            metrics=self.metrics,
            streams_max=self.room.streams,
            entropy=entropy,
            wall=wall_clock_ms,
            cors_origins=self.settings.public.cors_origins,
        )


def api(settings: Settings, port: int | None) -> Process:
    """`port`: instead of that of the settings."""
    public = settings.public
    return ApiProcess(settings, Listen(host=public.host, port=port or public.port))


def broker(settings: Settings, port: int | None) -> Process:
    """As `api`. ConfigError where neither says on which port."""
    chosen = port or settings.broker.port
    if chosen is None:
        raise ConfigError("planb serve broker needs a port of its own: broker.port in the settings, or --port")
    return BrokerProcess(settings, Listen(host=settings.broker.host, port=chosen))
