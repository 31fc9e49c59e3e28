"""Several whole datacenters on this machine, for the demo and the tests: real processes, real servers, real sockets.

Each DC has two Valkeys, a process `planb serve all`, SQLite files and an object directory, or other servers in their
places (`engines.py`). All traffic between DCs goes through relays (`links.py`) that can be cut: what they pull, and
what their Pulsars replicate, where they have any.
"""

import asyncio
import base64
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import aiohttp

from cli import servers
from cli.engines import Engines, Provider
from cli.links import Link
from cli.planet_settings import tables_of
from cli.regions import Region
from cli.servers import Child
from cli.toml_text import toml_lines
from cli.waiting import until
from core.errors import Conflict, NotFound, PlanBError, Unavailable
from core.system import entropy
from events.signing import KEY_BYTES, Signer

READY_S_MAX = 60.0
READY_ON_ENGINES_S_MAX = 180.0
"""The first tables of a Cassandra take it seconds each where the machine is busy."""
PULL, FEED = "pull", "feed"
"""The ways by which records come, as the status counts them: pulling, and Pulsar's replication."""
WAYS = (PULL, FEED)


class Ports(NamedTuple):
    public: int
    sys: int
    log: int
    hot: int


class Site:
    """One DC: its folders, ports and child processes."""

    def __init__(self, name: str, number: int, home: Path, ports: Ports, provider: Provider | None = None) -> None:
        self.name = name
        self.number = number
        self.home = home
        self.ports = ports
        self.disks = home / "disks"
        """What burns: SQLite files and the Valkeys' data."""
        self.objects = home / "objects"
        """Object storage; survives."""
        self.engines: Engines | None = provider.engines(name, home, self.disks) if provider else None
        """What it stands on besides."""
        self.settings = home / "settings.toml"
        self.log = servers.valkey(f"{name} log", ports.log, self.disks / "log", home / "log.log", synced=True)
        self.hot = servers.valkey(f"{name} hot", ports.hot, self.disks / "hot", home / "hot.log", synced=False)
        command = [sys.executable, "-m", "cli.main", "serve", "all", "--config", str(self.settings)]
        self.wanted = False
        """Should run: what ends by itself is started again."""
        self._kills = 0
        self._ready_s_max = READY_ON_ENGINES_S_MAX if self.engines else READY_S_MAX
        self.replicates_to: tuple[str, ...] = ()
        """The datacenters whose Pulsars its own one brings its lanes to."""
        self.process = Child(f"{name} serve", command, home / "serve.log")

    @property
    def children(self) -> tuple[Child, ...]:
        return (*self._valkeys, *(self.engines.children if self.engines else ()), self.process)

    @property
    def _valkeys(self) -> dict[Child, int]:
        """With their ports."""
        found = {}
        if self.engines is None or not self.engines.log:
            found[self.log] = self.ports.log
        if self.engines is None or not self.engines.hot:
            found[self.hot] = self.ports.hot
        return found

    @property
    def has_snapshot(self) -> bool:
        """Whether object storage holds anything to restore from."""
        elsewhere = self.engines.has_snapshot if self.engines else None
        return any(self.objects.glob("snapshots/*")) if elsewhere is None else elsewhere

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports.public}"

    async def start(self) -> None:
        """Starts what does not run; returns when the servers listen (the DC may still be recovering). Conflict if it
        is killed meanwhile."""
        kills = self._kills
        await self.start_servers()
        if self._kills != kills:
            raise Conflict(f"{self.name} was killed while it started")
        if not self.process.running:
            self.process.start()
            await servers.listening(self.process, self.ports.public, self._ready_s_max)
        self.wanted = self._kills == kills

    async def start_servers(self) -> None:
        """All but its own process: what a restore needs."""
        for child, port in self._valkeys.items():
            if not child.running:
                (self.disks / child.name.split()[1]).mkdir(parents=True, exist_ok=True)
                child.start()
                await servers.listening(child, port)
        if self.engines:
            down = any(not child.running for child in self.engines.children)
            await self.engines.start()
            if down:  # it may have burnt, and all that its Pulsar knew
                for other in self.replicates_to:
                    await self.replicate(other)

    async def replicate(self, other: str) -> None:
        """`planb dc add`: its Pulsar brings its lanes to the other's."""
        await self._planb("dc", "add", other)

    async def revive(self) -> list[str]:
        """Starts again what ended by itself; what it was, with its last words, and whether it starts."""
        if not self.wanted:
            return []
        ended = [child.why_ended() for child in self.children if not child.running]
        if ended:
            try:
                await self.start()
                ended.append(f"{self.name} was started again")
            except PlanBError as error:
                ended.append(f"{self.name} does not start: {error.detail}")
        return ended

    async def snapshot(self) -> dict[str, Any]:
        """`planb snapshot create`; its answer. Raises Unavailable with what it said."""
        return await self._planb("snapshot", "create")

    async def restore(self) -> dict[str, Any]:
        """`planb restore` on empty disks; its answer. Raises Unavailable with what it said."""
        return await self._planb("restore")

    async def _planb(self, *words: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "cli.main", *words, "--config", str(self.settings), "--json"]
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            preexec_fn=servers.die_with(os.getpid()),
        )
        try:
            out, err = await process.communicate()
        except asyncio.CancelledError:  # nobody waits for it any more, and what it works on is about to end
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            raise Unavailable(f"planb {words[0]} ended with {process.returncode}: {err.decode().strip()}")
        answer: dict[str, Any] = json.loads(out)
        return answer

    async def ready(self, timeout_s: float | None = None) -> None:
        """Returns when /readyz says so; Unavailable with what is missing when it does not in time."""
        missing = "it does not answer"
        timeout_s = self._ready_s_max if timeout_s is None else timeout_s

        async def looks_ready() -> bool:
            nonlocal missing
            if not self.process.running:
                raise Unavailable(self.process.why_ended())
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(f"{self.url}/readyz") as answer:
                    missing = await answer.text()
                    return answer.status == 200
            return False

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            if not await until(looks_ready, timeout_s):
                raise Unavailable(f"{self.name} is not ready after {timeout_s:.0f} s: {missing}")

    def kill(self) -> None:
        """kill -9 of every process of the DC; object storage goes on."""
        self.wanted = False
        self._kills += 1
        self.process.kill()
        for child in self._valkeys:
            child.kill()
        if self.engines:
            self.engines.kill(objects=False)

    def burn(self) -> None:
        """Deletes the disks of a killed DC; object storage stays."""
        if any(child.running for child in self.children):
            raise Conflict(f"{self.name} is running: kill it first")
        if self.disks.exists():
            shutil.rmtree(self.disks)

    async def stop(self) -> None:
        self.wanted = False
        await self.process.stop()
        await asyncio.gather(*(child.stop() for child in self._valkeys))
        if self.engines:
            self.engines.kill(objects=True)


