"""Apache Pulsar: a private cluster of one process on loopback, or two that know each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.servers import Child, free_ports
from core.errors import Unavailable
from deploy.local import install, jvm
from deploy.local.starting import HOST, Group, Process, http, private

READY_S_MAX = 180.0
"""It takes 10 s on an idle machine."""
MEMORY_MB = 192
"""Of heap, and as much again beside it."""
_CONFIG = Path(__file__).with_name("pulsar.conf.tmpl")
_OPENS = {
    "java.base": "java.io java.nio java.util.zip jdk.internal.misc jdk.internal.platform",
    "java.management": "sun.management",
    "jdk.management": "com.sun.management.internal",
}
_DRIVER = "org.apache.pulsar.metadata.bookkeeper.PulsarMetadata{}Driver"
_LOG4J = """<Configuration status="WARN" shutdownHook="disable"><Appenders><Console name="out">
<PatternLayout pattern="%-5level %d{HH:mm:ss} %logger{1} %msg%n%xEx{short}"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


class Pulsar(Process):
    """`start`, then it answers clients at `broker_url` and administrators at `admin_url`, both without a password. It
    keeps ports and folder over `kill` and `start`."""

    def __init__(
        self, folder: Path, name: str = "pulsar", *, deduplication: bool = False, synced: bool = False
    ) -> None:
        """`name` is that of its cluster. `synced`: what it answered is on the disk; else it survives its own end, not
        that of the machine. NotFound, saying what to do, if it or a Java is not installed."""
        self.folder = folder
        self.name = name
        self.broker_port, self.admin_port, self._bookie_port = free_ports(3)
        self.listeners: dict[str, int] = {}
        """Ports at which others reach its broker, by a name that they ask for. To be set before it starts."""
        self._settings = {
            "NAME": name,
            "BP": self.broker_port,
            "WP": self.admin_port,
            "DEDUP": str(deduplication).lower(),
            "SYNC": str(synced).lower(),
        }
        self._conf = folder / "conf"
        lib = install.program("pulsar", "lib")
        properties = {
            "bookkeeper.metadata.bookie.drivers": _DRIVER.format("Bookie"),
            "bookkeeper.metadata.client.drivers": _DRIVER.format("Client"),
            "io.netty.tryReflectionSetAccessible": "true",
            "log4j.configurationFile": self._conf / "log4j2.xml",
        }
        memory = [f"-Xms{MEMORY_MB}m", f"-XX:MaxDirectMemorySize={MEMORY_MB}m"]
        command = jvm.command(
            "org.apache.pulsar.PulsarStandaloneStarter", [self._conf, lib / "*"], heap_mb=MEMORY_MB, opens=_OPENS,
            exports={}, folder=folder / "tmp", properties=properties, options=memory,
        )  # fmt: skip
        command += [
            "--config", str(self._conf / "standalone.conf"), "--no-functions-worker", "--no-stream-storage",
            "--bookkeeper-dir", str(folder / "bk"), "--bookkeeper-port", str(self._bookie_port),
            "--metadata-dir", str(folder / "meta"), "--num-bookies", "1",
        ]  # fmt: skip
        super().__init__(Child(name, command, folder / "server.log", {"PULSAR_STANDALONE_USE_ZOOKEEPER": "0"}))

    @property
    def broker_url(self) -> str:
        return f"pulsar://{HOST}:{self.broker_port}"

    @property
    def admin_url(self) -> str:
        return f"http://{HOST}:{self.admin_port}"

    @property
    def found(self) -> dict[str, str]:
        return {"cluster": self.name, "broker_url": self.broker_url, "admin_url": self.admin_url}

    async def start(self) -> None:
        for part in (self.folder, self.folder / "tmp", self._conf):
            private(part)
        text = _CONFIG.read_text()
        ports = {"local": self.broker_port} | self.listeners
        listeners = ",".join(f"{name}:pulsar://{HOST}:{port}" for name, port in ports.items())
        # Only where they are needed: docs/servers.md tells what was seen after kill -9.
        told = f"advertisedListeners={listeners}\ninternalListenerName=local"
        advertised = told if self.listeners else f"advertisedAddress={HOST}"
        for name, value in (self._settings | {"ADVERTISED": advertised}).items():
            text = text.replace(f"@{name}@", str(value))
        (self._conf / "standalone.conf").write_text(text)
        (self._conf / "log4j2.xml").write_text(_LOG4J)
        await self._begin(self._look, READY_S_MAX)

    def said(self) -> bytes:
        """What it wrote since it has this folder."""
        return (self.folder / "server.log").read_bytes()

    async def admin(self, method: str, path: str, body: object = None, *, also: Sequence[int] = ()) -> Any:
        """What its administration answers; Unavailable with it where that is no success and not one of `also`."""
        status, said = await http(method, f"{self.admin_url}/admin/v2/{path}", body)
        if status >= 300 and status not in also:
            raise Unavailable(f"{self.name}: {method} {path} answers {status}: {said}")
        return said

    async def _look(self) -> str:
        status, said = await http("GET", f"{self.admin_url}/admin/v2/brokers/ready")
        if status != 200:
            return f"{status} {said}"
        status, said = await http("GET", f"{self.admin_url}/admin/v2/tenants")
        return "" if status == 200 and "public" in said else f"its own tenant is not there yet: {status} {said}"


class PulsarPair(Group[Pulsar]):
    """Clusters that know each other: a namespace whose replication clusters name another one is replicated to it, from
    its beginning."""

    def __init__(
        self, folder: Path, names: Sequence[str] = ("a", "b"), *, deduplication: bool = False, synced: bool = False
    ) -> None:
        """NotFound, saying what to do, if it or a Java is not installed."""
        super().__init__([Pulsar(folder / one, one, deduplication=deduplication, synced=synced) for one in names])

    @property
    def found(self) -> dict[str, dict[str, str]]:
        return {cluster.name: cluster.found for cluster in self.members}

    async def start(self) -> None:
        await super().start()
        try:
            for cluster in self.members:
                await self._introduce(cluster)
        except BaseException:
            self.kill()
            raise

    async def _introduce(self, cluster: Pulsar) -> None:
        await cluster.admin("POST", "brokers/configuration/replicationStartAt/earliest")
        for other in self.members:
            if other is not cluster:
                reached = {"serviceUrl": other.admin_url, "brokerServiceUrl": other.broker_url}
                await cluster.admin("PUT", f"clusters/{other.name}", reached, also=[409])

    async def replicate(self, tenant: str, namespaces: dict[str, str]) -> None:
        """Makes the namespace of each of these clusters, which replicates one way: from it to all others."""
        everyone = [cluster.name for cluster in self.members]
        for cluster in self.members:
            await cluster.admin("PUT", f"tenants/{tenant}", {"allowedClusters": everyone}, also=[409])
        for origin, namespace in namespaces.items():
            for cluster in self.members:
                where = everyone if cluster.name == origin else [cluster.name]
                policies = {
                    "replication_clusters": where,
                    "retention_policies": {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1},
                }
                await cluster.admin("PUT", f"namespaces/{tenant}/{namespace}", policies)
