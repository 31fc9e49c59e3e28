"""A datacenter: the composition root of production (cli/datacenter.py) on simulated disks and wires, and whoever
restarts it, upgrades it and rebuilds it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiohttp import web

from api.internal_auth import InternalAuth
from cli.datacenter import Datacenter
from cli.settings import Rates
from core.errors import Conflict, NotFound, PlanBError
from events.signing import Signer
from replicator.bootstrap import ask
from replicator.link import HttpLink
from replicator.repair import PeerTops
from snapshot import dump, target
from snapshot import restore as restoring
from snapshot.archive import Archive
from snapshot.manifest import Manifest, Site
from tests.simulation.disks import Disks
from tests.simulation.loop import PROCESS, Process
from tests.simulation.network import Session
from tests.simulation.stores import Clients

NAMES = ("fra", "ams", "nyc", "sgp", "gru")
PUBLIC, SYS = 1, 2
TOKEN_KEY = b"the key of tokens, cursors, clocks"
SYS_KEY = b"the key of the internal listener.."
WORLD_ID = "simulated"


def signing_key(number: int) -> bytes:
    return bytes([number + 1]) * 32


def settings_of(name: str, numbers: dict[str, int]) -> Any:
    """What cli.settings.Settings would hold; secrets stand in place of their files."""
    peers = {
        other: SimpleNamespace(number=number, sys_url=f"http://{other}:{SYS}")
        for other, number in numbers.items()
        if other != name
    }
    return SimpleNamespace(
        dc=SimpleNamespace(name=name, number=numbers[name]),
        public=SimpleNamespace(
            host=name,
            port=PUBLIC,
            proxies=(),
            cors_origins=(),
            rates=Rates(),
            access_token_s=2_592_000,
            token_issuer="planb",
        ),
        sys=SimpleNamespace(host=name, port=SYS),
        secrets=SimpleNamespace(
            token_key_file=TOKEN_KEY,
            jwt_keys_file=None,
            sys_key_file=SYS_KEY,
            signing_key_file=signing_key(numbers[name]),
        ),
        stores=SimpleNamespace(data_dir=Path("simulated"), objects_dir=Path("simulated"), on_pulsar=False),
        series=SimpleNamespace(enabled=False),  # nothing that others see comes of it
        peers=peers,
        names={number: other for other, number in numbers.items()},
        public_keys=lambda: {peer.number: Signer(signing_key(peer.number)).public for peer in peers.values()},
    )


class Unleased:
    """Membership where nobody asks whether he may."""

    def refusal(self) -> str:
        return ""

    async def take_worker(self, number: int) -> bool:
        return True

    async def serves(self) -> None:
        pass

    async def drains(self) -> None:
        pass

    def shown(self) -> dict[str, Any]:
        return {}


class SimDatacenter(Datacenter):
    """Production, but for where it opens stores and listens."""

    def __init__(self, settings: Any, place: "Home", process: Process) -> None:
        super().__init__(settings)
        self._home = place
        self._process = process

    def _member(self, public_url: str) -> Any:
        return Unleased()

    async def _join(self) -> None:
        """Histories have two processes of a datacenter at once: no lease keeps them apart, the log's fence does."""

    async def _refuse_lost_objects(self) -> None:
        """There is no folder that could be lost."""

    async def _open_stores(self) -> None:
        clients = Clients(self._home.disks, self._process, self._home.trouble, self._home.world.loop)
        self.objects: Any = clients.objects
        self.relational: Any = clients.relational
        self.messages: Any = clients.messages
        self.hot: Any = clients.hot
        self.log: Any = clients.log
        unfinished = await target.unfinished(self.relational)
        if unfinished is not None:
            raise Conflict(f"a restore of {unfinished} did not finish")
        self._closers.append(self.messages.close)

    async def _listen(self, app: web.Application, where: Any) -> None:
        app.freeze()
        await app.startup()
        self._closers.append(app.cleanup)
        self._closers.append(app.shutdown)
        self._home.world.network.listen(where.host, where.port, self._process, app)

    async def _listen_public(self) -> None:
        """The socket in front of the framework is left out: what it does not take, the framework answers alike."""
        await self._listen(self.public, self.settings.public)

    async def stop(self) -> None:
        self._home.world.network.unlisten(self._process)
        await super().stop()


