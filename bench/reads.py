"""What a look at the dialogs and into a history costs, where there are many of them: `make bench ARGS=--reads`.

The rows are written into the message store's file, past the API: one user's direct conversations over DAYS. Hot state
is then derived from them, as after a loss. Reads come one at a time, and each but that of the first page of dialogs is
of another place, so no cache of the process has what is asked for.
"""

import functools
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import uuid4

import aiohttp
import msgspec

from bench import cpu
from bench.load import summary
from bench.report import number, table
from bench.world import World
from core.ids import class_of, direct_conversation, make_id, tick_at
from core.system import wall_clock_ms
from core.tables import canonical
from stores.adapters import sqlite_message_sql as sql
from stores.adapters.sqlite_file import SqliteFile
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore

DAYS = 30
LANE = 1
TEXT = "x" * 100
READS = 200
DIALOGS_PAGE, HISTORY_PAGE = 20, 50
PART = 50_000
"""Rows in one statement."""
REBUILT_S_MAX = 3_600.0
"""Of hot state, from all rows: the usual wait for an answer is far too short for it."""

Figures = dict[str, object]
Read = Callable[[], Awaitable[object]]


class Scale(NamedTuple):
    dialogs: int
    messages: int


FULL = Scale(10_000, 10_000_000)
QUICK = Scale(200, 20_000)


async def measure(world: World, scale: Scale, say: Callable[[str], None]) -> Figures:
    """Of a world with two users, whose datacenter is stopped, filled and started again."""
    site, token = world.home, world.tokens[0]
    http = aiohttp.ClientSession(site.url, headers={"Authorization": f"Bearer {token}"})
    async with http:
        await _template(http)
        await site.process.stop()
        say(f"· {scale.messages:,} messages in {scale.dialogs:,} dialogs are written")
        began = time.perf_counter()
        await _users(site.disks / "data" / "relational.db", scale.dialogs)
        await _messages(site.disks / "data" / "messages.db", scale)
        written_s = time.perf_counter() - began
        say("· hot state is derived from them")
        await site.start()
        await site.ready()
        began = time.perf_counter()
        async with world.sys(site.name, REBUILT_S_MAX) as sys:
            epoch = (await sys.call("GET", "/sys/v1/status"))["epoch"]
            await sys.call("POST", "/sys/v1/hot/rebuild", {"epoch": epoch})
        rebuilt_s = time.perf_counter() - began
        say("· reads")
        reads = [await _timed(world, name, read) for name, read in _reads(http, scale).items()]
    return {
        "dialogs": scale.dialogs,
        "messages": scale.messages,
        "written_s": written_s,
        "rebuilt_s": rebuilt_s,
        "reads": reads,
    }


def show(found: Figures) -> str:
    """The table."""
    names = ("p50_ms", "p99_ms", "api_us", "hot_us", "bytes")
    reads: list[dict[str, Any]] = found["reads"]  # type: ignore[assignment]
    rows = [(str(read["read"]), *(number(float(read[name])) for name in names)) for read in reads]
    title = (
        f"Reads, one at a time, of {found['messages']:,} messages in {found['dialogs']:,} dialogs of one user "
        f"(hot state derived from them in {float(str(found['rebuilt_s'])):.0f} s)"
    )
    return table(title, ("read", "p50 ms", "p99 ms", "api CPU µs", "hot CPU µs", "bytes"), rows)


# -- what is read


def _reads(http: aiohttp.ClientSession, scale: Scale) -> dict[str, Read]:
    chosen = random.Random(1)
    after: dict[str, str] = {}

    async def first() -> object:
        return await _get(http, "/v1/dialogs", {"limit": str(DIALOGS_PAGE)})

    async def next_() -> object:
        page = await _get(http, "/v1/dialogs", {"limit": str(DIALOGS_PAGE), **after})
        after.clear()
        if page["after"]:
            after["after"] = page["after"]
        return page

    async def newest() -> object:
        peer = _peer(chosen.randrange(scale.dialogs))
        return await _get(http, f"/v1/dialogs/{peer}/messages", {"limit": str(HISTORY_PAGE)})

    async def anywhere() -> object:
        peer = _peer(chosen.randrange(scale.dialogs))
        before = str(_id(chosen.randrange(scale.messages), scale.messages))
        return await _get(http, f"/v1/dialogs/{peer}/messages", {"limit": str(HISTORY_PAGE), "before": before})

    return {
        f"the first {DIALOGS_PAGE} dialogs, with unread counts": first,
        f"the next {DIALOGS_PAGE} dialogs": next_,
        f"the newest {HISTORY_PAGE} messages of a dialog": newest,
        f"{HISTORY_PAGE} messages from anywhere in a dialog": anywhere,
    }


