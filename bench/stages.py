"""Where a message's CPU goes, stage by stage: each stage's own function, alone, over real adapters and servers.

Alone means warm: a stage that is timed by itself finds its code and data in the caches, and nothing waits in between.
So the stages add up to less than what a message costs under load; the rest is the loop, its tasks and wake-ups, the
followers of the log, and the price of doing everything at once.
"""

import asyncio
import contextlib
import gc
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from api.clock_header import ClockHeader
from api.decoding import decode_object
from api.door import Door
from api.front import Front, Wire, ok
from api.guard import Guard
from api.intentions import fingerprint, fingerprint_key
from api.metrics import Metrics
from api.token_keys import TokenKeys, derived
from api.tokens import Caller, Tokens
from api.writes import validated
from bench import cpu
from bench.load import TEXT, Load, Sender, run
from bench.report import number, table
from cli.planet import Planet
from core import limits
from core.action import Origin
from core.actions.messages import Send
from core.clock import HybridClock
from core.event import Event
from core.ids import Lane
from core.system import entropy, wall_clock_ms
from core.tables import TABLES, Effect
from events.adapters.valkey import ValkeyLog
from events.codec import codec
from events.lane_batch import Batch, Group
from events.ports import Top
from events.record import GENESIS, KIND_EVENT
from events.signing import Signer
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore
from stores.adapters.valkey_hot import ValkeyHot
from stores.announce import Announcer
from stores.feeding import Feeds, feeds_of
from stores.plan import Planned, hot_changes, plan
from stores.ports import HotBatch, Mark, RelationalBatch, Stamped
from stores.progress import Progress
from stores.view import StoreView

USERS = 200
SIZE = 60
"""Messages in a batch: what a group commit takes at 200 clients."""
BATCHES = 100
HTTP_S = 2.0
EPOCH = 1
LANE = Lane(1, 0, 0).number

Figures = dict[str, object]


class Parts(NamedTuple):
    """The adapters of a datacenter, without its process."""

    log: ValkeyLog
    hot: ValkeyHot
    messages: SqliteMessageStore
    relational: SqliteRelationalStore
    view: StoreView
    pids: dict[str, int]


@contextlib.asynccontextmanager
async def _parts() -> AsyncIterator[Parts]:
    home = Path(tempfile.mkdtemp(prefix="planb-stages-"))
    site = Planet(home, ("fra",)).sites["fra"]
    try:
        await site.start_servers()
        (site.disks / "data").mkdir()
        log = await ValkeyLog.connect(f"redis://127.0.0.1:{site.ports.log}/0")
        hot = ValkeyHot(f"redis://127.0.0.1:{site.ports.hot}/0")
        messages = await SqliteMessageStore.open(site.disks / "data" / "messages.db")
        relational = await SqliteRelationalStore.open(site.disks / "data" / "relational.db", clock=wall_clock_ms)
        assert site.log.pid is not None and site.hot.pid is not None
        view = StoreView("fra", relational, messages, hot)
        try:
            await hot.begin(EPOCH)
            await hot.publish_epoch(EPOCH, {}, {})
            yield Parts(log, hot, messages, relational, view, {"log": site.log.pid, "hot": site.hot.pid})
        finally:
            for closing in (log, hot, messages, relational):
                await closing.close()
    finally:
        await site.stop()
        await asyncio.to_thread(shutil.rmtree, home, True)


