"""Whole DCs of replication in one process: real HTTP on loopback between them, links that can be cut, stores that can
fail, logs and stores that survive a restart."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from aiohttp import web
from msgspec.structs import replace

from api.calls import Calls
from api.clock_header import ClockHeader
from api.cursors import Cursors
from api.files import Files
from api.internal_auth import InternalAuth
from api.replay import Replay
from api.sys_app import SysDeps, create_sys_app
from api.sys_status import Figures, Status
from api.sys_writes import SysCalls, SysWriteRoutes
from api.token_keys import TokenKeys, derived
from api.tokens import Tokens
from api.writes import Writes
from core.clock_error import ClockError
from core.errors import StoreUnavailable
from core.system import entropy, steady_clock_ms, wall_clock_ms
from events.adapters.memory import MemoryLog
from events.codec import codec
from events.lane_writer import LaneWriter
from events.record import Record
from events.signing import Signer, Verifier
from replicator.bound import held_down
from replicator.link import HttpLink
from replicator.remote import RemoteDurability
from replicator.service import Replicator
from snapshot.archive import Archive
from snapshot.archiver import Archiver
from snapshot.past import LogWithPast
from snapshot.trimmer import Trimmer
from stores.adapters.memory_objects import MemoryObjects
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.at_hand import at_hand
from stores.digest import digest
from tests.support.dc import ACTIONS, OneDc
from tests.support.valkey import free_port

KEY = b"the key of the internal listener"
NUMBERS = {"fra": 1, "ams": 2, "nyc": 3}
SEEDS = {name: bytes([number]) * 32 for name, number in NUMBERS.items()}
TIMEOUT_S = 15.0


def verifier() -> Verifier:
    return Verifier({NUMBERS[name]: Signer(seed).public for name, seed in SEEDS.items()})


async def until(done: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Waits for a condition."""
    async with asyncio.timeout(timeout_s):
        while not done():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.002)


class CuttingConnector(aiohttp.TCPConnector):
    """Refuses connections to ports that are cut, and aborts those that are open."""

    def __init__(self) -> None:
        super().__init__(limit=64, limit_per_host=8)
        self.cut_off: set[int] = set()
        self._made: list[tuple[int, Any]] = []

    def cut(self, port: int) -> None:
        self.cut_off.add(port)
        for to, connection in self._made:
            if to == port and connection.transport is not None:
                connection.transport.abort()
        self._made = []

    def mend(self, port: int) -> None:
        self.cut_off.discard(port)

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        if req.url.port in self.cut_off:
            raise aiohttp.ClientConnectionError("the link is cut")
        connection = await super().connect(req, traces, timeout)
        if req.url.port in self.cut_off:  # while it was being opened
            connection.close()
            raise aiohttp.ClientConnectionError("the link is cut")
        self._made = [item for item in self._made if item[1].transport is not None]
        self._made.append((req.url.port, connection))
        return connection


class FailingRelational(MemoryRelationalStore):
    """Fails while told to."""

    failing = False

    async def apply(self, batch: Any) -> None:
        if self.failing:
            raise StoreUnavailable("the disk is full")
        await super().apply(batch)


class Disks:
    """What of a DC survives a restart. `log`: another one than in memory."""

    def __init__(self, log: Any = None) -> None:
        self.log = log or MemoryLog()
        self.relational = FailingRelational(clock=wall_clock_ms)
        self.objects = MemoryObjects()


