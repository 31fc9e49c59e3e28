"""The coordination port: who is who among the processes of one datacenter. Its contract suite is in tests/contract/.

    session   a process's lease: all that it holds is held by it, and ends with it
    claim     a name that one session at a time holds, with a fencing token: a worker number, a leadership
    member    what a process says of itself, as long as its session lasts: the registry of services
    the map   which datacenters there are; kept without a session

A claim is no lock of anything: whoever holds one may be frozen and wake up. What it guards has a fence of its own (the
log refuses an append of another owner), or asks for the token. `Lease` (lease.py) says until when a holder may act.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple, Protocol

from core import limits
from core.errors import Corrupt, Invalid

PROCESS = "process"
"""The claim of whoever runs a datacenter that is one process."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*")


def worker(number: int) -> str:
    """The claim on a worker number: on the lane of that number in whichever incarnation."""
    assert 0 <= number <= limits.WORKER_MAX, number
    return f"worker/{number}"


def leader(name: str) -> str:
    """The claim on a leadership."""
    return f"leader/{name}"


class Member(NamedTuple):
    """A process of the datacenter, as it says."""

    id: str
    """Of its session; never used by another."""
    role: str = ""
    state: str = ""
    """starting, standby, serving, draining."""
    host: str = ""
    pid: int = 0
    public_url: str = ""
    sys_url: str = ""
    since_ms: int = 0
    """When it began, by its wall clock. To be shown, not to be compared."""

    @property
    def place(self) -> str:
        return f"process {self.pid} on {self.host}"


class Datacenter(NamedTuple):
    """An entry of the map."""

    number: int
    name: str
    sys_url: str
    """Where its internal listener is reached from here."""
    public_key: str
    """Ed25519, base64."""


class Held(NamedTuple):
    """A claim, and whose it is."""

    name: str
    token: int
    """Greater than that of every earlier holder of this name."""
    member: Member


class View(NamedTuple):
    """All that coordination knows, at one moment. An expired session's things may still show, until its end was
    noticed; they are gone before anybody else can have them."""

    held: Mapping[str, Held]
    members: Mapping[str, Member]
    """By id."""
    datacenters: Mapping[int, Datacenter]


class Coordination(Protocol):
    """Errors: LeaseLost = the session is over, and nothing that needed it was done; StoreUnavailable = not reachable,
    or no answer: it may have been done. Every call may be repeated with the same arguments, to the same effect."""

    async def open(self, member: Member, lease_ms: int) -> int | None:
        """Begins the session `member.id`. Returns for how long it lasts unless it is renewed, counted from a moment
        after this was called; None: as long as this process lives, and the adapter is not closed."""
        ...

    async def renew(self, session: str) -> int | None:
        """The session goes on; as `open`. LeaseLost if it had ended."""
        ...

    async def end(self, session: str) -> None:
        """The session is over now; all that it held is free. No error if it was."""
        ...

    async def announce(self, member: Member) -> None:
        """Replaces what is shown of the member; its session goes on as it was. LeaseLost."""
        ...

    async def take(self, session: str, name: str) -> Held:
        """Takes the claim if nobody holds it. Returns who holds it after that: compare `member.id`. LeaseLost."""
        ...

    async def give(self, session: str, name: str) -> None:
        """Gives the claim back; no error if the session does not hold it."""
        ...

    async def chart(self, datacenter: Datacenter) -> Datacenter:
        """Puts it into the map unless its number is there; returns what stands there after that."""
        ...

    async def rechart(self, datacenter: Datacenter) -> None:
        """Replaces what stands at its number."""
        ...

    async def unchart(self, number: int) -> None:
        """Takes it out of the map; no error if it is not there."""
        ...

    async def look(self) -> View: ...

    def watch(self) -> AsyncIterator[View]:
        """The present view, then another one whenever something has changed; coalesces. The newest state is never
        missed for good, whatever was compacted or cut meanwhile: it begins anew by itself, and raises nothing. Ends
        never."""
        ...

    async def close(self) -> None:
        """Lets go of connections. Sessions that a process holds with its life end with it."""
        ...


def checked(name: str) -> str:
    """A name that may be claimed; Invalid otherwise."""
    if len(name) > limits.COORDINATION_NAME_CHARS_MAX or not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} can't be claimed: parts of a-z, 0-9, '.', '_' and '-', joined by '/'")
    return name


def to_json(value: Member | Datacenter) -> bytes:
    return json.dumps(value._asdict(), separators=(",", ":")).encode()


def member_of(data: bytes, where: str) -> Member:
    """What `to_json` wrote; fields of a newer version are left out. Corrupt names `where`."""
    return Member(**_fields(data, where, Member.__annotations__, ("id",)))


def datacenter_of(data: bytes, where: str) -> Datacenter:
    """As `member_of`."""
    return Datacenter(**_fields(data, where, Datacenter.__annotations__, Datacenter._fields))


def _fields(data: bytes, where: str, types: Mapping[str, type], needed: tuple[str, ...]) -> dict[str, Any]:
    try:
        found = json.loads(data)
        fields = {name: found[name] for name in types if name in found}
    except (ValueError, TypeError, RecursionError) as error:
        raise Corrupt(f"coordination: {where} is not what Plan B wrote", private=repr(error)) from error
    if any(type(fields[name]) is not types[name] for name in fields) or any(name not in fields for name in needed):
        raise Corrupt(f"coordination: {where} is not what Plan B wrote")
    return fields
