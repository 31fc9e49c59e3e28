"""The conflict test of active-active Redis masters, on a model of such tools and on Plan B: the same keys are written
on both sides at the same time, the link is cut meanwhile, and resynchronised in part. How many keys differ in the end?

`python -m tests.faults.comparison --keys 1000 --report FILE`; exit code 1 unless the masters differ and Plan B's
datacenters do not.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import aiohttp
import redis.asyncio as redis

from cli.planet import Planet
from cli.waiting import until
from tests.faults.active_active import Syncer
from tests.support.bad_days import RECOVER_S_MAX, digests, request, sys_of
from tests.support.valkey import ValkeyFactory, servers

AT_ONCE = 16
FIELDS = ("name", "about")
"""Two cells of each user's profile, each with its own stamp."""
SIDES = ("fra", "iad")

Write = Callable[[str, int, str], Awaitable[None]]
"""Side, number of the key, value."""


class Found(NamedTuple):
    """What one of the two came to."""

    keys: int
    writes: int
    """Acknowledged, on both sides together."""
    apart: int
    """Keys that the two sides showed differently just before the link was healed."""
    different: int
    """And when all is quiet and whole again."""


async def contend(write: Write, keys: int, seed: str, cut: Callable[[], Awaitable[None]]) -> int:
    """Both sides write every key once while the link holds, and once more, each in its own order, after it was cut in
    the midst of that; how many writes."""
    written = 0
    half = asyncio.Event()

    async def side(name: str, round: int) -> None:
        nonlocal written
        order = list(range(keys))
        Random(f"{seed} {name} {round}").shuffle(order)
        places = asyncio.Semaphore(AT_ONCE)

        async def one(key: int) -> None:
            nonlocal written
            async with places:
                await write(name, key, f"{name}, round {round}")
            written += 1
            if round and written > 2.5 * keys:
                half.set()

        await asyncio.gather(*map(one, order))

    await asyncio.gather(*(side(name, 0) for name in SIDES))
    rounds = asyncio.gather(*(side(name, 1) for name in SIDES))
    halfway = asyncio.create_task(half.wait())
    await asyncio.wait([rounds, halfway], return_when=asyncio.FIRST_COMPLETED)
    await cut()
    await rounds
    await asyncio.gather(*(side(name, 2) for name in SIDES))
    halfway.cancel()
    return written


async def masters(make: ValkeyFactory, keys: int, seed: str) -> Found:
    """Two Redis masters that are sent each other's writes."""
    options = ("--repl-diskless-sync", "no", "--repl-backlog-size", "64mb")
    ends = {name: make(None, *options) for name in SIDES}
    clients = {name: redis.Redis(port=end.port, decode_responses=True) for name, end in ends.items()}
    syncers = [Syncer(ends[a], ends[b]) for a, b in (SIDES, SIDES[::-1])]

    async def write(side: str, key: int, value: str) -> None:
        await clients[side].set(f"key-{key}", value)

    async def cut() -> None:
        for syncer in syncers:
            await syncer.cut()

    async def arrived() -> bool:
        return all([await clients[b].get(f"last of {a}") for a, b in (SIDES, SIDES[::-1])])

    try:
        for syncer in syncers:
            await syncer.connect()
        written = await contend(write, keys, seed, cut)
        apart = await _differing(clients, keys)
        for side, client in clients.items():
            await client.set(f"last of {side}", "1")
        for syncer in syncers:
            await syncer.connect()
        assert await until(arrived, RECOVER_S_MAX), "the streams do not come to their ends"
        assert [syncer.partial_resyncs for syncer in syncers] == [1, 1], "a stream did not go on where it had been"
        return Found(keys, written, apart, await _differing(clients, keys))
    finally:
        await cut()
        for client in clients.values():
            await client.aclose()


async def _differing(clients: Mapping[str, "redis.Redis[str]"], keys: int) -> int:
    shown = [await clients[side].mget([f"key-{key}" for key in range(keys)]) for side in SIDES]
    return sum(a != b for a, b in zip(*shown, strict=True))


