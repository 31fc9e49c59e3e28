"""A chapter of the demo's story: the servers that a datacenter stands on break, one after the other, while everybody
goes on to write; each time it finds its way back, and to the others' state."""

import asyncio
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any

from cli.cast import Cast
from cli.engines import Fault
from cli.narrator import Narrator
from cli.planet import Site
from cli.sys_client import SysRefused
from cli.waiting import until

BACK_S_MAX = 120.0


async def break_engines(
    site: Site, cast: Cast, narrator: Narrator, shares: tuple[float, float], say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], dict[str, bool]]:
    """An account of each fault that its engines know, and what is claimed after it. The conversations go on from one
    share to the other meanwhile. Unavailable if the datacenter does not come back."""
    faults = site.engines.faults if site.engines else ()
    begin, end = shares
    accounts: list[dict[str, Any]] = []
    claims: dict[str, bool] = {}
    for at, fault in enumerate(faults, 1):
        say(f"{site.name} {fault.what}")
        share = begin + (end - begin) * at / len(faults)
        account, held = await _one(site, cast, narrator, share, fault)
        accounts.append(account)
        claims |= held
    await narrator.tell(end)
    return accounts, claims


async def _one(
    site: Site, cast: Cast, narrator: Narrator, share: float, fault: Fault
) -> tuple[dict[str, Any], dict[str, bool]]:
    loop = asyncio.get_running_loop()
    elsewhere = {nick for tale in narrator.tales for nick in tale.conversation.nicks if cast.region(nick) != site.name}
    before, told, began_s = await _epoch(site, cast), _written(narrator, elsewhere), loop.time()
    await fault.begin()
    telling = asyncio.create_task(narrator.tell(share))
    await asyncio.sleep(fault.lasts_s)  # what it is: so long it is broken
    meanwhile = _written(narrator, elsewhere) - told
    await fault.end()
    await site.revive()
    await site.ready()

    async def begun_anew() -> bool:
        return await _epoch(site, cast) > before

    claims = {}
    if fault.new_epoch:
        claims[f"hot state is written anew after {site.name} {fault.what}"] = await until(begun_anew, BACK_S_MAX)
    await telling
    digests = await _settled(cast)
    claims[f"digests are equal after {site.name} {fault.what}"] = len(set(digests.values())) == 1
    if fault.lasts_s:
        claims[f"the others are written to while {site.name} {fault.what}"] = meanwhile > 0
    return {
        "what": f"{site.name} {fault.what}",
        "broken_s": fault.lasts_s,
        "written_elsewhere": meanwhile,
        "seconds": round(loop.time() - began_s, 3),
    }, claims


async def _settled(cast: Cast) -> dict[str, str]:
    """As the cast says it. While a datacenter finds its server again it refuses to: SysRefused if that takes long."""
    refused: SysRefused | None = None

    async def look() -> dict[str, str]:
        nonlocal refused
        try:
            return await cast.settled()
        except SysRefused as error:
            if error.status != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            refused = error
            return {}

    found = await until(look, BACK_S_MAX)
    if not found and refused:
        raise refused
    return found


def _written(narrator: Narrator, nicks: Collection[str]) -> int:
    """Messages of these that were acknowledged."""
    return sum(len(keys) for tale in narrator.tales for nick, keys in tale.keys.items() if nick in nicks)


async def _epoch(site: Site, cast: Cast) -> int:
    async with cast.sys(site.name) as sys:
        return int((await sys.call("GET", "/sys/v1/status"))["epoch"])
