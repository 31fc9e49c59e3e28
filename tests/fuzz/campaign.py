"""Hostile clients against two datacenters as real processes, and all that must hold meanwhile and after."""

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

from cli.operate import equal_frontiers
from cli.planet import Planet, Site
from cli.waiting import until
from core.errors import PlanBError
from tests.fuzz import odd, streams, watching
from tests.fuzz.pipes import Answer, Lost, Pipe
from tests.fuzz.report import Report
from tests.fuzz.shots import Known, Shot, Shots
from tests.fuzz.sys_shots import GHOST, SysShots
from tests.support.bad_days import RECOVER_S_MAX, is_read, sys_of, user
from tests.support.conformance import Conformance
from tests.support.routes import DOCUMENT

HOME, AWAY = "fra", "iad"
USERS = 6
CHECK_EVERY = 40
"""Of so many answers one is held against the API's description."""
WARM = 0.4
"""The share of a run after which memory is measured for the first time."""
WARM_MIB = 224.0
"""A process that uses less may not be warm yet: its allocator and its caches fill up in the first 50,000 requests."""
MEMORY_MIB_MAX = 32.0
"""How much more a process may use at the end than when it was warm, whatever the number of requests …"""
MEMORY_KIB_OF_WRITE = 6.0
"""… and on top of it for each acknowledged write: rows in bounded caches, and in the hot store a day's results."""
DESCRIPTORS_MAX = 24
"""How many more, once all hostile clients have gone."""
PUBLIC_PIPES, SYS_PIPES, ODD, STREAMS = 24, 8, 3, 3


