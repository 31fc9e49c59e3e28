"""A process's way to its disks: every call takes time, may fail before or after it was done, and ends with the process.

What goes to a server (log, hot store) may still arrive when the process that sent it is dead; what goes to a file does
not. `Trouble` says how bad the day is.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from core import limits
from core.errors import LogUnavailable, OutcomeUnknown, PlanBError, StoreUnavailable
from core.messages import Row
from events.ports import Top
from stores.ports import Frontier
from tests.simulation.disks import Disks, Messages
from tests.simulation.loop import OUTSIDE, Process, SimLoop

FOREVER_S = 24 * 3_600.0


class Trap(NamedTuple):
    """Kills the process that makes the next call of this kind."""

    call: str
    """store.method"""
    prefix: str
    """Of the first argument."""
    done: bool
    """After the store has done it, in place of before."""
    sprung: Callable[[], None]

    def takes(self, store: str, method: str, args: Sequence[Any], done: bool) -> bool:
        return (
            (self.call, self.done) == (f"{store}.{method}", done)
            and (not self.prefix or (bool(args) and str(args[0]).startswith(self.prefix)))
        )  # fmt: skip


STORES = ("log", "relational", "messages", "hot", "objects")


class Trouble:
    """Of one datacenter's stores, now."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.errors: dict[str, float] = {}
        """store -> share of calls that fail."""
        self.slow_s: dict[str, float] = {}
        """store -> up to how long a call takes."""
        self.deaf = 0.0
        """Share of announcements that are lost."""
        self.trap: Trap | None = None
        self.counts: Counter[str] = Counter()

    def clear(self) -> None:
        self.trap = None
        self.errors.clear()
        self.slow_s.clear()
        self.deaf = 0.0

    def fails(self, store: str) -> bool:
        share = self.errors.get(store)
        if share is None or self.random.random() >= share:
            return False
        self.counts[f"{store} error"] += 1
        return True

    async def pause(self, store: str, most_s: float) -> None:
        slow_s = self.slow_s.get(store)
        if slow_s is not None and self.random.random() < 0.3:
            self.counts[f"{store} slow"] += 1
            await asyncio.sleep(self.random.random() * slow_s)
        elif self.random.random() < 0.3:
            await asyncio.sleep(self.random.random() * most_s)


READS_S = 0.001
WRITES_S = 0.003