class Home:
    """Where a datacenter lives: its host with a clock, its disks, the process that runs now."""

    def __init__(self, world: Any, name: str, numbers: dict[str, int]) -> None:
        self.world = world
        self.name = name
        self.number = numbers[name]
        self.learn(numbers)
        self.disks: Disks
        self.trouble: Any
        self.knows_new = True
        """Does the version that runs here know every action?"""
        self.process: Process | None = None
        self.dc: SimDatacenter | None = None
        self.down = False
        """Nobody restarts it at present."""
        self.starts = 0
        self.burns = 0
        self.serve_after: dict[int, int] = {}
        """F1 of the snapshot that was restored last, until it is applied."""

    def learn(self, numbers: dict[str, int]) -> None:
        """The settings for the next start: which datacenters there are."""
        self.numbers = numbers
        self.settings = settings_of(self.name, numbers)

    @property
    def up(self) -> bool:
        """Is it serving, as far as anybody outside can tell?"""
        process, dc = self.process, self.dc
        return bool(process and dc and not process.dead and not process.frozen and hasattr(dc, "serving"))

    @property
    def serving(self) -> bool:
        if not self.up or self.dc is None:
            return False
        gate = self.dc.serving
        return gate._open and self.dc.applier.progress.reached(gate._serve_after)

    def boot(self) -> None:
        """Starts a process as the service manager does; it is started again whenever it ends."""
        if self.down:
            return
        self.starts += 1
        process = Process(f"{self.name}.{self.starts}", f"{self.world.seed} {self.name} {self.starts}")
        self.process, self.dc = process, None
        process.knows_new = self.knows_new
        self.world.network.hosts[process] = self.name
        process.on_death.append(lambda: self._again(process))
        self.world.note("boot", process.name)
        self.world.loop.start(process, self._run(process), f"datacenter {process.name}")

    def _again(self, process: Process) -> None:
        """The service manager's pause."""
        if self.process is process and not self.down:
            self.world.loop.call_later(0.2 + self.world.random.random() * 2, self._reboot, process)

    def _reboot(self, process: Process) -> None:
        if self.process is process and not self.down:
            self.boot()

    async def _run(self, process: Process) -> None:
        dc: SimDatacenter | None = None
        reason: BaseException
        try:
            dc = self.dc = SimDatacenter(self.settings, self, process)
            await dc.start()
            self.world.note("serves", process.name, dc.lane)
            reason = await dc.failure()
        except PlanBError as error:
            reason = error
        except Exception as error:
            reason = error
        self.world.note("ends", process.name, type(reason).__name__)
        if not isinstance(reason, PlanBError):
            self.world.unexpected(f"{process.name} failed", reason)
        if dc is not None:
            await dc.stop()
        process.over = True
        self.world.loop.kill(process)

    def end(self) -> None:
        """SIGTERM, if it has come far enough to hear it; else it is killed."""
        if self.up and self.dc is not None:
            self.dc._fail(PlanBError("told to stop"))
        else:
            self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.world.loop.kill(self.process)

    def power_off(self) -> None:
        """Every process of the host is gone, those that were taken for dead too."""
        for process, host in list(self.world.network.hosts.items()):
            if host == self.name:
                self.world.loop.kill(process)

    # -- what operators do; each in a process of its own

    def operator(self, name: str) -> Process:
        self.starts += 1
        process = Process(f"{self.name} {name} {self.starts}", f"{self.world.seed} {self.name} {name} {self.starts}")
        self.world.network.hosts[process] = self.name
        return process

    async def take_snapshot(self) -> Manifest:
        """As `planb snapshot create`; runs in a process of its own."""
        clients = Clients(self.disks, PROCESS.get(), self.trouble, self.world.loop)
        meta = clients.relational.meta
        site = Site(
            WORLD_ID,
            self.name,
            self.number,
            int(await meta(restoring.INCARNATION) or 0),
            int(await meta(restoring.EPOCH) or 0),
        )
        return await dump.create(
            relational=clients.relational,
            messages=clients.messages,
            archive=Archive(clients.objects),
            objects=clients.objects,
            site=site,
            clock=self.world.wall_ms,
        )

    async def rebuild(self) -> str:
        """As `planb restore`, on empty disks; "" when there is no snapshot and the peers have to give everything."""
        clients = Clients(self.disks, PROCESS.get(), self.trouble, self.world.loop)
        session = Session(self.world.network)
        auth = InternalAuth(SYS_KEY, self.name, self.world.wall_ms)
        sources = {
            name: PeerTops(HttpLink(session, name, peer.sys_url, auth))  # type: ignore[arg-type]
            for name, peer in self.settings.peers.items()
        }
        peer_lanes = {lane for tops in (await ask(sources, 3.0)).values() for lane in tops}
        archive = Archive(clients.objects)
        try:
            planned = await restoring.plan(
                objects=clients.objects, archive=archive, number=self.number, peer_lanes=peer_lanes
            )
        except NotFound:
            return ""
        manifest = planned.snapshot
        wanted = {lane: place.seq for lane, place in manifest.f1.items()}
        await restoring.restore(
            planned.snapshot.id,
            relational=clients.relational,
            messages=clients.messages,
            log=clients.log,
            archive=archive,
            objects=clients.objects,
            number=self.number,
            clock=self.world.wall_ms,
            world=WORLD_ID,
            peer_lanes=peer_lanes,
        )
        self.serve_after = wanted
        return planned.snapshot.id
