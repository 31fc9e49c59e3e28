"""What the demo's datacenters stand on, of the servers that are installed here: the demo loads this by its own
`cli/engines.py`, and hands it to its planet."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.engines import Fault
from cli.servers import Child
from core.errors import Invalid
from deploy.local.cassandra import Cassandra
from deploy.local.mariadb import DATABASE, USER, MariaDB
from deploy.local.pulsar import Pulsar
from deploy.local.redis import Redis
from deploy.local.seaweedfs import BUCKET, REGION, SeaweedFS
from deploy.local.starting import HOST, Process

KEYSPACE = "planb"


class Part:
    """One server of a datacenter, and what its settings are called."""

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

    log = True

    def __init__(self, site: str, home: Path, disks: Path) -> None:
        del home
        self.server = Pulsar(disks / "pulsar", site)
        super().__init__(self.server)

    @property
    def stores(self) -> Mapping[str, Any]:
        return {"log_url": self.server.broker_url, "pulsar": {"admin_url": self.server.admin_url}}

    @property
    def faults(self) -> Sequence[Fault]:
        return [killed(self, "has its Pulsar killed", self.stopped_s / 4)]


async def _nothing() -> None:
    """A fault that is over when it has begun."""


def frozen(part: Part, what: str, lasts_s: float) -> Fault:
    """Its server stands still."""

    async def begin() -> None:
        part.process.pause()

    async def end() -> None:
        part.process.resume()

    return Fault(what, begin, end, lasts_s)


def killed(part: Part, what: str, lasts_s: float) -> Fault:
    """Its server is killed, and started again."""

    async def begin() -> None:
        part.process.kill()

    return Fault(what, begin, part.process.start, lasts_s)


class Site:
    """All parts of one datacenter."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    @property
    def log(self) -> bool:
        return any(part.log for part in self._parts)

    @property
    def hot(self) -> bool:
        return any(part.hot for part in self._parts)

    @property
    def children(self) -> Sequence[Child]:
        return [part.process.child for part in self._parts if not part.objects]

    @property
    def stores(self) -> Mapping[str, Any]:
        return {name: value for part in self._parts for name, value in part.stores.items()}

    @property
    def secrets(self) -> Mapping[str, Path]:
        return {name: path for part in self._parts for name, path in part.secrets.items()}

    @property
    def faults(self) -> Sequence[Fault]:
        return [fault for part in self._parts for fault in part.faults]

    @property
    def has_snapshot(self) -> bool | None:
        return next((part.has_snapshot() for part in self._parts if isinstance(part, Objects)), None)

    async def start(self) -> None:
        async with asyncio.TaskGroup() as group:
            for part in self._parts:
                group.create_task(part.start())

    def kill(self, *, objects: bool) -> None:
        for part in self._parts:
            if objects or not part.objects:
                part.process.kill()


PARTS: Sequence[Callable[[str, Path, Path], Part]] = (Objects, Log, Rows, Messages, Hot)


class Provider:
    def __init__(self, kinds: Sequence[Callable[[str, Path, Path], Part]], stopped_s: float) -> None:
        self._kinds = kinds
        self._stopped_s = stopped_s

    def engines(self, site: str, home: Path, disks: Path) -> Site:
        parts = [kind(site, home, disks) for kind in self._kinds]
        for part in parts:
            part.stopped_s = self._stopped_s
        return Site(parts)


def provider(kind: str, stopped_s: float) -> Provider:
    """`s3` for object storage alone, `real` for all that a datacenter can stand on. A fault lasts `stopped_s`."""
    if kind == "s3":
        return Provider([Objects], stopped_s)
    if kind == "real":
        return Provider(PARTS, stopped_s)
    raise Invalid(f"no engines are called {kind}")
