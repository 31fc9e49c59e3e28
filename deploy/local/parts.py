"""The servers that a datacenter of the demo stands on: what its settings say of each, and what may happen to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.engines import Fault, PulsarPlace
from deploy.local.cassandra import Cassandra
from deploy.local.etcd import Etcd
from deploy.local.mariadb import DATABASE, USER, MariaDB
from deploy.local.pulsar import Pulsar
from deploy.local.redis import Redis
from deploy.local.seaweedfs import BUCKET, REGION, SeaweedFS
from deploy.local.starting import HOST, Process

KEYSPACE = "planb"
LEASE_S = 5.0
"""After so long without a word to etcd a process counts as dead."""


class Part:
    """One server of a datacenter, and what its settings are called."""

    name = ""
    """What it is."""
    log = False
    hot = False
    objects = False

    def __init__(self, process: Process) -> None:
        self.process = process
        self.stopped_s = 0.0
        """How long its faults last."""

    @property
    def stores(self) -> Mapping[str, Any]:
        """Of `[stores]`."""
        return {}

    @property
    def coordination(self) -> Mapping[str, Any]:
        """Of `[coordination]`."""
        return {}

    @property
    def secrets(self) -> Mapping[str, Path]:
        """Of `[secrets]`."""
        return {}

    @property
    def faults(self) -> Sequence[Fault]:
        return ()

    async def start(self) -> None:
        """Where it does not run."""
        if not self.process.child.running:
            await self.process.start()


class Objects(Part):
    """S3."""

    name = "s3"
    objects = True

    def __init__(self, site: str, home: Path, disks: Path) -> None:
        del disks  # it survives
        self.server = SeaweedFS(home / "s3", f"{site} s3")
        self._credentials = home / "s3.credentials"
        super().__init__(self.server)

    @property
    def stores(self) -> Mapping[str, Any]:
        return {
            "objects_url": f"s3://{BUCKET}",
            "s3": {"endpoint_url": self.server.url, "region": REGION, "addressing": "path"},
        }

    @property
    def secrets(self) -> Mapping[str, Path]:
        return {"s3_credentials_file": self._credentials}

    async def start(self) -> None:
        key, secret = self.server.credentials
        self._credentials.touch(mode=0o600)
        self._credentials.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        await super().start()

    def has_snapshot(self) -> bool:
        found = self.server.client().list_objects_v2(Bucket=BUCKET, Prefix="snapshots/", MaxKeys=1)
        return bool(found["KeyCount"])


class Hot(Part):
    """Redis 7."""

    name = "redis"
    hot = True

    def __init__(self, site: str, home: Path, disks: Path) -> None:
        del home  # it holds nothing that is not in memory
        # Appending to a list moves its last node, and C's allocator moves 8 KB, the default, dearly.
        self.server = Redis(disks / "redis", f"{site} redis", options=("--list-max-listpack-size", "-1"))
        super().__init__(self.server)

    @property
    def stores(self) -> Mapping[str, Any]:
        return {"hot_url": self.server.url}

    @property
    def faults(self) -> Sequence[Fault]:
        async def flush() -> None:
            await self.server.say("FLUSHALL")

        return [Fault("loses all that its Redis holds", flush, _nothing, 0.0, new_epoch=True)]


class Messages(Part):
    """Cassandra."""

    name = "cassandra"

    def __init__(self, site: str, home: Path, disks: Path) -> None:
        del home
        self.server = Cassandra(disks / "cassandra", f"{site} cassandra", datacenter=site)
        super().__init__(self.server)

    @property
    def stores(self) -> Mapping[str, Any]:
        return {
            "messages_url": f"cassandra://{self.server.host}:{self.server.port}/{KEYSPACE}",
            "cassandra": {"local_datacenter": self.server.datacenter},
        }

    @property
    def faults(self) -> Sequence[Fault]:
        return [frozen(self, "has a Cassandra that stands still", self.stopped_s)]

    async def start(self) -> None:
        await super().start()
        copies = f"{{'class': 'NetworkTopologyStrategy', '{self.server.datacenter}': 1}}"
        await self.server.cql(f"CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = {copies}")


class Rows(Part):
    """MariaDB."""

    name = "mariadb"

    def __init__(self, site: str, home: Path, disks: Path) -> None:
        self.server = MariaDB(disks / "mariadb", f"{site} mariadb")
        self._password = home / "mariadb.password"
        super().__init__(self.server)

    @property
    def stores(self) -> Mapping[str, Any]:
        return {"relational_url": f"mysql://{USER}@{HOST}:{self.server.port}/{DATABASE}"}

    @property
    def secrets(self) -> Mapping[str, Path]:
        return {"mysql_password_file": self._password}

    @property
    def faults(self) -> Sequence[Fault]:
        return [killed(self, "has its MariaDB killed", self.stopped_s / 4)]

    async def start(self) -> None:
        self._password.touch(mode=0o600)
        self._password.write_text(f"{self.server.password}\n")
        await super().start()


class Log(Part):
    """Pulsar: a cluster of the datacenter's name."""

    name = "pulsar"
    log = True

    def __init__(self, site: str, home: Path, disks: Path) -> None:
        del home
        self.server = Pulsar(disks / "pulsar", site)
        super().__init__(self.server)

    @property
    def stores(self) -> Mapping[str, Any]:
        return {"log_url": self.server.broker_url, "pulsar": {"admin_url": self.server.admin_url}}

    @property
    def place(self) -> PulsarPlace:
        return PulsarPlace(self.server.name, self.server.broker_port, self.server.admin_port)

    @property
    def faults(self) -> Sequence[Fault]:
        return [killed(self, "has its Pulsar killed", self.stopped_s / 4)]


class Leases(Part):
    """etcd: who runs the datacenter."""

    name = "etcd"

    def __init__(self, site: str, home: Path, disks: Path) -> None:
        del home
        self.server = Etcd(disks / "etcd", f"{site} etcd")
        super().__init__(self.server)

    @property
    def coordination(self) -> Mapping[str, Any]:
        return {"etcd_endpoints": [self.server.url], "lease_s": LEASE_S}

    @property
    def faults(self) -> Sequence[Fault]:
        return [killed(self, "has its etcd killed", self.stopped_s / 4, refuses="lease_lost")]


async def _nothing() -> None:
    """A fault that is over when it has begun."""


def frozen(part: Part, what: str, lasts_s: float) -> Fault:
    """Its server stands still."""

    async def begin() -> None:
        part.process.pause()

    async def end() -> None:
        part.process.resume()

    return Fault(what, begin, end, lasts_s)


def killed(part: Part, what: str, lasts_s: float, refuses: str = "") -> Fault:
    """Its server is killed, and started again."""

    async def begin() -> None:
        part.process.kill()

    return Fault(what, begin, part.process.start, lasts_s, refuses=refuses)
