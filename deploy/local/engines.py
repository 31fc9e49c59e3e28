"""What the demo's datacenters stand on, of the servers that are installed here: the demo loads this by its own
`cli/engines.py`, and hands it to its planet."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.engines import Fault, PulsarPlace
from cli.servers import Child
from core.errors import Invalid
from deploy.local.parts import Hot, Leases, Log, Messages, Objects, Part, Rows


class Site:
    """All parts of one datacenter."""

    def __init__(self, parts: Sequence[Part], stopped_s: float) -> None:
        self._parts = parts
        self.stopped_s = stopped_s
        for part in parts:
            part.stopped_s = stopped_s
        self._pulsar = next((part for part in parts if isinstance(part, Log)), None)

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
    def parts(self) -> Mapping[str, Child]:
        return {part.name: part.process.child for part in self._parts}

    @property
    def stores(self) -> Mapping[str, Any]:
        return {name: value for part in self._parts for name, value in part.stores.items()}

    @property
    def coordination(self) -> Mapping[str, Any]:
        return {name: value for part in self._parts for name, value in part.coordination.items()}

    @property
    def pulsar(self) -> PulsarPlace | None:
        return self._pulsar.place if self._pulsar else None

    def reached_by(self, listeners: Mapping[str, int]) -> None:
        assert self._pulsar is not None, "there is no Pulsar to be reached"
        self._pulsar.server.listeners |= listeners

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


PARTS: Sequence[Callable[[str, Path, Path], Part]] = (Objects, Log, Rows, Messages, Hot, Leases)


class Provider:
    def __init__(self, kinds: Sequence[Callable[[str, Path, Path], Part]], stopped_s: float) -> None:
        self._kinds = kinds
        self._stopped_s = stopped_s

    def engines(self, site: str, home: Path, disks: Path) -> Site:
        return Site([kind(site, home, disks) for kind in self._kinds], self._stopped_s)


def provider(kind: str, stopped_s: float) -> Provider:
    """`s3` for object storage alone, `real` for all that a datacenter can stand on. A fault lasts `stopped_s`."""
    if kind == "s3":
        return Provider([Objects], stopped_s)
    if kind == "real":
        return Provider(PARTS, stopped_s)
    raise Invalid(f"no engines are called {kind}")
