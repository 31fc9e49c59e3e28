"""What an operator asks of datacenters that run: status, parked events, whether all are in the same state."""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from math import inf
from typing import Any

from cli import settings as configuration
from cli.problems import problems
from cli.settings import Settings
from cli.sys_client import SysClient
from cli.waiting import until
from core.errors import Conflict, DigestDiffers, Invalid, NotFound, Unavailable
from replicator.names import DcNames

ANSWER_S_MIN = 5.0
"""So long a datacenter may take to answer, even if nothing is to be waited for."""
REBUILD_S_MAX = 3_600.0
"""So long a rebuild is waited for; it goes on by itself."""
STATUS_S_MAX = 10.0
"""One that takes longer to say how it is does not answer."""


async def status(args: argparse.Namespace) -> dict[str, Any]:
    """What the datacenter says of itself, and as `problems` what of it is not as it should be, in sentences. With
    --check also `ok`: whether there are none."""
    settings = configuration.load(args.config)
    async with everywhere(settings, (), STATUS_S_MAX) as clients:
        found = await clients[settings.dc.name].call("GET", "/sys/v1/status")
    wrong = problems(found, str(args.config))
    return {**({"ok": not wrong} if args.check else {}), "problems": wrong, **found}


async def parked(args: argparse.Namespace) -> dict[str, Any]:
    settings = configuration.load(args.config)
    if args.verb == "drop":
        return await _drop(settings, args.places[0])
    async with SysClient.of(settings) as sys:
        if args.verb == "list":
            return await sys.call("GET", "/sys/v1/parked")
        if not args.places:
            return await sys.call("POST", "/sys/v1/parked/retry", {})
        found: dict[str, list[Any]] = {"applied": [], "parked": []}
        for lane, seq in map(_place, args.places):
            answer = await sys.call("POST", "/sys/v1/parked/retry", {"lane": lane, "seq": seq})
            found["applied"] += answer["applied"]
            found["parked"] += answer["parked"]
        return found


def _place(text: str) -> tuple[str, int]:
    lane, _, seq = text.rpartition(":")
    if not lane or not seq.isdecimal():
        raise Invalid(f"{text}: name it as the list does, <lane>:<seq>, e.g. fra/0.0:17")
    return lane, int(seq)


async def _drop(settings: Settings, place: str) -> dict[str, Any]:
    """Looks first whether it is parked in every DC, and changes nothing if it is not; then each gives its word. Repeat
    it if it ends in the middle: a word is given once. When all have agreed it waits, not for long, until each has heard
    so; `dropped` says where the event is parked no more."""
    lane, seq = _place(place)
    numbers = {name: number for number, name in settings.names.items()}
    number = DcNames(numbers).lane_number(lane)
    async with everywhere(settings, settings.peers, ANSWER_S_MIN) as clients:

        async def listed() -> dict[str, list[dict[str, Any]]]:
            lists = await asyncio.gather(*(client.call("GET", "/sys/v1/parked") for client in clients.values()))
            return {
                name: [one for one in found["parked"] if (one["lane"], one["seq"]) == (lane, seq)]
                for name, found in zip(clients, lists, strict=True)
            }

        agreed: dict[str, bool] = {}
        found = await listed()
        if not any(found.values()):
            raise NotFound(f"{place} is not parked in any datacenter: nothing was done")
        for name, here in found.items():
            if not here:
                raise Conflict(f"{place} is not parked in {name}: nothing was done")
            agreed[name] = name in here[0]["agreed_to_drop"]
        for name, client in clients.items():
            if not agreed[name]:
                key = f"drop:{number}:{seq}:{numbers[name]}"
                answer = await client.call("POST", "/sys/v1/parked/drop", {"lane": number, "seq": seq}, key)
                agreed[name] = answer["agreed"]
        dropped = dict.fromkeys(clients, False)

        async def heard() -> bool:
            with contextlib.suppress(Unavailable):  # it is decided, whoever does not answer any more
                dropped.update({name: not here for name, here in (await listed()).items()})
            return all(dropped.values())

        if all(agreed.values()):
            await until(heard, ANSWER_S_MIN)
    return {"ok": all(agreed.values()), "agreed": agreed, "dropped": dropped, "exit_code": Conflict.exit_code}


@contextlib.asynccontextmanager
async def everywhere(
    settings: Settings, peers: Iterable[str], answer_s_max: float
) -> AsyncIterator[dict[str, SysClient]]:
    """Clients of this DC and of these peers, by name. Each call takes `answer_s_max` seconds at most."""
    key_file = settings.secrets.sys_key_file
    key = configuration.secret(key_file)
    urls = {settings.dc.name: f"http://{settings.sys.host}:{settings.sys.port}"}
    urls |= {name: settings.peers[name].sys_url for name in peers}
    async with contextlib.AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(SysClient(name, url, key, settings.dc.name, answer_s_max, key_file))
            for name, url in urls.items()
        }


