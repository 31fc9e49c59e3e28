"""One planet's life under faults, from its start to its judgement."""

import asyncio
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from cli.planet import Planet, Site
from cli.waiting import until
from core.errors import PlanBError
from planb_sdk import Client
from tests.faults.breaking import Breaking
from tests.faults.checker import violations
from tests.faults.clients import Recorder, at_work, whole
from tests.faults.history import OK, History
from tests.faults.kinds import KINDS
from tests.faults.toxic_link import with_toxic_links
from tests.support.bad_days import QUICK, RECOVER_S_MAX, Reader, check_log, digests, request, user
from tests.support.clocks import MovedClock
from tests.support.processes import all_ready, running, supervise

NAMES = ("fra", "iad", "nrt")
PEOPLE = 6
DISK = "64m"
"""For all that a log writes in one life, and soon filled."""


class Judged(NamedTuple):
    seed: str
    violations: list[str]
    fired: dict[str, int]
    """Of every kind, also of those that never did."""
    writes: int
    """Acknowledged."""
    tries: int
    reads: int
    recalls: int
    took_s: float


async def live(folder: Path, seed: str, faults: int) -> Judged:
    """Raises what the test's own apparatus raises: also where nothing comes back, or digests differ."""
    began_s = time.monotonic()
    planet = with_toxic_links(Planet(folder, NAMES))
    clocks = {name: MovedClock(site) for name, site in planet.sites.items()}
    history = History([], [], [], {}, set())
    urls = {name: site.url for name, site in planet.sites.items()}
    with small_disks(planet) as disks:
        breaking = Breaking(planet, seed, KINDS, clocks, disks)
        try:
            await planet.start()
            names = [f"Uperson-{number}" for number in range(PEOPLE)]
            watchers = [f"Uwatcher-{name}" for name in NAMES]
            tokens = {name: await user(planet, name) for name in (*names, *watchers)}
            chat = await supergroup(urls["fra"], tokens[names[0]], [*names[1:], *watchers])
            assert await until(lambda: all_know(chat, tokens, urls), RECOVER_S_MAX)
            recorders = [Recorder(name, tokens[name], urls, chat, f"{seed} {name}", history) for name in names]
            async with following(urls, {name: tokens[name] for name in watchers}) as readers:
                with supervised(planet):
                    async with at_work(recorders):
                        for number in range(faults):
                            print(f"{number + 1:>5} {await breaking.next()}", flush=True)
                    assert await until(lambda: all_ready(planet), RECOVER_S_MAX)
                    await asyncio.gather(*(recorder.settle() for recorder in recorders))
                told = {write.key for write in history.writes if write.outcome == OK}
                for reader in readers:
                    await reader.got(told)
            assert len(await digests(planet)) == 1
            for name, url in urls.items():
                history.final[name] = await whole(url, tokens[names[0]], chat)
            for site in planet.sites.values():
                await check_log(site)
            await asyncio.gather(*(site.snapshot() for site in planet.sites.values()))
            for site in planet.sites.values():  # also those that were killed in the midst
                await site._planb("snapshot", "verify")
        finally:
            await planet.stop()
    acknowledged = sum(write.outcome == OK for write in history.writes)
    broken = await asyncio.to_thread(violations, history)
    broken += [
        f"{site.name} answered 500: {line[-1_000:]}" for site in planet.sites.values() for line in internal(site)
    ]
    return Judged(
        seed, broken, dict(breaking.fired), acknowledged, len(history.writes), len(history.reads),
        len(history.recalls), time.monotonic() - began_s,
    )  # fmt: skip


def internal(site: Site) -> list[str]:
    """What its process has written down of answers that were errors of nobody's (500)."""
    lines = (site.home / "serve.log").read_text(errors="replace").splitlines()
    return [line for line in lines if f'"code": "{PlanBError.code}"' in line]


@asynccontextmanager
async def following(urls: dict[str, str], tokens: dict[str, str]) -> AsyncIterator[list[Reader]]:
    """People with the SDK who only read, each at home in another datacenter; where it fails, they go elsewhere."""
    readers = []
    try:
        for at, (name, token) in enumerate(tokens.items()):
            order = [*urls.values()]
            client = Client([*order[at:], *order[:at]], token, user=name, options=QUICK)
            readers.append(Reader(client))
        for reader in readers:
            await reader.following()
        yield readers
    finally:
        await asyncio.gather(*(reader.close() for reader in readers))


@contextmanager
def small_disks(planet: Planet) -> Iterator[dict[str, Path]]:
    """Each log on a file system of its own, where we may mount one."""
    mounted: dict[str, Path] = {}
    try:
        for name, site in planet.sites.items():
            folder = site.disks / "log"
            folder.mkdir(parents=True, exist_ok=True)
            mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
            if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
                mounted[name] = folder
        yield mounted
    finally:
        for folder in mounted.values():
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def supervised(planet: Planet) -> Iterator[None]:
    """What ends is started again, as a supervisor would; that this goes on is part of the test."""
    with running(supervise(planet)) as task:
        yield
        if task.done():
            task.result()


async def supergroup(url: str, token: str, users: list[str]) -> str:
    fields = {"kind": "supergroup", "title": "All of us", "users": users}
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())}
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{url}/v1/chats", json=fields, headers=headers) as answer,
    ):
        return str((await answer.json())["chat"])


async def all_know(chat: str, tokens: dict[str, str], urls: dict[str, str]) -> bool:
    """Every member may read it in every datacenter."""
    path = f"/v1/dialogs/{chat}/messages"
    async with aiohttp.ClientSession() as session:
        told = [await request(session, "GET", url + path, token) for url in urls.values() for token in tokens.values()]
    return all(one.acknowledged for one in told)
