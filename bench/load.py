"""The load generator: a process of its own that sends messages, listens, and reads the servers' CPU at both ends.

It gets a `Load` as JSON on stdin and answers a `Loaded` as JSON on stdout: `python -m bench.load`.
"""

import asyncio
import re
import resource
import sys
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Sequence
from typing import Any

import msgspec
import uvloop

from bench import cpu
from bench.sockets import Http, Stream

TEXT = "Have you seen the figures? They are better than I thought."
LISTEN_S_MAX = 20.0
DRAIN_S_MAX = 3.0
_SENT = re.compile(rb'"text":"t=(\d+) ')


class Sender(msgspec.Struct):
    token: str
    to: str


class Listener(msgspec.Struct):
    port: int
    token: str
    label: str
    """Latencies are summed up by it: the DC that it listens at."""


class Load(msgspec.Struct):
    """One phase of load. Every sender has a connection and at most one request under way."""

    port: int
    senders: list[Sender]
    seconds: float
    warm_s: float = 0.5
    """Load before the measuring begins."""
    rate_s: float = 0
    """Messages a second over all senders; 0: as many as the server takes."""
    batch: int = 0
    """Messages per request, by /v1/messages/batch; 0: one by one."""
    messages_max: int = 0
    """Ends the phase early; 0: no bound."""
    listeners: list[Listener] = []
    pids: dict[str, int] = {}
    """The processes whose CPU is read."""
    path: str = ""
    """POST there instead, with the same body."""


class Summary(msgspec.Struct):
    """Of latencies, in ms."""

    count: int
    p50_ms: float
    p99_ms: float


class Loaded(msgspec.Struct):
    """What happened while it was measured."""

    seconds: float
    messages: int
    """Answered with success."""
    failures: dict[str, int]
    """HTTP status -> how many."""
    latency: Summary
    """Request to answer."""
    heard: dict[str, Summary]
    """By label: from a message's request to its frame on the websocket, one sample per delivery."""
    cpu_s: dict[str, float]
    """Of the processes asked for, and "load": this one."""
    late: int
    """Sends at a rate that found no free sender."""