async def datacenters(folder: Path, keys: int, seed: str) -> Found:
    """Two datacenters of Plan B, real processes, written through the public API."""
    planet = Planet(folder, SIDES)
    people = [f"Uperson-{number}" for number in range((keys + 1) // len(FIELDS))]
    cells = [(person, name) for person in people for name in FIELDS][:keys]
    urls = {name: planet.site(name).url for name in SIDES}
    try:
        await planet.start()
        tokens = await _tokens(planet, people)
        async with aiohttp.ClientSession() as session:

            async def write(side: str, key: int, value: str) -> None:
                person, name = cells[key]
                idempotency = str(uuid.uuid4())

                async def told() -> bool:
                    fields = {name: value}
                    url = f"{urls[side]}/v1/me"
                    return (await request(session, "PATCH", url, tokens[person], fields, idempotency)).acknowledged

                assert await until(told, RECOVER_S_MAX), f"{side} does not take {name} of {person}"

            async def known() -> bool:
                last = f"{urls['iad']}/v1/users/{people[-1]}"
                return (await request(session, "GET", last, tokens[people[-1]])).acknowledged

            async def cut() -> None:
                planet.cut(*SIDES)

            assert await until(known, RECOVER_S_MAX), "news of users is slow"
            assert len(await digests(planet)) == 1
            written = await contend(write, keys, seed, cut)
            before = await _shown(session, urls, tokens, people)
            apart = sum(before["fra"][cell] != before["iad"][cell] for cell in cells)
            assert apart, "the cut kept nothing apart"
            planet.heal(*SIDES)
            assert len(await digests(planet)) == 1
            shown = await _shown(session, urls, tokens, people)
        assert all(", round " in shown["fra"][cell] for cell in cells), "a key was never written"
        different = sum(shown["fra"][cell] != shown["iad"][cell] for cell in cells)
        return Found(keys, written, apart, different)
    finally:
        await planet.stop()


async def _tokens(planet: Planet, people: Sequence[str]) -> dict[str, str]:
    places = asyncio.Semaphore(AT_ONCE)
    async with sys_of(planet, SIDES[0]) as sys:

        async def one(person: str) -> str:
            async with places:
                await sys.call("PUT", f"/sys/v1/users/{person}", {"name": person}, key=str(uuid.uuid4()))
                fields = {"user": person, "device": "test"}
                return str((await sys.call("POST", "/sys/v1/tokens", fields, key=str(uuid.uuid4())))["token"])

        return dict(zip(people, await asyncio.gather(*map(one, people)), strict=True))


async def _shown(
    session: aiohttp.ClientSession, urls: dict[str, str], tokens: dict[str, str], people: Sequence[str]
) -> dict[str, dict[tuple[str, str], str]]:
    """Side -> cell -> value, as anybody reads it there."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    for side, url in urls.items():
        found[side] = {}
        for person in people:
            told = await request(session, "GET", f"{url}/v1/users/{person}", tokens[person])
            assert told.acknowledged, told
            found[side] |= {(person, name): told.body[name] for name in FIELDS}
    return found


async def both(keys: int, seed: str) -> dict[str, dict[str, int]]:
    """One after the other, in a folder of their own."""
    with tempfile.TemporaryDirectory() as base:
        with servers(Path(base) / "masters") as make:
            naive = await masters(make, keys, seed)
        return {"masters": naive._asdict(), "planb": (await datacenters(Path(base) / "planet", keys, seed))._asdict()}


def main(argv: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.comparison")
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--report", type=Path, help="the figures, as JSON")
    args = parser.parse_args(argv)
    found = asyncio.run(both(args.keys, args.seed))
    for name, figures in found.items():
        print(f"{name}: " + ", ".join(f"{what} {count:,}" for what, count in figures.items()))
    if args.report:
        args.report.write_text(json.dumps(found))
    return 0 if found["masters"]["different"] and not found["planb"]["different"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
