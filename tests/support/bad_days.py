"""Clients of whole datacenters on a bad day: writers that keep what they were told, readers that keep what they got."""

import asyncio
import io
import json
import sys
import threading
import traceback
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from cli.main import main
from cli.operate import equal_frontiers
from cli.planet import Planet, Site
from cli.sys_client import SysClient
from cli.waiting import until
from core import limits
from core.errors import Conflict
from events.adapters.valkey import ValkeyLog
from events.record import GENESIS, chain
from planb_sdk import Client, Message, Options

QUICK = Options(request_timeout_s=6.0, give_up_s=60.0, backoff_max_s=0.5, resend_after_s=1.0, spread_s=0.05)
RECOVER_S_MAX = 60.0
PACE_S = 0.004
"""Between a writer's tries."""


def sys_of(planet: Planet, name: str) -> SysClient:
    return SysClient(name, f"http://127.0.0.1:{planet.site(name).ports.sys}", planet.sys_key)


async def user(planet: Planet, name: str, region: str = "fra") -> str:
    """Makes a user; a token of his."""
    async with sys_of(planet, region) as sys:
        await sys.call("PUT", f"/sys/v1/users/{name}", {"name": name}, key=str(uuid.uuid4()))
        made = await sys.call("POST", "/sys/v1/tokens", {"user": name, "device": "test"}, key=str(uuid.uuid4()))
    return str(made["token"])


async def status(planet: Planet, name: str) -> dict[str, Any]:
    async with sys_of(planet, name) as sys:
        return await sys.call("GET", "/sys/v1/status")


@dataclass(frozen=True)
class Told:
    """What the answer to one try said."""

    status: int
    """0: nothing could be sent, -1: sent, and no answer."""
    code: str
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def acknowledged(self) -> bool:
        return self.status == 200

    def __bool__(self) -> bool:
        return self.acknowledged

    @property
    def nothing_happened(self) -> bool:
        """A promise: the message is not there, and never will be."""
        return self.status == 0 or (self.status >= 400 and self.code != "outcome_unknown")

    @property
    def polite(self) -> bool:
        """A bad day's answer, as documented: a problem document with Retry-After."""
        return (
            self.status == 503
            and self.headers.get("Content-Type", "").startswith("application/problem+json")
            and int(self.headers.get("Retry-After", "0")) >= 1
            and self.body.get("type") == f"urn:planb:problem:{self.code}"
        )


async def request(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    token: str,
    fields: dict[str, Any] | None = None,
    key: str = "",
    timeout_s: float = 15.0,
) -> Told:
    """One try, without any repetition."""
    headers = {"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {})
    try:
        async with session.request(
            method, url, json=fields, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout_s)
        ) as answer:
            body = await answer.json(content_type=None)
            return Told(answer.status, body.get("code", ""), body, dict(answer.headers))
    except aiohttp.ClientConnectorError as error:
        return Told(0, type(error).__name__, {}, {})
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return Told(-1, type(error).__name__, {}, {})


LATE = limits.RESULTS_OF_USER_MAX // 2
"""Messages after which one of unknown outcome is asked for again: docs/client-protocol.md, Idempotency-Key."""