class Generator:
    """Runs one phase."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._begun: dict[Http, float] = {}
        self._sender_of: dict[Http, Sender] = {}
        self._idle: deque[Http] = deque()
        self._latencies: list[float] = []
        self._heard: dict[str, list[float]] = {}
        self._messages = 0
        self._sent = 0
        self._late = 0
        self._failures: Counter[str] = Counter()
        self._running = True
        self._measuring = False
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._path = load.path or ("/v1/messages/batch" if load.batch else "/v1/messages")

    async def run(self) -> Loaded:
        loop = asyncio.get_running_loop()
        streams = await self._listen()
        for sender in self._load.senders:
            _, client = await loop.create_connection(
                lambda: Http(self._answered, self._lost), "127.0.0.1", self._load.port
            )
            self._sender_of[client] = sender
            self._idle.append(client)
        try:
            return await self._phase()
        finally:
            for client in self._sender_of:
                client.close()
            for stream in streams:
                stream.close()

    async def _listen(self) -> list[Stream]:
        loop = asyncio.get_running_loop()
        streams: list[Stream] = []
        for one in self._load.listeners:
            heard = self._heard.setdefault(one.label, [])
            _, stream = await loop.create_connection(
                lambda one=one, heard=heard: Stream(one.token, lambda frame: self._hear(heard, frame), self._lost),  # type: ignore[misc]
                "127.0.0.1",
                one.port,
            )
            streams.append(stream)
        async with asyncio.timeout(LISTEN_S_MAX):
            await self._or_broken(asyncio.gather(*(stream.greeted for stream in streams)))
        return streams

    async def _phase(self) -> Loaded:
        load = self._load
        pacing = asyncio.create_task(self._pace()) if load.rate_s else None
        if pacing is None:
            while self._idle:
                self._send(self._idle.popleft())
        await self._or_broken(asyncio.sleep(load.warm_s))
        self._measuring = True
        before, own, began = cpu.read(load.pids), _own_cpu_s(), time.perf_counter()
        await self._until(began + load.seconds)
        self._measuring = False
        after, ended = cpu.read(load.pids), time.perf_counter()
        used = cpu.spent(before, after) | {"load": _own_cpu_s() - own}
        self._running = False
        if pacing is not None:
            pacing.cancel()
        await self._drained()
        return Loaded(
            ended - began, self._messages, dict(self._failures), summary(self._latencies),
            {label: summary(found) for label, found in self._heard.items()}, used, self._late,
        )  # fmt: skip

    async def _until(self, end: float) -> None:
        """Until the time is up or the wanted number was answered."""
        while (left := end - time.perf_counter()) > 0:
            await self._or_broken(asyncio.sleep(min(left, 0.01)))
            if self._load.messages_max and self._messages >= self._load.messages_max:
                return

    async def _drained(self) -> None:
        """Requests under way end, so that none of this phase is paid for in the next."""
        end = time.perf_counter() + DRAIN_S_MAX
        while len(self._idle) < len(self._sender_of) and time.perf_counter() < end:
            await self._or_broken(asyncio.sleep(0.01))

    async def _or_broken(self, work: Awaitable[object]) -> None:
        task = asyncio.ensure_future(work)
        waited: tuple[asyncio.Future[Any], ...] = (task, self._broken)
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if self._broken.done():
            task.cancel()
            await self._broken
        await task

    async def _pace(self) -> None:
        """Sends at the wanted rate, whatever the answers do."""
        begin = time.perf_counter()
        due = 0
        while True:
            await asyncio.sleep(max(0.001, begin + due / self._load.rate_s - time.perf_counter()))
            while due < (time.perf_counter() - begin) * self._load.rate_s:
                due += 1
                if self._idle:
                    self._send(self._idle.popleft())
                else:
                    self._late += 1

    def _send(self, client: Http) -> None:
        sender = self._sender_of[client]
        self._sent += 1
        now = time.perf_counter()
        self._begun[client] = now
        if self._load.batch:
            messages = [{"key": str(uuid.uuid4()), "to": sender.to, "text": TEXT} for _ in range(self._load.batch)]
            client.post(self._path, sender.token, "", msgspec.json.encode({"messages": messages}))
            return
        body = b'{"to":"%b","text":"t=%d %b"}' % (sender.to.encode(), int(now * 1e9), TEXT.encode())
        client.post(self._path, sender.token, str(uuid.uuid4()), body)

    def _answered(self, client: Http, status: int, body: bytes) -> None:
        now = time.perf_counter()
        if self._measuring:
            problems = body.count(b'"problem"') if self._load.batch else 0
            if status == 200:
                self._messages += (self._load.batch or 1) - problems
                self._latencies.append(now - self._begun[client])
            if status != 200 or problems:
                self._failures[str(status) if status != 200 else "within a batch"] += problems or 1
        if self._running and not self._load.rate_s:
            self._send(client)
        else:
            self._idle.append(client)

    def _hear(self, heard: list[float], frame: bytes) -> None:
        if not self._measuring:
            return
        now = time.perf_counter()
        heard.extend(now - int(sent) / 1e9 for sent in _SENT.findall(frame))

    def _lost(self, why: str) -> None:
        if not self._broken.done():
            self._broken.set_exception(ConnectionError(why))


def summary(latencies_s: Sequence[float]) -> Summary:
    """Count and percentiles; all 0 where there is nothing."""
    ordered = sorted(latencies_s)
    if not ordered:
        return Summary(0, 0.0, 0.0)
    last = len(ordered) - 1
    return Summary(len(ordered), ordered[last * 50 // 100] * 1000, ordered[(last * 99 + 99) // 100] * 1000)


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _main() -> None:
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    sys.stdout.buffer.write(msgspec.json.encode(await Generator(load).run()))


async def run(load: Load) -> Loaded:
    """One phase, in a process of its own. RuntimeError with its last words if it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(msgspec.json.encode(load))
    if process.returncode != 0:
        raise RuntimeError(f"the load generator failed: {err.decode().strip().splitlines()[-1:]}")
    return msgspec.json.decode(out, type=Loaded)


if __name__ == "__main__":
    uvloop.run(_main())