class Stages:
    """Runs one stage after the other; each leaves behind what the next one needs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._clock = HybridClock(wall_clock_ms)
        self._progress = Progress()
        key = entropy(32)
        self._tokens = Tokens(TokenKeys([derived(key)]), parts.view, wall_clock_ms, entropy)
        self._clock_header = ClockHeader(key, self._clock, wall_clock_ms, self._progress)
        expires_ms = wall_clock_ms() + 86_400_000
        self._bearers = [f"Bearer {self._tokens.issue(f's{i}', f'Ub{i}', expires_ms)}" for i in range(USERS)]
        self._raw = [
            b'{"to":"Ub%d","text":"%b"}' % (n % USERS ^ 1, TEXT.encode()) for n in range(SIZE * BATCHES)
        ]  # fmt: skip
        self._keys = [entropy(16).hex() for _ in self._raw]
        self._fingerprint_key = fingerprint_key(entropy(32))
        self._callers: list[Caller] = []
        self._requests: list[tuple[Any, bytes]] = []
        self._args: list[Any] = []
        self._groups: list[Group] = []
        self._batches: list[Batch] = []
        self._planned: list[list[Planned]] = []
        self._feeds: list[Feeds] = []
        self._hot: list[HotBatch] = []
        self._pts: list[dict[str, int]] = []

    async def run(self) -> dict[str, dict[str, float]]:
        """Stage -> process -> µs a message."""
        await self._prepare()
        signer = Signer(entropy(32))
        await self._parts.log.open(LANE, b"bench")
        announcer = Announcer(self._parts.hot.announce, self._parts.view, {LANE}, lambda owner: True)
        found = {"socket, HTTP, a task": await self._http()}
        stages: dict[str, Callable[[range], Awaitable[None]]] = {
            "token, X-Clock": self._authenticate,
            "decode, validate, fingerprint": self._validate,
            "earlier answer of the key": self._earlier,
            "resolve": self._resolve,
            "event, codec": self._encode,
            "hash chain, signature": lambda numbers: self._chain(numbers, signer),
            "log append": self._append,
            "plan, feeds": self._plan,
            "hot state": self._apply_hot,
            "SQLite rows": self._rows,
            "announce": lambda numbers: self._announce(numbers, announcer),
        }
        for name, stage in stages.items():
            found[name] = await self._timed(stage)
        return found

    async def _prepare(self) -> None:
        effects = []
        for i in range(USERS):
            id = self._clock.take(LANE)
            effects.append(Stamped(id, Effect("users", (f"Ub{i}",), dict.fromkeys(TABLES["users"].columns, "x"))))
            session = {"user": f"Ub{i}", "device": "bench", "expires_ms": 1 << 50}
            effects.append(Stamped(id, Effect("sessions", (f"s{i}",), session)))
        await self._parts.relational.apply(RelationalBatch(effects, (), (), (), {}))
        self._progress.advance(LANE, Mark(1, self._clock.take(LANE)))
        for i in range(USERS):
            await self._tokens.of_header(self._bearers[i])
            await self._parts.view.user(f"Ub{i}")

    async def _timed(self, stage: Callable[[range], Awaitable[None]]) -> dict[str, float]:
        """A stage over all batches; µs a message here and in the servers."""
        before, begun = cpu.read(self._parts.pids), time.process_time()
        for at in range(BATCHES):
            await stage(range(at * SIZE, (at + 1) * SIZE))
        if stage == self._rows:
            await self._parts.messages.flush()
        here = time.process_time() - begun
        used = {"api": here} | cpu.spent(before, cpu.read(self._parts.pids))
        return {part: 1e6 * seconds / (SIZE * BATCHES) for part, seconds in used.items()}

    # -- the stages

    async def _http(self) -> dict[str, float]:
        """The front with a handler that does nothing, under load from another process."""
        clock = self._clock_header.value()

        class Nothing:
            async def alone(self, _headers: Mapping[str, str], _body: bytes) -> Wire:
                raise AssertionError("all are begun")

            def begin(self, _headers: Mapping[str, str], _body: bytes, _now_ms: int) -> bytes:
                return b'{"id":"647476605304596480","conversation":"D575074573674124574"}'

            async def finish(self, begun: Sequence[bytes]) -> list[Wire | Exception]:
                return [ok(body, {"X-Clock": clock}) for body in begun]

        def framework() -> asyncio.Protocol:
            raise AssertionError("the load is plain")

        guard = Guard(Metrics(), entropy)
        door = Door(limits.HTTP_CONNECTIONS_MAX, Metrics())
        front = Front({"/v1/messages": Nothing()}, guard, framework, lambda: True, wall_clock_ms, door)
        await front.start("127.0.0.1", 0, limits.REQUESTS_IN_FLIGHT_MAX)
        senders = [Sender(bearer[7:], f"Ub{i ^ 1}") for i, bearer in enumerate(self._bearers)]
        begun = time.process_time()
        done = await run(Load(front.port, senders, HTTP_S, warm_s=0))
        used = time.process_time() - begun
        await front.close(1)
        return {"api": 1e6 * used / done.messages, "log": 0.0, "hot": 0.0}

    async def _authenticate(self, numbers: range) -> None:
        clock = self._clock_header.value()
        for n in numbers:
            self._callers.append(await self._tokens.of_header(self._bearers[n % USERS]))
            self._clock_header.observe(clock)

    async def _validate(self, numbers: range) -> None:
        for n in numbers:
            fields = decode_object(self._raw[n])
            self._requests.append((validated(Send, fields), fingerprint(self._fingerprint_key, Send.name, fields)))

    async def _earlier(self, numbers: range) -> None:
        await asyncio.gather(*(self._parts.hot.result(self._callers[n].user, self._keys[n]) for n in numbers))

    async def _resolve(self, numbers: range) -> None:
        for n in numbers:
            caller = self._callers[n]
            origin = Origin(
                caller.user,
                self._keys[n],
                "fra",
                wall_clock_ms(),
                self._parts.view,
                entropy,
                fingerprint=self._requests[n][1],
            )
            self._args.append(await Send.resolve(self._requests[n][0], origin))

    async def _encode(self, numbers: range) -> None:
        coder = codec()
        for n in numbers:
            mark, actor = self._requests[n][1], self._callers[n].user
            event = Event(self._clock.take(LANE), Send.name, Send.version, actor, self._keys[n], mark, self._args[n])
            body = coder.encode(event)
            self._groups.append(Group(KIND_EVENT, [event.id], [body], [coder.decode(body)], patient=False))

    async def _chain(self, numbers: range, signer: Signer) -> None:
        top = Top.of(self._batches[-1].records[-1]) if self._batches else Top(0, 0, GENESIS)
        self._batches.append(Batch(LANE, top, [self._groups[n] for n in numbers], signer))

    async def _append(self, numbers: range) -> None:
        await self._parts.log.append(LANE, b"bench", self._batches[numbers.start // SIZE].records)

    async def _plan(self, numbers: range) -> None:
        entries = self._batches[numbers.start // SIZE].entries
        planned = [plan(entry, entry.event, Send) for entry in entries if entry.event is not None]
        feeds = await feeds_of(planned, self._parts.view, {}, lambda _: 0)
        moves = {LANE: (entries[0].seq - 1, Mark(entries[-1].seq, entries[-1].id))}
        self._planned.append(planned)
        self._feeds.append(feeds)
        self._hot.append(HotBatch(EPOCH, moves, feeds.feeds, feeds.back_feeds, **hot_changes(planned)._asdict()))

    async def _apply_hot(self, numbers: range) -> None:
        self._pts.append(await self._parts.hot.apply(self._hot[numbers.start // SIZE]))

    async def _rows(self, numbers: range) -> None:
        planned = self._planned[numbers.start // SIZE]
        last = planned[-1].entry
        await self._parts.messages.ready()
        self._parts.messages.put([row for item in planned for row in item.rows], {LANE: Mark(last.seq, last.id)})

    async def _announce(self, numbers: range, announcer: Announcer) -> None:
        at = numbers.start // SIZE
        await announcer.announce(self._planned[at], self._feeds[at], self._pts[at])


async def measure() -> dict[str, dict[str, float]]:
    """Stage -> process -> µs a message."""
    async with _parts() as parts:
        gc.disable()  # what the stages leave behind for one another is no garbage; under load, collecting is rare
        try:
            return await Stages(parts).run()
        finally:
            gc.enable()


def show(found: Mapping[str, Mapping[str, float]], under_load: Mapping[str, float]) -> str:
    """The table; `under_load`: process -> µs a message at 200 clients."""
    rows = [(name, *_cells(parts)) for name, parts in found.items()]
    together = {part: sum(parts[part] for parts in found.values()) for part in ("api", "log", "hot")}
    rest = {part: under_load[part] - together[part] for part in together}
    rows += [
        ("all stages", *_cells(together)),
        ("under load: loop, followers, cold caches", *_cells(rest)),
        ("a message at 200 clients", *_cells(under_load)),
    ]
    return table("Each stage alone, µs a message", ("stage", "api µs", "log µs", "hot µs", "together"), rows)


def _cells(parts: Mapping[str, float]) -> Sequence[str]:
    values = [parts[part] for part in ("api", "log", "hot")]
    return [number(value) for value in (*values, sum(values))]