@dataclass
class Load:
    """Writers that never stop: every message is tried once, and what was said about it is kept. One whose outcome is
    not known is asked for again, before so much more was written that its answer may be forgotten."""

    url: str
    token: str
    to: str
    writers: int = 4
    several: bool = False
    """Processes answer at this address: what is tried again before it is applied may be a second event there, an alias
    of the first (docs/semantics.md)."""
    repeated: set[str] = field(default_factory=set)
    """Keys that were tried again."""
    acknowledged: dict[str, str] = field(default_factory=dict)
    """key -> id"""
    unknown: set[str] = field(default_factory=set)
    _waiting: dict[str, int] = field(default_factory=dict)
    """Those of unknown outcome that nobody is asking for: how many were acknowledged before them."""
    nothing: set[str] = field(default_factory=set)
    said: Counter[str] = field(default_factory=Counter)
    """Status and code of the answers that were no."""
    impolite: list[Told] = field(default_factory=list)
    slowest_s: float = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=self.writers)) as session:
            tasks = [asyncio.create_task(self._write(session)) for _ in range(self.writers)]
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, session: aiohttp.ClientSession) -> None:
        loop = asyncio.get_running_loop()
        while True:
            late = next((key for key, before in self._waiting.items() if len(self.acknowledged) - before > LATE), "")
            acknowledged = self._waiting.pop(late, len(self.acknowledged))
            key = late or str(uuid.uuid4())
            self.repeated |= {late} - {""}
            self.unknown.add(key)  # also when we are cancelled in the midst of it
            began_s = loop.time()
            told = await request(session, "POST", f"{self.url}/v1/messages", self.token, self.message(key), key)
            self.slowest_s = max(self.slowest_s, loop.time() - began_s)
            if told.acknowledged:
                self.acknowledged[key] = str(told.body["id"])
                self.unknown.discard(key)
            else:
                self.said[f"{told.status} {told.code}"] += 1
                if told.status > 0 and not told.polite:
                    self.impolite.append(told)
                if told.nothing_happened and not late:
                    self.unknown.discard(key)
                    self.nothing.add(key)
                else:
                    self._waiting[key] = acknowledged
            await asyncio.sleep(PACE_S)  # a pace, not a condition

    def message(self, key: str) -> dict[str, Any]:
        return {"to": self.to, "text": f"text of {key}"}

    async def more(self, count: int = 20, timeout_s: float = RECOVER_S_MAX) -> None:
        """Returns when so many more were acknowledged: writing works."""
        wanted = len(self.acknowledged) + count

        async def enough() -> bool:
            return len(self.acknowledged) >= wanted

        assert await until(enough, timeout_s), f"{wanted - len(self.acknowledged)} of {count} missing: {self.said}"

    async def hears(self, *codes: str, timeout_s: float = RECOVER_S_MAX) -> None:
        """Returns when one of these was said, from now on."""
        before = self.said.copy()

        async def said() -> bool:
            return any(code in new.split() for new in self.said - before for code in codes)

        assert await until(said, timeout_s), f"nobody was told {codes}: {self.said}"

    async def resolve(self) -> None:
        """Asks again, under its key, for every unknown outcome; then all are acknowledged."""
        async with aiohttp.ClientSession() as session:
            self.repeated |= self.unknown
            for key in sorted(self.unknown):
                told = await until(lambda key=key: self._known(session, key), RECOVER_S_MAX)
                assert told.acknowledged, f"{key} is never known: {told}"
                self.acknowledged[key] = str(told.body["id"])
        self.unknown.clear()

    async def _known(self, session: aiohttp.ClientSession, key: str) -> Told:
        return await request(session, "POST", f"{self.url}/v1/messages", self.token, self.message(key), key)

    async def check(self, client: Client) -> None:
        """Nothing acknowledged is lost, nothing is there twice, and of which nothing happened is not there.
        Call when no outcome is unknown any more."""
        found = await everything(client, self.to)
        counts = Counter(message.key for message in found)
        lost = self.acknowledged.keys() - counts.keys()
        assert not lost, f"{len(lost)} of {len(self.acknowledged)} acknowledged messages are lost"
        assert not {key for key, count in counts.items() if count > 1}, "shown twice"
        assert not self.nothing & counts.keys(), "it was said that nothing happened"
        ids = {message.key: message.id for message in found}
        aliased = self.repeated if self.several else set()
        changed = {key: (id, ids[key]) for key, id in self.acknowledged.items() if ids[key] != id}
        changed = {key: pair for key, pair in changed.items() if key not in aliased}
        assert not changed, f"of {len(ids)} messages ids that were acknowledged changed: {changed}"
        assert not self.impolite, self.impolite[:3]


async def everything(client: Client, peer: str) -> list[Message]:
    return [message async for message in client.history(peer)]


