"""What a datacenter of the demo stands on, where that is more than its two Valkeys and a folder: servers beside it.

A datacenter knows nothing of this: it is told by its settings where they are. Who starts them is a tool beside the
product (`deploy/local`), which is there in a clone of the repository only, and is loaded here when it is asked for.
"""

import importlib
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from cli.servers import Child
from core.errors import Invalid

ROOT = Path(__file__).parents[1]


class Fault(NamedTuple):
    """Something that may happen to the servers of one datacenter, while it and the others go on."""

    what: str
    """As a sentence that the datacenter's name begins."""
    begin: Callable[[], Awaitable[None]]
    end: Callable[[], Awaitable[None]]
    lasts_s: float
    """At least so long between the two."""
    new_epoch: bool = False
    """Hot state is lost, and written anew in a new epoch."""
    refuses: str = ""
    """The code by which writes are refused there at last, until it is over."""
    left: str = ""
    """The only way that is left between the datacenters, of planet.WAYS."""


class PulsarPlace(NamedTuple):
    """A datacenter's Pulsar, as long as nobody but the datacenter asks."""

    cluster: str
    broker_port: int
    admin_port: int


class Engines(Protocol):
    """The servers of one datacenter."""

    @property
    def log(self) -> bool:
        """Is the event log on one of them, and not on a Valkey?"""
        ...

    @property
    def hot(self) -> bool:
        """Is hot state in one of them, and not in a Valkey?"""
        ...

    @property
    def children(self) -> Sequence[Child]:
        """Those that die and burn with the datacenter. What is in object storage does not."""
        ...

    @property
    def parts(self) -> Mapping[str, Child]:
        """All of them, by what they are."""
        ...

    @property
    def stores(self) -> Mapping[str, Any]:
        """Settings of `[stores]`: those of the Valkeys' and the folder's, where one of these takes its place."""
        ...

    @property
    def coordination(self) -> Mapping[str, Any]:
        """Settings of `[coordination]`."""
        ...

    @property
    def pulsar(self) -> PulsarPlace | None:
        """Where its own Pulsar is, if it has one."""
        ...

    def reached_by(self, listeners: Mapping[str, int]) -> None:
        """Its Pulsar's brokers are reached at further ports, by whoever asks for that name. Before it starts."""
        ...

    @property
    def secrets(self) -> Mapping[str, Path]:
        """Settings of `[secrets]`."""
        ...

    @property
    def faults(self) -> Sequence[Fault]:
        """What may happen to them."""
        ...

    @property
    def stopped_s(self) -> float:
        """How long a fault of them lasts, or part of it."""
        ...

    @property
    def has_snapshot(self) -> bool | None:
        """Does object storage hold anything to restore from? None where it is a folder."""
        ...

    async def start(self) -> None:
        """Starts what does not run; returns when all of it can be used. Unavailable with its last words."""
        ...

    def kill(self, *, objects: bool) -> None:
        """kill -9; `objects`: of object storage, too."""
        ...


class Provider(Protocol):
    """Who makes them, one set for each datacenter."""

    def engines(self, site: str, home: Path, disks: Path) -> Engines:
        """Of the datacenter of this name. What burns with it is in `disks`, all else in `home`. NotFound, saying what
        to do, where a server is not installed."""
        ...


def provider(kind: str, stopped_s: float) -> Provider:
    """`real`: all of them; `s3`: object storage alone. A fault lasts `stopped_s`. Invalid where the tool that starts
    them is not there."""
    if not (ROOT / "deploy" / "local").is_dir():
        raise Invalid("real servers are started by deploy/local of the repository: run this in a clone of it")
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    module = importlib.import_module("deploy.local.engines")
    return cast(Provider, module.provider(kind, stopped_s))