class Campaign:
    """One run. `requests` and `seconds`: it ends with whichever comes first."""

    def __init__(self, home: Path, seed: int, requests: int, seconds: float) -> None:
        self.report = Report(seed)
        self._seed = seed
        self._requests = requests
        self._seconds = seconds
        self._planet = Planet(home, (HOME, AWAY, GHOST), public={"rates": {"writes": 0, "reads": 0}})
        self._conformance = Conformance(DOCUMENT)
        self._renewing: set[str] = set()
        self._begun = 0.0
        self._warm: dict[str, watching.Used] = {}
        self._warm_writes = 0

    async def run(self) -> Report:
        sites = [self._planet.site(name) for name in (HOME, AWAY)]
        try:
            for link in self._planet.links.values():
                await link.start()
            await asyncio.gather(*(site.start() for site in sites))
            await asyncio.gather(*(site.ready() for site in sites))
            async with watching.ordinary(self._planet, HOME, AWAY) as ordinary:
                await self._attack(sites, ordinary)
                self.report.ordinary = {"acknowledged": len(ordinary.sent), "told_to_come_again": ordinary.refused}
                for problem in await ordinary.check():
                    self.report.found(problem)
            await self._equal()
            for site in sites:
                for failure in sorted(set(watching.failures(site)))[:10]:
                    self.report.found(f"{site.name} logged an unexpected error: {failure}")
        finally:
            await self._planet.stop()
        return self.report

    # -- clients

    async def _attack(self, sites: list[Site], ordinary: watching.Ordinary) -> None:
        known = await self._prepare(sites)
        ordinary.told = lambda conversation, id: known.foreign.extend((conversation.encode(), id.encode()))
        idle = _used(sites)
        public = [site.ports.public for site in sites]
        shots = Shots(DOCUMENT, Random(f"{self._seed} public"), known)
        sys_key = self._planet.sys_key
        ghost = (self._planet.home / "keys" / f"{GHOST}.signing.key").read_bytes()
        sys_shots = SysShots(Random(f"{self._seed} sys"), known, HOME, sys_key, ghost)
        rng = Random(f"{self._seed} odd")
        victims = {name: (await user(self._planet, name, HOME)).encode() for name in ("Uvictim", "Ufriend")}
        victim, to = victims["Uvictim"], b"Ufriend"

        async def odd_one() -> None:
            for status in await odd.one(rng, rng.choice(public), victim, to):
                self._told("odd shapes", status)

        async def stream_one() -> None:
            statuses, received = await streams.one(rng, rng.choice(public), known)
            for status in statuses:
                self._told("streams", status)
            if watching.SECRET.encode() in received:
                self.report.found("a stream told what others wrote")

        self._begun = time.monotonic()
        clients: list[Coroutine[Any, Any, None]] = []
        clients += [self._pipe(public[n % 2], shots.next, self._judge_public, rng, known) for n in range(PUBLIC_PIPES)]
        clients += [
            self._pipe(sites[0].ports.sys, sys_shots.next, self._judge_sys, rng, known) for _ in range(SYS_PIPES)
        ]
        clients += [self._again(odd_one) for _ in range(ODD)] + [self._again(stream_one) for _ in range(STREAMS)]
        writing = asyncio.create_task(ordinary.write())
        watch = asyncio.create_task(self._watch(sites))
        try:
            await asyncio.gather(*clients)
        finally:
            writing.cancel()
            watch.cancel()
            told = await asyncio.gather(writing, watch, return_exceptions=True)
        self.report.seconds = time.monotonic() - self._begun
        if isinstance(told[0], Exception) and not isinstance(told[0], asyncio.CancelledError):
            self.report.found(f"an ordinary user could not write: {told[0]}")
        await self._measure(sites, idle)
        await self._smuggled(sites, victim, to)

    async def _prepare(self, sites: list[Site]) -> Known:
        names = [f"Ufuzz-{number}" for number in range(USERS)]
        tokens = {name: await user(self._planet, name, HOME) for name in names}
        for site in sites:
            assert await until(lambda: is_read(site, tokens[names[-1]], f"/v1/users/{names[-1]}"), RECOVER_S_MAX)  # noqa: B023
        chats = []
        pipe = await Pipe.open(sites[0].ports.public)
        for kind in ("group", "supergroup"):
            body = json.dumps({"kind": kind, "title": kind, "users": names[1:]}).encode()
            chats.append(json.loads((await self._post(pipe, "/v1/chats", tokens[names[0]], body)).body)["chat"])
        body = json.dumps({"to": names[1], "text": "first"}).encode()
        sent = json.loads((await self._post(pipe, "/v1/messages", tokens[names[0]], body)).body)
        pipe.close()
        return Known(tokens, [*chats, sent["conversation"]])

    @staticmethod
    async def _post(pipe: Pipe, path: str, token: str, body: bytes) -> Answer:
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: planb",
            f"Authorization: Bearer {token}",
            f"Content-Length: {len(body)}",
        ]
        (answer,) = await pipe.ask("\r\n".join([*lines, "", ""]).encode() + body)
        assert answer.status == 200, answer
        return answer

    @property
    def _done(self) -> bool:
        return self.report.requests >= self._requests or time.monotonic() - self._begun > self._seconds

    async def _again(self, one: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while not self._done:
            try:
                await one()
            except OSError as error:
                self.report.found(f"a connection was refused: {error}")
                return

    async def _pipe(
        self,
        port: int,
        make: Callable[[], Shot],
        judge: Callable[[Shot, Answer, Known], None],
        rng: Random,
        known: Known,
    ) -> None:
        pipe: Pipe | None = None
        while not self._done:
            shots = [make() for _ in range(1 if rng.random() < 0.95 else rng.randrange(2, 5))]
            data = b"".join(shot.data for shot in shots)
            if pipe is None or pipe.closed:
                pipe = await Pipe.open(port)
            try:
                answers = await pipe.ask(data, len(shots))
            except Lost as error:
                answers = error.answers
            except TimeoutError:
                self.report.found(f"no answer: {shots[0].route}", data)
                answers = []
            for shot, answer in zip(shots, answers, strict=False):
                judge(shot, answer, known)
            for shot in shots[len(answers) :]:
                self.report.count(shot.route, "closed")
            if len(answers) < len(shots) or any(answer.status in (101, 400) and _closes(answer) for answer in answers):
                pipe.close()
                pipe = None
        if pipe is not None:
            pipe.close()

    # -- answers

    def _told(self, route: str, status: int, data: bytes = b"", answer: Answer | None = None) -> None:
        self.report.count(route, status)
        if status >= 500 and status != 503:
            self.report.found(f"{status}: {route}", data, answer)
        if answer is None:
            return
        if status == 503 and route != "GET /readyz" and not answer.header(b"Retry-After"):
            self.report.found(f"503 without Retry-After: {route}", data, answer)

    def _judge_public(self, shot: Shot, answer: Answer, known: Known) -> None:
        self._told(shot.route, answer.status, shot.data, answer)
        if watching.SECRET.encode() in answer.body:
            self.report.found(f"told what others wrote: {shot.route}", shot.data, answer)
        if answer.status == 200:
            known.learn(shot, answer)
            self.report.writes += shot.method != "GET" and shot.path != "/v1/updates"
        elif (
            answer.status == 401
            and shot.user
            and shot.user not in self._renewing
            and b"/v1/login" not in shot.data[:30]
        ):
            self._renewing.add(shot.user)
            asyncio.ensure_future(self._renew(shot.user, known))  # noqa: RUF006
        if not self.report.requests % CHECK_EVERY and not _before_a_request(answer):
            self._conform(shot, answer)

    def _conform(self, shot: Shot, answer: Answer) -> None:
        lines = (line.partition(b": ") for line in answer.head.split(b"\r\n")[1:])
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, _, value in lines}
        try:
            body = json.loads(answer.body) if b"json" in answer.header(b"Content-Type") else answer.body.decode()
            self._conformance.check(shot.method, shot.path, answer.status, headers, body)
        except (AssertionError, ValueError) as error:
            self.report.found(f"not as described: {str(error)[:400]}", shot.data, answer)

    def _judge_sys(self, shot: Shot, answer: Answer, known: Known) -> None:
        self._told(shot.route, answer.status, shot.data, answer)

    async def _renew(self, name: str, known: Known) -> None:
        """His session was revoked by somebody: a new one."""
        try:
            async with sys_of(self._planet, HOME) as sys:
                made = await sys.call("POST", "/sys/v1/tokens", {"user": name, "device": "fuzz"}, key=str(uuid.uuid4()))
            known.tokens[name] = str(made["token"]).encode()
        except PlanBError as error:
            if error.status != 503:  # his next 401 asks again
                self.report.found(f"no token for {name}: {error.detail}")
        finally:
            self._renewing.discard(name)

    # -- what must hold

    async def _watch(self, sites: list[Site]) -> None:
        """What is used, and how much was written, at the time from which memory may not grow."""
        while not self._warm:
            share = (time.monotonic() - self._begun) / self._seconds
            if max(share, self.report.requests / self._requests) >= WARM:
                self._warm = _used(sites)
                self._warm_writes = self.report.writes
            await asyncio.sleep(0.1)  # a period, not a condition

    async def _measure(self, sites: list[Site], idle: dict[str, watching.Used]) -> None:
        async def released() -> bool:
            return all(
                now.descriptors <= idle[name].descriptors + DESCRIPTORS_MAX for name, now in _used(sites).items()
            )

        if not await until(released, RECOVER_S_MAX):
            self.report.found("descriptors stay open after the hostile clients have gone")
        most = MEMORY_MIB_MAX + MEMORY_KIB_OF_WRITE * (self.report.writes - self._warm_writes) / 1024
        for name, now in _used(sites).items():
            warm = self._warm.get(name, idle[name])
            self.report.processes[name] = {
                "rss_mib": {"idle": idle[name].rss_mib, "warm": warm.rss_mib, "after": now.rss_mib},
                "descriptors": {"idle": idle[name].descriptors, "warm": warm.descriptors, "after": now.descriptors},
                "cpu_s": round(now.cpu_s - idle[name].cpu_s, 1),
            }
            if now.rss_mib > (allowed := max(warm.rss_mib, WARM_MIB) + most):
                grew = f"{name} grew from {warm.rss_mib:.0f} to {now.rss_mib:.0f} MiB"
                self.report.found(f"{grew}; allowed are {allowed:.0f}")

    async def _smuggled(self, sites: list[Site], token: bytes, peer: bytes) -> None:
        """What stood inside bodies was never taken for a request."""
        pipe = await Pipe.open(sites[0].ports.public)
        path, before = b"/v1/dialogs/%b/messages?limit=100" % peer, b""
        while True:
            head = b"GET %b%b HTTP/1.1\r\nHost: planb\r\nAuthorization: Bearer %b\r\n\r\n" % (path, before, token)
            (answer,) = await pipe.ask(head)
            page = json.loads(answer.body)
            if answer.status != 200:
                self.report.found("the victim's messages can't be read", head, answer)
                break
            if any(message["text"] == odd.SMUGGLED for message in page["messages"]):
                self.report.found("a request inside a body was taken for one")
            if page["next_before"] is None:
                break
            before = b"&before=" + page["next_before"].encode()
        pipe.close()

    async def _equal(self) -> None:
        async with AsyncExitStack() as stack:
            clients = {name: await stack.enter_async_context(sys_of(self._planet, name)) for name in (HOME, AWAY)}
            try:
                found = await equal_frontiers(clients, RECOVER_S_MAX)
            except PlanBError as error:
                self.report.found(f"the datacenters do not come to one frontier: {error.detail}")
                return
        if len({answer["digest"]["total"] for answer in found.values()}) > 1:
            self.report.found("the datacenters' digests differ")


def _used(sites: list[Site]) -> dict[str, watching.Used]:
    return {name: used for site in sites for name, used in watching.used(site).items()}


def _closes(answer: Answer) -> bool:
    return answer.status == 101 or answer.header(b"Connection").lower() == b"close"


def _before_a_request(answer: Answer) -> bool:
    """What is refused before there is a request, and told in plain text (docs/errors.md)."""
    return answer.status in (400, 417) and answer.header(b"Content-Type").startswith(b"text/plain")