class ReplicatedDc:
    """One DC with its internal listener and its replicator, running."""

    def __init__(
        self,
        name: str,
        disks: Disks | None = None,
        *,
        incarnation: int = 0,
    ) -> None:
        self.name = name
        self.number = NUMBERS[name]
        self.disks = disks or Disks()
        self.log = self.disks.log
        self.past = LogWithPast(self.log, Archive(self.disks.objects))
        self.one = OneDc(
            name,
            self.number,
            log=self.log,
            relational=self.disks.relational,
            incarnation=incarnation,
            past=self.past,
        )
        self.one.writer = LaneWriter(
            self.log,
            self.one.lane,
            entropy(8),
            self.one.clock,
            Signer(SEEDS[name]),
            self.one.applier.apply,
            now=wall_clock_ms,
        )
        self.codec = codec()
        self.connector = CuttingConnector()
        self.session = aiohttp.ClientSession(connector=self.connector)
        self.auth = InternalAuth(KEY, name, wall_clock_ms)
        self.archive: Any = None
        self.objects = MemoryObjects()
        self.wrap_link: Callable[[HttpLink], Any] = lambda link: link
        self.conflicts: list[tuple[int, str]] = []
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def lane(self) -> int:
        return self.one.lane

    @property
    def progress(self) -> Any:
        return self.one.applier.progress

    def applied(self) -> dict[int, int]:
        return {lane: mark.seq for lane, mark in self.progress.applied.items()}

    async def listen(self) -> None:
        """Takes a port; nobody is there yet."""
        self.port = free_port()

    async def start(self, peers: Mapping[str, int]) -> None:
        """Everything: stores, lane, listener, replicator. `peers`: name -> port."""
        self.one.view.dcs = frozenset({self.number, *(NUMBERS[name] for name in peers)})
        await self.one.applier.start()
        self.links = {
            name: self.wrap_link(HttpLink(self.session, name, f"http://127.0.0.1:{port}", self.auth))
            for name, port in peers.items()
        }
        live = frozenset({self.lane})
        self.replicator = Replicator(
            dc=self.name,
            dcs=NUMBERS,
            links=self.links,
            target=HttpLink(self.session, self.name, f"http://127.0.0.1:{self.port}", self.auth),
            event_log=self.log,
            past=self.past,
            verifier=verifier(),
            live=lambda: live,
            held=lambda: held_down(self.progress.parked, ()),
            applied=self.applied,
            archive=self.archive,
            on_own_lane_conflict=self._conflict,
            clocks=ClockError(wall_clock_ms, steady_clock_ms),
            entropy=random.Random(self.number).randbytes,
        )
        self.remote = RemoteDurability(self.replicator.board)
        self.files = Files(self.objects, self.links, {number: name for name, number in NUMBERS.items()})
        self._runner = web.AppRunner(self._app(), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        await self.one.writer.start(self.one.applier.catch_up)
        self._task = asyncio.create_task(self.replicator.run(), name=f"replicator {self.name}")

    def _app(self) -> web.Application:
        tokens = Tokens(TokenKeys([derived(KEY)]), self.one.view, wall_clock_ms, entropy)
        cursors = Cursors(KEY)
        clock = ClockHeader(KEY, self.one.clock, wall_clock_ms, self.progress)
        self.writes = writes = Writes(
            dc=self.name,
            lane_writer=self.one.writer,
            view=self.one.view,
            at_hand=at_hand(self.one.view),
            results=self.one.hot,
            stored=self.one.view,
            progress=self.progress,
            remote=self.remote,
            wall=wall_clock_ms,
            entropy=entropy,
            secret=KEY,
        )
        calls: Calls = SysCalls(tokens, cursors, clock, self.progress)
        self.replay = Replay(
            names=self.replicator.names,
            event_log=self.past,
            verifier=verifier(),
            applier=self.one.applier,
            codec=self.codec,
            live=self.replicator.live,
            store=self.replicator.intake.take,
        )

        async def digest_now() -> Mapping[str, Any]:
            return (await digest(self.disks.relational, self.one.messages)).shown()

        return create_sys_app(
            SysDeps(
                auth=self.auth,
                replicator=self.replicator,
                replay=self.replay,
                status=Status(
                    dc=self.name,
                    incarnation=0,
                    epoch=lambda: self.one.applier.epoch,
                    progress=self.progress,
                    replicator=self.replicator,
                    figures=Figures(),
                    now_ms=wall_clock_ms,
                ),
                applier=self.one.applier,
                relational=self.disks.relational,
                view=self.one.view,
                files=self.files,
                writes=SysWriteRoutes(writes, calls, cursors, clock, tokens),
                actions=ACTIONS,
                digest=digest_now,
                entropy=entropy,
                now_ms=wall_clock_ms,
            )
        )

    async def seal_and_trim(self, kept: int, refed: int) -> int:
        """Archives everything and trims the log as far as it may be; how many records went."""
        await self.one.applier.tick()
        archiver = Archiver(self.log, self.disks.objects)
        await archiver.seal()
        trimmer = Trimmer(
            self.log,
            archived=archiver.tops,
            stored=self.one.applier.stored,
            bound=self.replicator.bound,
            kept=kept,
            refed=refed,
            step=1,
        )
        return await trimmer.trim()

    async def _conflict(self, lane: int, reason: str) -> None:
        self.conflicts.append((lane, reason))

    async def stop(self) -> None:
        """Stops everything; the disks stay."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._runner is not None:
            await self._runner.cleanup()
        await self.one.stop()
        await self.session.close()

    async def reached(self, frontier: Mapping[int, int], timeout_s: float = TIMEOUT_S) -> None:
        """Waits until all of it is applied here."""
        async with asyncio.timeout(timeout_s):
            while not self.progress.reached(frontier):
                await self.progress.moved()

    async def total(self) -> str:
        return (await digest(self.disks.relational, self.one.messages)).total

    async def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """A signed call to this DC's own internal listener."""
        signed = self.auth.sign(self.name, method, path, body, headers)
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(method, url, data=body or None, headers=signed) as response:
            return response.status, await response.read()


class World:
    """Several DCs that know each other; `async with` starts and stops them."""

    def __init__(self, *names: str, disks: Mapping[str, Disks] | None = None) -> None:
        self.dcs = {name: ReplicatedDc(name, (disks or {}).get(name)) for name in names}

    def __getitem__(self, name: str) -> ReplicatedDc:
        return self.dcs[name]

    async def __aenter__(self) -> "World":
        for dc in self.dcs.values():
            await dc.listen()
        for dc in self.dcs.values():
            await dc.start(self.peers_of(dc.name))
        return self

    async def __aexit__(self, *_: object) -> None:
        for dc in self.dcs.values():
            await dc.stop()

    def peers_of(self, name: str) -> dict[str, int]:
        return {other.name: other.port for other in self.dcs.values() if other.name != name}

    def cut(self, a: str, b: str) -> None:
        """Both directions."""
        self[a].connector.cut(self[b].port)
        self[b].connector.cut(self[a].port)

    def mend(self, a: str, b: str) -> None:
        self[a].connector.mend(self[b].port)
        self[b].connector.mend(self[a].port)

    async def restart(
        self,
        name: str,
        *,
        while_down: Callable[[], None] = lambda: None,
        disks: Disks | None = None,
        archive: Any = None,
        incarnation: int = 0,
    ) -> ReplicatedDc:
        """Stops a DC and starts it again on its disks, or on `disks`; what was only in memory is gone."""
        old = self[name]
        await old.stop()
        while_down()
        new = ReplicatedDc(name, disks or old.disks, incarnation=incarnation)
        new.port = old.port
        new.archive = archive
        new.wrap_link = old.wrap_link
        new.connector.cut_off.update(old.connector.cut_off)
        self.dcs[name] = new
        await new.start(self.peers_of(name))
        return new

    async def settled(self) -> None:
        """Waits until every DC has applied everything that any of them holds."""
        frontier: dict[int, int] = {}
        for dc in self.dcs.values():
            for lane, top in (await dc.log.tops()).items():
                frontier[lane] = max(top.seq, frontier.get(lane, 0))
        for dc in self.dcs.values():
            await dc.reached(frontier)

    async def totals(self) -> set[str]:
        """The digests: one if all are equal."""
        return {await dc.total() for dc in self.dcs.values()}


def forged(records: list[Record], seed: bytes) -> list[Record]:
    """The same records, the last one signed by another key."""
    last = replace(records[-1], signature=Signer(seed).sign(records[-1].hash))
    return [*records[:-1], last]
