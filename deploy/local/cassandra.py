"""Cassandra: one private node on loopback, or one node in each of several datacenters of its own."""

import asyncio
import struct
from collections.abc import Sequence
from pathlib import Path

from cli.servers import Child, free_ports
from deploy.local import install, jvm
from deploy.local.starting import HOST, Group, Process, private

READY_S_MAX = 180.0
"""It takes 15-25 s on an idle machine."""
HEAP_MB = 384
_RING_DELAY_MS = 2_000
_RESULT_S_MAX = 30.0
"""A change of the schema takes it seconds."""
_CONFIG = Path(__file__).with_name("cassandra.yaml.tmpl")
_LOGBACK = """<configuration>
<appender name="out" class="ch.qos.logback.core.ConsoleAppender">
<encoder><pattern>%-5level %d{HH:mm:ss} %logger{20} %msg%n%ex{short}</pattern></encoder></appender>
<root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"""
_OPENS = {
    "java.base": "java.io java.lang java.lang.module java.lang.reflect java.net java.nio java.util java.util.concurrent"
    " java.util.concurrent.atomic java.util.zip jdk.internal.loader jdk.internal.math jdk.internal.module"
    " jdk.internal.ref jdk.internal.reflect jdk.internal.util.jar sun.nio.ch",
    "jdk.management": "com.sun.management.internal",
}
_EXPORTS = {
    "java.base": "java.lang.ref jdk.internal.misc jdk.internal.ref sun.nio.ch",
    "java.management.rmi": "com.sun.jmx.remote.internal.rmi",
    "java.rmi": "sun.rmi.registry sun.rmi.server",
    "java.sql": "java.sql",
    "jdk.attach": "sun.tools.attach",
    "jdk.unsupported": "sun.misc",
}


class Cassandra(Process):
    """`start`, then it answers CQL at `host` and `port` without a password. It keeps ports and folder over `kill` and
    `start`."""

    def __init__(
        self,
        folder: Path,
        name: str = "cassandra",
        *,
        datacenter: str = "dc1",
        host: str = HOST,
        seed: str = HOST,
        ports: tuple[int, int] | None = None,
        nodes: int = 1,
        token: int = 0,
    ) -> None:
        """NotFound, saying what to do, if it or a Java is not installed. `ports`: for clients and for its other
        nodes, which have the same on other addresses; `nodes` that there are in all; `token`: the end of the part of
        the ring that is its own, another one for each node (chosen by itself, it may own next to nothing)."""
        self._folder = folder
        self.host, self.datacenter = host, datacenter
        self.port, self._storage_port = ports or _two()
        (jmx,) = free_ports(1)
        self._seed, self._nodes, self._token = seed, nodes, token
        self._conf = folder / "conf"
        lib = install.program("cassandra", "lib")
        (jamm,) = lib.glob("jamm-*.jar")
        properties = {
            "cassandra.config": f"file://{self._conf / 'cassandra.yaml'}",
            "cassandra.jmx.local.port": jmx,
            "cassandra.logdir": folder,
            "cassandra.ring_delay_ms": _RING_DELAY_MS,
            "cassandra.skip_wait_for_gossip_to_settle": 0,
            "cassandra.storagedir": folder / "data",
            "cassandra-foreground": "yes",
            "io.netty.tryReflectionSetAccessible": "true",
            "jdk.attach.allowAttachSelf": "true",
            "logback.configurationFile": self._conf / "logback.xml",
        }
        command = jvm.command(
            "org.apache.cassandra.service.CassandraDaemon", [self._conf, lib / "*"], heap_mb=HEAP_MB, opens=_OPENS,
            exports=_EXPORTS, folder=folder / "tmp", properties=properties, options=[f"-javaagent:{jamm}", "-Xms128m"],
        )  # fmt: skip
        super().__init__(Child(name, command, folder / "server.log"))

    @property
    def found(self) -> dict[str, object]:
        return {"host": self.host, "port": self.port, "datacenter": self.datacenter}

    async def start(self) -> None:
        for part in (self._folder, self._folder / "tmp", self._conf):
            private(part)
        values = {
            "DATA": self._folder / "data",
            "HOST": self.host,
            "PORT": self.port,
            "SEED": self._seed,
            "STORAGE_PORT": self._storage_port,
            "TOKEN": self._token,
        }
        text = _CONFIG.read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        (self._conf / "cassandra.yaml").write_text(text)
        (self._conf / "cassandra-rackdc.properties").write_text(f"dc={self.datacenter}\nrack=r1\n")
        (self._conf / "logback.xml").write_text(_LOGBACK)
        await self._begin(self._look, READY_S_MAX)

    async def cql(self, statement: str) -> None:
        """Does this; who needs an answer takes a driver. OSError where it is refused, or nobody answers."""
        await _ask(self.host, self.port, statement)

    async def _look(self) -> str:
        """It answers clients when it has joined; its other nodes are there when it has them as peers."""
        _, _, _, peers = _ROWS.unpack_from(await _ask(self.host, self.port, _PEERS))
        return "" if peers == self._nodes - 1 else f"{peers} of {self._nodes - 1} other nodes are there"


class CassandraPair(Group[Cassandra]):
    """Nodes on addresses of their own, each in a Cassandra datacenter of its own, in one cluster."""

    def __init__(self, folder: Path, name: str = "cassandra", datacenters: Sequence[str] = ("dc1", "dc2")) -> None:
        """NotFound, saying what to do, if it or a Java is not installed."""
        client, storage = free_ports(2)
        nodes = []
        for at, datacenter in enumerate(datacenters, 1):
            node = Cassandra(
                folder / datacenter, f"{name}-{datacenter}", datacenter=datacenter, host=f"127.0.0.{at}",
                ports=(client, storage), nodes=len(datacenters), token=at,
            )  # fmt: skip
            nodes.append(node)
        super().__init__(nodes)

    @property
    def found(self) -> dict[str, object]:
        return {"nodes": [node.found for node in self.members]}


def _two() -> tuple[int, int]:
    client, storage = free_ports(2)
    return client, storage


# -- CQL's native protocol, version 4: as much of it as a question needs

_HEAD = struct.Struct(">BBhBi")
_STARTUP, _READY, _QUERY, _RESULT = 1, 2, 7, 8
_ONE = 1
_NO_METADATA = 2
_PEERS = "SELECT peer FROM system.peers_v2"
_ROWS = struct.Struct(">iiii")
"""Kind, flags, columns and rows of a result without metadata."""


def _text(text: str, size: str = ">H") -> bytes:
    return struct.pack(size, len(text)) + text.encode()


def _frame(kind: int, body: bytes) -> bytes:
    return _HEAD.pack(4, 0, 0, kind, len(body)) + body


async def _ask(host: str, port: int, statement: str) -> bytes:
    """The body of its result. OSError where there is none."""
    async with asyncio.timeout(_RESULT_S_MAX):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(_frame(_STARTUP, struct.pack(">H", 1) + _text("CQL_VERSION") + _text("3.0.0")))
            await _answer(reader, _READY)
            writer.write(_frame(_QUERY, _text(statement, ">i") + struct.pack(">HB", _ONE, _NO_METADATA)))
            return await _answer(reader, _RESULT)
        finally:
            writer.close()


async def _answer(reader: asyncio.StreamReader, kind: int) -> bytes:
    try:
        _, _, _, found, size = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        body = await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        raise ConnectionResetError("it closed the connection") from error
    if found != kind:
        raise ConnectionError(f"answer {found} instead of {kind}: {body[:200]!r}")
    return body
