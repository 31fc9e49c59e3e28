"""A chapter of the demo's story: the servers that a datacenter stands on break, one after the other, and the links
between the datacenters, while everybody goes on to write; each time all find their way back, and to one state."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from cli.cast import Cast
from cli.engines import Fault
from cli.narrator import Narrator
from cli.planet import FEED, PULL, WAYS, Planet, Site
from cli.sys_client import SysRefused
from cli.voices import Voices
from cli.waiting import until

BACK_S_MAX = 120.0
QUIET_S = 1.5
"""After so long without any record a way that was cut brings none any more."""
SHOWN = {PULL: "pulling", FEED: "Pulsar"}
Came = Mapping[str, Mapping[str, int]]
"""Datacenter -> way -> records."""


def partitions(planet: Planet, a: str, b: str, lasts_s: float) -> Sequence[Fault]:
    """Each of two ways between them is cut, and the other one left; none where their Pulsars bring nothing."""
    if not planet.pulsar_links[a, b]:
        return ()

    def left(way: str, what: str) -> Fault:
        cut = [other for other in WAYS if other != way]

        async def begin() -> None:
            planet.cut(a, b, cut)

        async def end() -> None:
            planet.heal(a, b, cut)

        return Fault(what, begin, end, lasts_s, left=way)

    return (
        left(PULL, f"and {b} have Pulsars that are cut off from each other"),
        left(FEED, f"and {b} are cut off from each other but for their Pulsars"),
    )


class Breaking:
    """Lets things happen to one datacenter, and keeps account."""

    def __init__(self, site: Site, cast: Cast, narrator: Narrator, voices: Voices, say: Callable[[str], None]) -> None:
        self._site = site
        self._cast = cast
        self._narrator = narrator
        self._voices = voices
        self._say = say
        self.accounts: list[dict[str, Any]] = []
        self.claims: dict[str, bool] = {}

    async def all(self, faults: Sequence[Fault], shares: tuple[float, float]) -> None:
        """One after the other; the conversations go on from one share to the other meanwhile. Unavailable if the
        datacenter does not come back."""
        begin, end = shares
        for at, fault in enumerate(faults, 1):
            await self.one(fault, begin + (end - begin) * at / len(faults))
        await self._narrator.tell(end)

    async def one(self, fault: Fault, share: float) -> None:
        """The conversations go on to this share."""
        loop = asyncio.get_running_loop()
        what = f"{self._site.name} {fault.what}"
        self._say(what)
        began_s, epoch = loop.time(), await self._epoch()
        elsewhere, came = self._written_elsewhere(), await self._came()
        await fault.begin()
        async with self._voices.talking():
            telling = asyncio.create_task(self._narrator.tell(share))
            await self._last(fault, what)
            elsewhere = self._written_elsewhere() - elsewhere
            await fault.end()
            await self._site.revive()
            await self._site.ready()

        async def begun_anew() -> bool:
            return await self._epoch() > epoch

        if fault.new_epoch:
            self.claims[f"hot state is written anew after {what}"] = await until(begun_anew, BACK_S_MAX)
        await telling
        digests = await self._settled()
        self.claims[f"digests are equal after {what}"] = len(set(digests.values())) == 1
        if fault.lasts_s:
            self.claims[f"the others are written to while {what}"] = elsewhere > 0
        self.accounts.append(
            {
                "what": what,
                "broken_s": fault.lasts_s,
                "written_elsewhere": elsewhere,
                "came": _since(came, await self._came()),
                "seconds": round(loop.time() - began_s, 3),
            }
        )

    async def _last(self, fault: Fault, what: str) -> None:
        """Returns when it has lasted long enough, and was noticed where it should be."""
        cut = [way for way in WAYS if fault.left and way != fault.left]
        before = await self._quiet(cut) if cut else {}
        await asyncio.sleep(fault.lasts_s)  # what it is: so long it is broken
        if cut:

            async def all_get() -> bool:
                return all(ways[fault.left] for ways in _since(before, await self._came()).values())

            self.claims[f"records come by {SHOWN[fault.left]} while {what}"] = await until(all_get, BACK_S_MAX)
            came = _since(before, await self._came())
            for way in cut:
                self.claims[f"none come by {SHOWN[way]} while {what}"] = not any(ways[way] for ways in came.values())
        if fault.refuses:
            refused = await until(lambda: self._refuses(fault.refuses), BACK_S_MAX)
            self.claims[f"writes are refused by {fault.refuses} while {what}"] = refused

    async def _quiet(self, ways: Collection[str]) -> Came:
        """What had come when these ways, which are cut, brought nothing any more."""
        came = await self._came()

        async def quiet() -> bool:
            nonlocal came
            await asyncio.sleep(QUIET_S)  # what it is
            before, came = came, await self._came()
            return all(came[dc].get(way, 0) == before[dc].get(way, 0) for dc in came for way in ways)

        await until(quiet, BACK_S_MAX)
        return came

    async def _refuses(self, code: str) -> bool:
        """Whether it refuses a write so."""
        try:
            async with self._cast.sys(self._site.name) as sys:
                await sys.call("PUT", "/sys/v1/users/Uprobe", {"name": "probe"}, key=str(uuid.uuid4()))
        except SysRefused as error:
            return error.code == code and error.status == HTTPStatus.SERVICE_UNAVAILABLE
        return False

    async def _settled(self) -> dict[str, str]:
        """As the cast says it. While a datacenter finds its server again it refuses to: SysRefused if that takes
        long."""
        refused: SysRefused | None = None

        async def look() -> dict[str, str]:
            nonlocal refused
            try:
                return await self._cast.settled()
            except SysRefused as error:
                if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                refused = error
                return {}

        found = await until(look, BACK_S_MAX)
        if not found and refused:
            raise refused
        return found

    def _written_elsewhere(self) -> int:
        """Messages that were acknowledged in other datacenters."""
        here = self._site.name
        told = (keys for tale in self._narrator.tales for keys in tale.keys.items())
        return sum(len(keys) for nick, keys in told if self._cast.region(nick) != here) + sum(
            said for dc, said in self._voices.said.items() if dc != here
        )

    async def _epoch(self) -> int:
        return int((await self._status(self._site.name))["epoch"])

    async def _came(self) -> Came:
        """Records from elsewhere, since the processes' start."""
        return {name: (await self._status(name))["replication"]["came"] for name in self._cast.names}

    async def _status(self, name: str) -> dict[str, Any]:
        async with self._cast.sys(name) as sys:
            return await sys.call("GET", "/sys/v1/status")


def _since(before: Came, after: Came) -> dict[str, Counter[str]]:
    """What came in between, without the ways by which nothing did."""
    return {dc: Counter(ways) - Counter(before.get(dc, {})) for dc, ways in after.items()}