class _Store:
    """`name` is the store's; what is not defined here is passed on."""

    name = ""
    target: Any

    def __init__(self, target: Any, process: Process, trouble: Trouble, loop: SimLoop) -> None:
        self.target = target
        self._process = process
        self._trouble = trouble
        self._loop = loop

    def _error(self, sent: bool) -> PlanBError:
        return StoreUnavailable(private=f"simulated: {self.name}, {'after' if sent else 'before'}")

    async def _trapped(self, method: str, args: Sequence[Any], done: bool) -> None:
        """Does not return where a trap waits for this call."""
        trap = self._trouble.trap
        if trap is None or not trap.takes(self.name, method, args, done):
            return
        self._trouble.trap = None
        trap.sprung()
        process = self._process
        process.fuse = 1
        self._loop.call_soon(self._loop.kill, process, context=OUTSIDE.context())
        await asyncio.sleep(FOREVER_S)

    async def _do(self, method: Callable[..., Any], *args: Any, most_s: float = READS_S, **more: Any) -> Any:
        trouble = self._trouble
        if trouble.trap is not None:
            await self._trapped(method.__name__, args, False)
        await trouble.pause(self.name, most_s)
        if trouble.fails(self.name):
            raise self._error(False)
        result = await method(*args, **more)
        if trouble.trap is not None:
            await self._trapped(method.__name__, args, True)
        if most_s > READS_S:
            await trouble.pause(self.name, most_s)
            if trouble.fails(self.name):
                raise self._error(True)
        return result

    async def _far(self, method: Callable[..., Any], *args: Any) -> Any:
        """On a server: it is done there, or not, whatever becomes of us meanwhile."""
        trouble = self._trouble
        if trouble.trap is not None:
            await self._trapped(method.__name__, args, False)
        if trouble.fails(self.name):
            raise self._error(False)
        done: asyncio.Future[Any] = self._loop.create_future()

        async def there() -> None:
            await trouble.pause(self.name, WRITES_S)
            if self._process.dead and trouble.random.random() < 0.5:
                return
            try:
                result = await method(*args)
            except Exception as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(result)

        self._loop.start(OUTSIDE, there(), f"{self.name} server")
        result = await done
        if trouble.trap is not None:
            await self._trapped(method.__name__, args, True)
        await trouble.pause(self.name, WRITES_S)
        if trouble.fails(self.name):
            raise self._error(True)
        return result

    async def _pages(self, pages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for page in pages:
            await self._trouble.pause(self.name, WRITES_S)
            if self._trouble.fails(self.name):
                raise self._error(False)
            yield page

    async def close(self) -> None:
        """The server stays."""


def _reads(*names: str) -> Callable[[type[_Store]], type[_Store]]:
    def add(kind: type[_Store]) -> type[_Store]:
        for name in names:

            def method(self: _Store, *args: Any, name: str = name, **more: Any) -> Any:
                return self._do(getattr(self.target, name), *args, **more)

            setattr(kind, name, method)
        return kind

    return add


def _writes(*names: str) -> Callable[[type[_Store]], type[_Store]]:
    def add(kind: type[_Store]) -> type[_Store]:
        for name in names:

            def method(self: _Store, *args: Any, name: str = name) -> Any:
                return self._do(getattr(self.target, name), *args, most_s=WRITES_S)

            setattr(kind, name, method)
        return kind

    return add


def _sent(*names: str) -> Callable[[type[_Store]], type[_Store]]:
    def add(kind: type[_Store]) -> type[_Store]:
        for name in names:

            def method(self: _Store, *args: Any, name: str = name) -> Any:
                return self._far(getattr(self.target, name), *args)

            setattr(kind, name, method)
        return kind

    return add


@_reads("read", "tops", "seed", "trim")
@_sent("open", "append", "store")
class LogClient(_Store):
    name = "log"

    def _error(self, sent: bool) -> PlanBError:
        return OutcomeUnknown("simulated") if sent else LogUnavailable("simulated")

    async def follow(self) -> AsyncIterator[Mapping[int, Top]]:
        async for grown in self.target.follow():
            await self._trouble.pause(self.name, READS_S)
            if self._trouble.fails(self.name):
                raise LogUnavailable("simulated")
            yield grown


@_reads("frontier", "rows", "some", "page", "pages", "result", "results", "parked", "conflicts", "meta")
@_writes("apply", "set_meta", "load", "set_frontier", "collect")
class RelationalClient(_Store):
    name = "relational"

    def dump(self, table: str) -> AsyncIterator[Any]:
        return self._pages(self.target.dump(table))


@_reads(
    "epoch",
    "frontier",
    "updates",
    "trimmed",
    "pts",
    "seen",
    "dialogs",
    "tops",
    "unread",
    "result",
    "results_of",
    "online",
)
@_sent("begin", "publish_epoch", "decide", "apply", "present")
class HotClient(_Store):
    name = "hot"

    async def announce(self, frame: bytes) -> None:
        if self._trouble.deaf and self._trouble.random.random() < self._trouble.deaf:
            self._trouble.counts["announcement lost"] += 1
            return
        await self._do(self.target.announce, frame)

    async def listen(self) -> AsyncIterator[bytes]:
        async for frame in self.target.listen():
            yield frame


@_reads("get", "exists")
@_writes("put", "put_new", "delete")
class ObjectsClient(_Store):
    name = "objects"

    def list(self, prefix: str) -> AsyncIterator[str]:
        return self._keys(prefix)

    async def _keys(self, prefix: str) -> AsyncIterator[str]:
        await self._trouble.pause(self.name, WRITES_S)
        if self._trouble.fails(self.name):
            raise self._error(False)
        async for key in self.target.list(prefix):
            yield key


def _drained(*names: str) -> Callable[[type["MessagesClient"]], type["MessagesClient"]]:
    def add(kind: type["MessagesClient"]) -> type["MessagesClient"]:
        for name in names:

            def method(self: "MessagesClient", *args: Any, name: str = name, **more: Any) -> Any:
                return self._read(getattr(self.target, name), *args, **more)

            setattr(kind, name, method)
        return kind

    return add


@_drained("page", "rows_of", "tops", "recent", "sent_since")
class MessagesClient(_Store):
    """Writes behind, as the adapter over SQLite: what is queued dies with the process; reads wait for it."""

    name = "messages"
    target: Messages

    def __init__(self, target: Messages, process: Process, trouble: Trouble, loop: SimLoop) -> None:
        super().__init__(target, process, trouble, loop)
        self._queue: list[tuple[Sequence[Row], Frontier]] = []
        self._put = asyncio.Event()
        self._hurry = asyncio.Event()
        self._moved = asyncio.Event()
        self._failing = False
        self._number = self._written = 0
        self._task = loop.create_task(self._write_behind(), name="messages behind")

    def put(self, rows: Sequence[Row], frontier: Frontier) -> None:
        self._queue.append((rows, dict(frontier)))
        self._number += 1
        self._put.set()

    async def ready(self) -> None:
        if self._failing and len(self._queue) > 20:
            raise StoreUnavailable(private="simulated: messages can't be written")

    async def written(self) -> None:
        await self._drain()

    async def flush(self) -> None:
        await self._drain()
        await self.target.flush()

    async def _drain(self) -> None:
        wanted = self._number
        while self._written < wanted:
            self._hurry.set()
            moved = self._moved
            await moved.wait()
            if self._failing:
                raise StoreUnavailable(private="simulated: messages can't be written")

    async def _write_behind(self) -> None:
        while True:
            await self._put.wait()
            try:
                async with asyncio.timeout(limits.MESSAGE_LINGER_MS / 1000):
                    await self._hurry.wait()
            except TimeoutError:
                pass
            self._put.clear()
            self._hurry.clear()
            batch = list(self._queue)
            while True:
                await self._trouble.pause(self.name, WRITES_S)
                self._failing = self._trouble.fails(self.name)
                if not self._failing:
                    break
                self._notify()
                await asyncio.sleep(0.05 + self._trouble.random.random())
            await self._trapped("put", batch, False)
            for rows, frontier in batch:
                self.target.put(rows, frontier)
            await self._trapped("put", batch, True)
            del self._queue[: len(batch)]
            self._written += len(batch)
            self._notify()

    def _notify(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _read(self, method: Callable[..., Any], *args: Any, **more: Any) -> Any:
        await self._drain()
        return await self._do(method, *args, **more)

    async def frontier(self) -> Frontier:
        found: Frontier = await self._do(self.target.frontier)
        return found

    async def dump(self) -> AsyncIterator[list[Row]]:
        await self._drain()
        async for page in self._pages(self.target.dump()):
            yield page

    async def load(self, rows: Sequence[Row]) -> None:
        await self._do(self.target.load, rows, most_s=WRITES_S)

    async def set_frontier(self, frontier: Frontier) -> None:
        await self._drain()
        await self._do(self.target.set_frontier, frontier, most_s=WRITES_S)

    async def close(self) -> None:
        try:
            await self.flush()
        finally:
            self._task.cancel()


class Clients:
    """One process's clients of all stores."""

    def __init__(self, disks: Disks, process: Process, trouble: Trouble, loop: SimLoop) -> None:
        self.log = LogClient(disks.log, process, trouble, loop)
        self.relational = RelationalClient(disks.relational, process, trouble, loop)
        self.messages = MessagesClient(disks.messages, process, trouble, loop)
        self.hot = HotClient(disks.hot, process, trouble, loop)
        self.objects = ObjectsClient(disks.bucket, process, trouble, loop)