class Planet:
    """All DCs and the links between them."""

    def __init__(
        self,
        home: Path,
        names: tuple[str, ...],
        provider: Provider | None = None,
        public: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """`provider`: of what each DC stands on besides, where it is more than its own. `public`: settings of their
        public listeners besides the port."""
        self.home = home
        self._public_settings = public
        keys = home / "keys"
        keys.mkdir(parents=True, exist_ok=True)
        pairs = [(a, b) for a in names for b in names if a != b]
        ports = servers.free_ports(4 * len(names) + 3 * len(pairs))
        self.sites = {
            name: Site(name, number, home / name, Ports(*ports[4 * number - 4 : 4 * number]), provider)
            for number, name in enumerate(names, start=1)
        }
        self.links = {
            (a, b): Link(a, b, ports[4 * len(names) + place], self.sites[b].ports.sys)
            for place, (a, b) in enumerate(pairs)
        }
        more = iter(ports[4 * len(names) + len(pairs) :])
        self.pulsar_links = {(a, b): self._pulsar_links(a, b, more) for a, b in pairs}
        """Those of the brokers and of the administration; () where a datacenter has no Pulsar."""
        for shared in ("token", "sys"):
            _secret(keys / f"{shared}.key")
        self._public: dict[str, str] = {}
        for name in names:
            private = _secret(keys / f"{name}.signing.key")
            self._public[name] = base64.b64encode(Signer(private).public).decode()
        for site in self.sites.values():
            self._write_settings(site)

    @property
    def sys_key(self) -> bytes:
        return (self.home / "keys" / "sys.key").read_bytes()

    @property
    def regions(self) -> dict[str, Region]:
        """Where clients and operators reach each DC."""
        return {
            name: Region(site.number, site.url, f"http://127.0.0.1:{site.ports.sys}")
            for name, site in self.sites.items()
        }

    def site(self, name: str) -> Site:
        if name not in self.sites:
            raise NotFound(f"there is no datacenter {name}; there are {', '.join(self.sites)}")
        return self.sites[name]

    async def start(self) -> None:
        for link in self._all_links():
            await link.start()
        await asyncio.gather(*(site.start() for site in self.sites.values()))
        await asyncio.gather(*(site.ready() for site in self.sites.values()))

    async def stop(self) -> None:
        await asyncio.gather(*(site.stop() for site in self.sites.values()), return_exceptions=True)
        for site in self.sites.values():
            for child in site.children:
                if child.running:
                    child.kill()
        for link in self._all_links():
            await link.stop()

    def kill(self) -> None:
        """kill -9 of all that runs."""
        for site in self.sites.values():
            site.kill()
            if site.engines:
                site.engines.kill(objects=True)

    async def rebuild(self, name: str) -> dict[str, Any]:
        """A DC burns, if it has not yet, and comes back: restored from its object storage, then caught up from the
        others. Returns what the restore said, when the DC serves again. Conflict without a snapshot."""
        site = self.site(name)
        if not site.has_snapshot:
            raise Conflict(f"there is no snapshot of {name} yet; `start` brings it back from the others' lanes alone")
        site.kill()
        site.burn()
        await site.start_servers()
        restored = await site.restore()
        await site.start()
        await site.ready()
        await self.fed_again(name)
        del restored["next"]  # is done
        return restored

    async def fed_again(self, name: str) -> None:
        """The others' Pulsars bring their lanes to one that was empty, too."""
        for other in self.sites.values():
            if name in other.replicates_to and other.process.running:
                await other.replicate(name)

    def cut(self, a: str, b: str, ways: Collection[str] = WAYS) -> None:
        """Both directions, by all ways or some."""
        for link in self._between(a, b, ways):
            link.cut()

    def heal(self, a: str, b: str, ways: Collection[str] = WAYS) -> None:
        for link in self._between(a, b, ways):
            link.heal()

    def _between(self, a: str, b: str, ways: Collection[str]) -> list[Link]:
        self.site(a), self.site(b)
        if a == b:
            raise NotFound(f"{a} has no link to itself")
        pulling = [self.links[a, b], self.links[b, a]] if PULL in ways else []
        return pulling + ([*self.pulsar_links[a, b], *self.pulsar_links[b, a]] if FEED in ways else [])

    def _all_links(self) -> list[Link]:
        return [*self.links.values(), *(link for links in self.pulsar_links.values() for link in links)]

    def _pulsar_links(self, source: str, target: str, ports: Iterator[int]) -> tuple[Link, ...]:
        """By which the Pulsar of `source` reaches that of `target`, which gets to know of it."""
        here, there = self.sites[source].engines, self.sites[target].engines
        if not (here and here.pulsar and there and there.pulsar):
            return ()
        broker = Link(source, target, next(ports), there.pulsar.broker_port)
        there.reached_by({source: broker.port})
        self.sites[source].replicates_to += (target,)
        return broker, Link(source, target, next(ports), there.pulsar.admin_port)

    def _peer_pulsar(self, source: str, target: str) -> dict[str, Any]:
        """How it is reached from there, for `planb dc add`."""
        engines = self.sites[target].engines
        if not self.pulsar_links[source, target] or not engines or not engines.pulsar:
            return {}
        broker, admin = self.pulsar_links[source, target]
        reached = {
            "cluster": engines.pulsar.cluster,
            "broker_url": f"pulsar://127.0.0.1:{broker.port}",
            "admin_url": f"http://127.0.0.1:{admin.port}",
            "listener": source,
        }
        return {"pulsar": reached}

    def _write_settings(self, site: Site) -> None:
        peers = {
            target: {
                "number": self.sites[target].number,
                "sys_url": f"http://127.0.0.1:{link.port}",
                "public_key": self._public[target],
            }
            | self._peer_pulsar(source, target)
            for (source, target), link in self.links.items()
            if source == site.name
        }
        tables = tables_of(site, self.home / "keys", peers, self._public_settings)
        site.home.mkdir(parents=True, exist_ok=True)
        site.settings.write_text("".join(f"{line}\n" for line in toml_lines(tables)))


def _secret(path: Path) -> bytes:
    """The key in this file, made if there is none: what an earlier demo wrote in this folder is signed with it."""
    path.touch(mode=0o600)
    if not path.read_bytes():
        path.write_bytes(entropy(KEY_BYTES))
    return path.read_bytes()