class Reader:
    """A client that follows its updates over everything that happens, and knows what it was shown first and again."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.firsts: Counter[str] = Counter()
        """By message key."""
        self.task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for update in self.client.updates():
            if update.message is not None and update.first:
                self.firsts[update.message.key] += 1

    async def following(self) -> None:
        async def has_begun() -> bool:
            if self.task.done():
                self.task.result()
            return self.client.position is not None

        assert await until(has_begun, RECOVER_S_MAX), "no cursor"

    async def got(self, keys: Iterable[str]) -> None:
        """Returns when all of these came; nothing may have come twice."""
        wanted = set(keys)

        async def complete() -> bool:
            if self.task.done():
                self.task.result()
            return wanted <= self.firsts.keys()

        assert await until(complete, RECOVER_S_MAX), f"{len(wanted - self.firsts.keys())} of {len(wanted)} missed"
        assert not {key for key, count in self.firsts.items() if count > 1}, "a message was shown as new twice"
        assert self.client.stats.missed == 0

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.client.close()


@asynccontextmanager
async def loaded(
    planet: Planet, name: str, region: str = "fra", reads_in: str = "", several: bool = False
) -> AsyncIterator[tuple[Site, Load, Reader]]:
    """A writer to a reader (at home in `reads_in`, default: the same region), both new; `several`: see Load. At the
    end writing must work again, and nothing may be missing anywhere."""
    site, home = planet.site(region), planet.site(reads_in or region)
    writer, reader = f"U{name}-writer", f"U{name}-reader"
    token, reader_token = await user(planet, writer, region), await user(planet, reader, home.name)
    assert await until(lambda: is_read(site, token, f"/v1/users/{reader}"), RECOVER_S_MAX), "news of users is slow"
    following = Reader(Client([home.url], reader_token, user=reader, options=QUICK))
    client = Client([site.url], token, user=writer, options=QUICK)
    try:
        await following.following()
        load = Load(site.url, token, reader, several=several)
        async with load.running():
            await load.more()
            yield site, load, following
            await load.more()
        await load.resolve()
        await load.check(client)
        await following.got(load.acknowledged)
    finally:
        await following.close()
        await client.close()


async def digests(planet: Planet) -> set[str]:
    """At one frontier in all datacenters; who stands still says why in the error's notes."""
    async with AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(sys_of(planet, name)) for name in planet.sites}
        try:
            found = await equal_frontiers(clients, RECOVER_S_MAX)
        except Conflict as error:
            for name, client in clients.items():
                said = await client.call("GET", "/sys/v1/status")
                error.add_note(f"{name}: {[said[part] for part in ('durable', 'applied', 'replication', 'peers')]}")
            raise
    return {answer["digest"]["total"] for answer in found.values()}


async def check_log(site: Site) -> None:
    """Every lane is dense from its first record, and chained."""
    log = await ValkeyLog.connect(f"redis://127.0.0.1:{site.ports.log}/0")
    try:
        for lane, top in (await log.tops()).items():
            records = []
            while more := await log.read(lane, len(records), 500):
                records += more
            assert [record.seq for record in records] == list(range(1, top.seq + 1))
            before = GENESIS
            for record in records:
                assert record.hash == chain(before, lane, record.seq, record.id, record.kind, record.body)
                before = record.hash
            assert before == top.hash
    finally:
        await log.close()


async def is_read(site: Site, token: str, path: str = "/v1/me") -> bool:
    async with aiohttp.ClientSession() as session:
        return (await request(session, "GET", f"{site.url}{path}", token)).acknowledged


async def missing(site: Site) -> dict[str, str]:
    """What /readyz names; nothing when it is ready, and nothing when nobody listens."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{site.url}/readyz") as answer:
            body = await answer.json()
            assert (answer.status == 200) == (not body["missing"])
            return dict(body["missing"])
    except aiohttp.ClientError:
        return {}


@dataclass(frozen=True)
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


_ONE_AT_A_TIME = threading.Lock()


async def planb(*words: str) -> Ran:
    """Runs `planb …` to its end, in a thread: a process of its own takes a second to start."""
    return await asyncio.to_thread(_planb, words)


def _planb(words: Sequence[str]) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    with _ONE_AT_A_TIME, redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as wrong_use:
            code = int(wrong_use.code or 0)
        except Exception:
            traceback.print_exc()
            code = 1
    return Ran(code, out.getvalue(), err.getvalue())


async def planb_process(*words: str) -> asyncio.subprocess.Process:
    """The same as a process."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli.main", *words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )


async def finished(process: asyncio.subprocess.Process, timeout_s: float = 60.0) -> Ran:
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())