async def rebuild(args: argparse.Namespace) -> dict[str, Any]:
    """Lets a running datacenter derive its hot state again from its other stores. Returns when it has."""
    settings = configuration.load(args.config)
    began = asyncio.get_running_loop().time()
    async with everywhere(settings, (), REBUILD_S_MAX) as clients:
        sys = clients[settings.dc.name]
        before = (await sys.call("GET", "/sys/v1/status"))["epoch"]
        found = await sys.call("POST", "/sys/v1/hot/rebuild", {"epoch": before})
    took_ms = round((asyncio.get_running_loop().time() - began) * 1000)
    return {"dc": settings.dc.name, "epoch_before": before, "epoch": found["epoch"], "took_ms": took_ms}


async def verify(args: argparse.Namespace) -> dict[str, Any]:
    """Digests of this DC and its peers at equal frontiers; where they differ, tables and key ranges. Where events are
    parked the state is not finished, whatever the digests say."""
    settings = configuration.load(args.config)
    if not 0 <= args.wait < inf:
        raise Invalid(f"--wait {args.wait:g}: so many seconds can't be waited")
    unknown = [name for name in args.against if name not in settings.peers]
    if unknown:
        raise Invalid(f"no peer is called {unknown[0]}; there are {', '.join(settings.peers)}")
    answer_s_max = max(args.wait, ANSWER_S_MIN)  # a peer behind a cut link never answers
    async with everywhere(settings, args.against or settings.peers, answer_s_max) as clients:
        try:
            found = await equal_frontiers(clients, args.wait)
        except Unavailable as error:
            without = len(clients) > 2 and not error.detail.startswith(f"{settings.dc.name}:")
            hint = " (To compare with some only: --against DC)" if without else ""
            raise Unavailable(error.detail + hint) from error
    totals = {name: answer["digest"]["total"] for name, answer in found.items()}
    equal = len(set(totals.values())) == 1
    parked = {name: answer["parked"] for name, answer in found.items() if answer["parked"]}
    answer: dict[str, Any] = {"ok": equal and not parked, "digests": totals, "digests_equal": equal, "parked": parked}
    if not equal:
        answer |= {"differences": _differences(found), "exit_code": DigestDiffers.exit_code}
    if parked:
        answer |= {"unfinished": "events are parked: see `planb parked list`", "exit_code": Conflict.exit_code}
    return answer


async def equal_frontiers(clients: dict[str, SysClient], wait_s: float) -> dict[str, dict[str, Any]]:
    """The digests of several DCs, taken at one frontier. Conflict when they don't reach one in `wait_s` seconds:
    writes go on, or a link is cut."""
    behind: dict[str, dict[str, str]] = {}

    async def look() -> dict[str, dict[str, Any]]:
        statuses = await asyncio.gather(*(client.call("GET", "/sys/v1/status") for client in clients.values()))
        most: dict[str, int] = {}
        for one in statuses:
            for lane, seq in one["durable"].items():
                most[lane] = max(seq, most.get(lane, 0))
        behind.clear()
        for name, one in zip(clients, statuses, strict=True):
            applied = one["applied"]
            behind[name] = {
                lane: f"{applied.get(lane, 0)}/{seq}" for lane, seq in most.items() if applied.get(lane) != seq
            }
        if any(behind.values()):
            return {}
        answers = await asyncio.gather(*(client.call("GET", "/sys/v1/digest") for client in clients.values()))
        if any(answer["moved"] or answer["applied"] != most for answer in answers):
            return {}
        return dict(zip(clients, answers, strict=True))

    found = await until(look, wait_s)
    if not found:
        lacking = [f"{name} {lane} {seqs}" for name, lanes in behind.items() for lane, seqs in lanes.items()]
        missing = ", ".join(lacking) or "writes go on"
        raise Conflict(f"the frontiers are not equal after {wait_s:.0f} s (applied/held): {missing}")
    return found


def _differences(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Table and key range, with each DC's number of rows, wherever two DCs differ."""
    differences = []
    first = next(iter(found.values()))["digest"]["tables"]
    for table, parts in first.items():
        for place in range(len(parts["ranges"])):
            here = {name: answer["digest"]["tables"][table]["ranges"][place] for name, answer in found.items()}
            if len({part["sum"] for part in here.values()}) > 1:
                rows = {name: part["rows"] for name, part in here.items()}
                differences.append({"table": table, "range": place, "rows": rows})
    return differences
