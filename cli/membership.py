"""This process among those of its datacenter: one of them runs it, the others stand by. What it may do while it holds
its lease, what the registry shows of it, and whether all of them mean the same datacenters."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cli import coordination
from cli.settings import Settings
from cli.standby import Standby
from core.errors import ConfigError, LeaseLost, PlanBError
from core.system import Clock, Entropy
from stores.coordination import PROCESS, Datacenter, Held, Member, View, leader, worker
from stores.lease import Lease

log = logging.getLogger(__name__)

CRON = "cron"
"""Whoever leads does what a datacenter does once."""
RUN_IT = ("all", "sys")
"""Roles of which one process at a time runs a datacenter."""
FAREWELL_S_MAX = 2.0


class Membership:
    """`join`, then the rest; `leave` in the end."""

    def __init__(
        self,
        settings: Settings,
        public_key: str,
        *,
        steady_ms: Clock,
        wall_ms: Clock,
        entropy: Entropy,
        on_lost: Callable[[LeaseLost], None],
        role: str = "all",
        public_url: str = "",
    ) -> None:
        """`public_key`: this datacenter's own. `public_url`: where clients reach this process, if it is not as the
        settings say. `on_lost` is called when another process runs the datacenter now. For
        ConfigError see cli/coordination.py."""
        self._settings = settings
        self._public_key = public_key
        self._shown = settings.coordination.shown(settings.stores.data_dir)
        self._coordination = coordination.opened(settings.coordination, settings.dc.name, settings.stores.data_dir)
        member = Member(
            id=entropy(8).hex(),
            role=role,
            state="starting",
            host=socket.gethostname(),
            pid=os.getpid(),
            public_url=public_url or ("" if role == "sys" else f"http://{settings.public.host}:{settings.public.port}"),
            sys_url=f"http://{settings.sys.host}:{settings.sys.port}",
            since_ms=wall_ms(),
        )
        self._lease = Lease(
            self._coordination,
            member,
            lease_ms=settings.coordination.lease_ms,
            steady_ms=steady_ms,
            on_lost=on_lost,
        )
        self.refusal = self._lease.refusal
        """Why this process may write nothing now; "" if it may. To be looked at before each act."""

    async def join(self) -> None:
        """Returns when this process is the one that runs the datacenter; until then it stands by. ConfigError when its
        map is not that of the others, StoreUnavailable when they can't be found."""
        await self._lease.join()
        await self._compare(await self._coordination.look(), alone=True)
        if not self._lease.mine(await self._lease.take(PROCESS)):
            await self._stand_by()
            await self._compare(await self._coordination.look(), alone=False)
        for one in self._map():
            await self._coordination.rechart(one)

    async def join_beside(self) -> None:
        """For a process that does not run the datacenter: returns when another one does, and takes others beside it.
        ConfigError when its map is not that of the others."""
        await self._lease.join()
        told = ""
        async for view in self._coordination.watch():
            self._agree(view)
            runs = view.held.get(PROCESS)
            now = view.members.get(runs.member.id) if runs is not None else None
            if now is not None and now.state == "serving" and now.role == "sys":
                return
            why = "nobody runs it" if now is None else f"{now.place} ({now.role}) is {now.state}"
            if why != told:
                told = why
                log.warning("waits for `planb serve sys` of %s: %s", self._settings.dc.name, why)

    def _agree(self, view: View) -> None:
        """ConfigError where the map is another one; it is not this process's to change."""
        found = list(differences(view.datacenters, {one.number: one for one in self._map()}))
        if found:
            raise ConfigError(f"the map ({self._shown}) is not that of these settings: {'; '.join(found)}")

    @property
    def sys_url(self) -> str:
        """Where the process is reached that runs the datacenter, as far as is known."""
        runs = self._lease.view.held.get(PROCESS) if self._lease.view is not None else None
        return runs.member.sys_url if runs is not None else self._lease.member.sys_url

    async def take_worker(self, number: int) -> bool:
        """Leases a worker number; False if another process has it."""
        return self._lease.mine(await self._lease.take(worker(number)))

    def works_on(self, number: int) -> bool:
        """Whether a process of this datacenter holds this worker number, as far as is known."""
        held = self._lease.view.held if self._lease.view is not None else {}
        return worker(number) in {*held, *self._lease.held}

    async def serves(self) -> None:
        """It has started."""
        await self._lease.announce("serving")
        if self._lease.member.role in RUN_IT:
            self._lease.campaign(CRON)

    async def drains(self) -> None:
        """It leads nothing any more, and takes no new work. Where nobody can be told in time, the end of its session
        tells."""
        with contextlib.suppress(PlanBError, TimeoutError):
            async with asyncio.timeout(FAREWELL_S_MAX):
                await self._lease.resign(CRON)
                await self._lease.announce("draining")

    async def leave(self) -> None:
        """Gives everything back. StoreUnavailable when that can't be: it ends with its time."""
        try:
            await self._lease.leave()
        finally:
            await self._coordination.close()

    @property
    def unbroken(self) -> bool:
        """Whether this process has held its lease ever since it joined: nobody else ran the datacenter meanwhile,
        unless he does not ask for leases."""
        return self._lease.unbroken

    def shown(self) -> dict[str, Any]:
        """What status shows: this process's lease, who leads, who is there."""
        view = self._lease.view or View({}, {}, {})
        held = {**view.held, **self._lease.held}
        return {
            "kind": self._shown,
            "refuses": self.refusal(),
            "trouble": self._lease.trouble,
            "left_ms": self._lease.left_ms(),
            "held": {name: one.token for name, one in sorted(self._lease.held.items())},
            "leaders": {
                name.removeprefix(leader("")): {"process": one.member.place, "term": one.token}
                for name, one in sorted(held.items())
                if name.startswith(leader(""))
            },
            "processes": [_process(one) for one in sorted(view.members.values(), key=lambda one: one.since_ms)],
        }

    # -- one process at a time

    async def _stand_by(self) -> None:
        """Answers health, and opens nothing, until the datacenter is free."""
        async with Standby(self._settings.public, self._settings.dc.name) as standby:

            def seen(held: Held) -> None:
                standby.waits_for = held.member.place
                log.warning(
                    "%s is run by %s (%s, %s): this one stands by",
                    self._settings.dc.name,
                    held.member.place,
                    held.member.public_url or held.member.sys_url,
                    self._shown,
                )

            await self._lease.announce("standby")
            await self._lease.wait_for(PROCESS, seen)
            await self._lease.announce("starting")
        log.warning("%s is free: this process runs it now", self._settings.dc.name)

    # -- the map

    def _map(self) -> list[Datacenter]:
        """As the settings have it."""
        dc, peers = self._settings.dc, self._settings.peers.items()
        own = Datacenter(dc.number, dc.name, self._lease.member.sys_url, self._public_key)
        return [own, *(Datacenter(peer.number, name, peer.sys_url, peer.public_key) for name, peer in peers)]

    async def _compare(self, view: View, alone: bool) -> None:
        """ConfigError where another process of this datacenter lives that means other datacenters than the settings.
        `alone`: where none does, the settings replace what is left of the map."""
        others = [one for one in view.members.values() if one.id != self._lease.member.id]
        ours = {one.number: one for one in self._map()}
        found = list(differences(view.datacenters, ours))
        if found and (others or not alone):
            whom = f" of {others[0].place}" if others else ""
            raise ConfigError(f"the map{whom} ({self._shown}) is not that of these settings: {'; '.join(found)}")
        for difference in found:
            log.warning("the map (%s) was another one, and follows the settings: %s", self._shown, difference)
        for number in view.datacenters.keys() - ours.keys():
            await self._coordination.unchart(number)
        for one in ours.values():
            there = view.datacenters.get(one.number)
            if there is None or _identity(there) != _identity(one):
                await self._coordination.rechart(one)


def differences(there: Mapping[int, Datacenter], ours: Mapping[int, Datacenter]) -> Iterator[str]:
    """What two maps disagree about, in sentences; what only `ours` has is new, and addresses may change."""
    for number, one in sorted(there.items()):
        our = ours.get(number)
        if our is None:
            yield f"it has {one.name} ({number}), the settings do not"
        elif our.name != one.name:
            yield f"number {number} is {one.name} there, {our.name} in the settings"
        elif our.public_key != one.public_key:
            yield f"{one.name} ({number}) has the public key {one.public_key} there, {our.public_key} in the settings"


def _identity(one: Datacenter) -> Sequence[object]:
    return one.number, one.name, one.public_key


def _process(one: Member) -> dict[str, Any]:
    return {
        "id": one.id,
        "role": one.role,
        "state": one.state,
        "host": one.host,
        "pid": one.pid,
        "public_url": one.public_url,
        "sys_url": one.sys_url if one.role in RUN_IT else "",
        "since_ms": one.since_ms,
    }