async def _get(http: aiohttp.ClientSession, path: str, query: dict[str, str]) -> Any:
    async with http.get(path, params=query) as answer:
        body = await answer.read()
        answer.raise_for_status()
    _read_bytes.append(len(body))
    return msgspec.json.decode(body)


_read_bytes: list[int] = []


async def _timed(world: World, name: str, read: Read) -> dict[str, object]:
    for _ in range(5):
        await read()
    _read_bytes.clear()
    pids, latencies = world.pids(), []
    before = cpu.read(pids)
    for _ in range(READS):
        began = time.perf_counter()
        await read()
        latencies.append(time.perf_counter() - began)
    spent = cpu.spent(before, cpu.read(pids))
    of, home = summary(latencies), world.home.name
    return {
        "read": name,
        "p50_ms": of.p50_ms,
        "p99_ms": of.p99_ms,
        "api_us": 1e6 * spent[f"{home} api"] / READS,
        "hot_us": 1e6 * spent[f"{home} hot"] / READS,
        "bytes": sum(_read_bytes) / len(_read_bytes),
    }


# -- what is written


def _peer(number: int) -> str:
    return f"Ur{number}"


def _id(number: int, messages: int) -> int:
    """Of a message: evenly over the days before now."""
    first = tick_at(_BEGAN_MS - DAYS * 86_400_000)
    return make_id(first + number * (tick_at(_BEGAN_MS) - first) // messages, LANE)


_BEGAN_MS = wall_clock_ms() - 60_000
"""Before anything that the datacenter itself wrote."""


async def _template(http: aiohttp.ClientSession) -> None:
    """One message through the API: what the rows of its users and its conversation look like."""
    body, headers = {"to": "Ub1", "text": "first"}, {"Idempotency-Key": str(uuid4())}
    async with http.post("/v1/messages", json=body, headers=headers) as answer:
        answer.raise_for_status()


async def _users(path: Any, dialogs: int) -> None:
    store = await SqliteRelationalStore.open(path, clock=wall_clock_ms)
    try:
        (user,) = [row async for page in store.dump("users") for row in page if row["user"] == "Ub1"]
        (direct,) = [row async for page in store.dump("directs") for row in page]
        users, directs = [], []
        for number in range(dialogs):
            peer = _peer(number)
            low, high = sorted(("Ub0", peer))
            users.append(user | {"user": peer, "name": f"Reader {number}"})
            directs.append(direct | {"conversation": direct_conversation(low, high), "low": low, "high": high})
        for at in range(0, dialogs, 1_000):
            await store.load("users", users[at : at + 1_000])
            await store.load("directs", directs[at : at + 1_000])
    finally:
        await store.close()


async def _messages(path: Any, scale: Scale) -> None:
    """Without the indexes, which are built when all is there: sorted, a tenth of the time."""
    store = await SqliteMessageStore.open(path)
    await store.close()
    file = await SqliteFile.open(path, lambda _: None)
    try:
        rows = _rows(scale)
        await file.write(_without_indexes)
        while part := [row for _, row in zip(range(PART), rows, strict=False)]:
            await file.write(functools.partial(_insert, part))
        await file.write(_with_indexes)
    finally:
        await file.close()


def _without_indexes(connection: Any) -> None:
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE INDEX%'")]
    for name in names:
        connection.execute(f"DROP INDEX {name}")


def _insert(rows: Sequence[tuple[Any, ...]], connection: Any) -> None:
    connection.executemany(f"INSERT INTO rows ({sql.FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


def _with_indexes(connection: Any) -> None:
    connection.execute("INSERT OR IGNORE INTO conversation_buckets SELECT DISTINCT conversation, bucket FROM rows")
    for statement in sql.SCHEMA:
        connection.execute(statement)


def _rows(scale: Scale) -> Iterator[tuple[Any, ...]]:
    """Every dialog has its turn; both write."""
    dialogs = []
    for at in range(scale.dialogs):
        low, high = sorted(("Ub0", _peer(at)))
        body = canonical({"text": TEXT, "key": "", "to": [low, high]}).decode()
        dialogs.append((direct_conversation(low, high), body, _peer(at)))
    for count in range(scale.messages):
        conversation, body, peer = dialogs[count % scale.dialogs]
        id = _id(count, scale.messages)
        sender = "Ub0" if count // scale.dialogs % 2 else peer
        yield id, conversation, id, "send", sender, class_of(sender, str(id), conversation, b""), body
