"""What hostile clients must not reach: memory, descriptors, the log of errors, and everybody else's messages."""

import asyncio
import os
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from cli.planet import Planet, Site
from cli.waiting import until
from planb_sdk import Client
from tests.support.bad_days import QUICK, RECOVER_S_MAX, Reader, Told, everything, is_read, request, user

PACE_S = 0.05
SECRET = "between the two of us"
"""In every text of the ordinary users, and in nobody else's answers."""
TRIES_MAX = 200


class Used(NamedTuple):
    """Of one process."""

    rss_mib: float
    descriptors: int
    cpu_s: float


def used(site: Site) -> dict[str, Used]:
    """Of each process of a datacenter."""
    return {child.name: _used(child.pid) for child in site.children if child.pid is not None}


def _used(pid: int) -> Used:
    status = Path(f"/proc/{pid}/status").read_text()
    rss_kib = int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    cpu_s = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return Used(round(rss_kib / 1024, 1), len(os.listdir(f"/proc/{pid}/fd")), cpu_s)


PARKS = re.compile(r"stores\.apply: \d+ events can't be held by the stores: parked$")
"""What is said of a peer's events that no store takes, with a trace: as it should be."""


def failures(site: Site) -> list[str]:
    """Unexpected errors that a datacenter's process wrote down: the beginning of each."""
    text = (site.home / "serve.log").read_text(errors="replace")
    # Those of requests are written as JSON, each in one line.
    parts = text.replace("\\n", "\n").replace('\\"', '"').split("Traceback (most recent call last):")
    heads = [(part.strip().splitlines() or [""])[-1] for part in parts]
    return [
        f"{head[:300]} … {_end(trace)}" for head, trace in zip(heads, parts[1:], strict=False) if not PARKS.search(head)
    ]


def _end(trace: str) -> str:
    """The error that ends a trace, with the place where it came from."""
    places = [line.strip() for line in trace.splitlines() if line.startswith('  File "')]
    errors = [line for line in trace.splitlines() if line and not line.startswith(" ")]
    return f"{places[-1] if places else ''}: {errors[0] if errors else ''}"[:500]


class Ordinary:
    """Two users who mind nobody else: one writes in one datacenter, the other reads in another."""

    def __init__(self, home: Site, away: Site, tokens: Mapping[str, str]) -> None:
        self._home = home
        (self._writer, self._token), (self._reader, reader_token) = tokens.items()
        self._client = Client([home.url], self._token, user=self._writer, options=QUICK)
        self._following = Reader(Client([away.url], reader_token, user=self._reader, options=QUICK))
        self.sent: dict[str, str] = {}
        """key -> id"""
        self.told: Callable[[str, str], None] = lambda conversation, id: None
        """Hears of each message that was taken."""
        self.refused = 0
        """Tries that were told to come again."""
        self.impolite: list[Told] = []

    async def write(self) -> None:
        """For ever: each message is tried under its key until it is acknowledged."""
        async with aiohttp.ClientSession() as session:
            while True:
                await self._write(session, str(uuid.uuid4()))
                await asyncio.sleep(PACE_S)  # a pace, not a condition

    async def _write(self, session: aiohttp.ClientSession, key: str) -> None:
        fields = {"to": self._reader, "text": f"{SECRET}: {key}"}
        for _ in range(TRIES_MAX):
            told = await request(session, "POST", f"{self._home.url}/v1/messages", self._token, fields, key)
            if told.acknowledged:
                self.sent[key] = str(told.body["id"])
                self.told(str(told.body["conversation"]), self.sent[key])
                return
            self.refused += 1
            if told.status > 0 and not told.polite:
                self.impolite.append(told)
            await asyncio.sleep(PACE_S)  # a pace, not a condition
        raise AssertionError(f"{key} was not taken in {TRIES_MAX} tries: {told}")

    async def check(self) -> list[str]:
        """What is not as it should be, once nobody writes any more."""
        # A try of unknown outcome may have been written, too: then the two are copies, shown as the older one.
        found = Counter(message.key for message in await everything(self._client, self._reader))
        problems = []
        # The last one may have been written although nobody was told.
        if lost := self.sent.keys() - found.keys():
            problems.append(f"{len(lost)} of {len(self.sent)} messages of ordinary users are lost")
        if max(found.values(), default=0) > 1:
            problems.append("a message of an ordinary user is there twice")
        if self.impolite:
            problems.append(f"an ordinary user was told {self.impolite[0]}")
        try:
            await self._following.got(self.sent)
        except AssertionError as error:
            problems.append(f"an ordinary user's stream: {error}")
        return problems

    async def close(self) -> None:
        await self._following.close()
        await self._client.close()


@asynccontextmanager
async def ordinary(planet: Planet, home: str, away: str) -> AsyncIterator[Ordinary]:
    names = ("Uordinary-writer", "Uordinary-reader")
    tokens = {name: await user(planet, name, home) for name in names}
    for name, token in tokens.items():
        for site in (planet.site(home), planet.site(away)):
            assert await until(lambda: is_read(site, token, f"/v1/users/{name}"), RECOVER_S_MAX), "news are slow"  # noqa: B023
    both = Ordinary(planet.site(home), planet.site(away), tokens)
    try:
        await both._following.following()
        yield both
    finally:
        await both.close()
