"""The message stores side by side, in one run: `python -m bench.message_stores --cassandra HOST:PORT/DATACENTER`.

Rows are put as `apply` puts them, in batches, and awaited to the last; then pages are read as a history does, and all
is dumped. CPU is this process's: the server's own is not in it. JSON on stdout.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from core.ids import class_of, make_id, tick_at
from core.messages import Row
from core.system import entropy, wall_clock_ms
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.ports import Mark, MessageStore

BATCH = 100
CONVERSATIONS = 500
TEXT = "x" * 100
PAGE = 50
READERS = 8
PAGES = 400


def rows(count: int) -> list[Row]:
    """Messages of the last minutes, in many conversations, by two lanes in turn."""
    first = tick_at(wall_clock_ms() - 600_000)
    made = []
    for n in range(count):
        id = make_id(first + n * 32, 1 + n % 2)
        conversation, sender, key = f"D{n % CONVERSATIONS:07d}", f"U{n % 1000}", f"key-{n:012d}"
        fingerprint = n.to_bytes(8)
        body = {"text": TEXT, "key": key, "fingerprint": fingerprint.hex(), "to": [sender, f"U{n % 999}"]}
        made.append(Row(id, conversation, id, "send", sender, class_of(sender, key, conversation, fingerprint), body))
    return made


class Spent:
    """Seconds and this process's CPU since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def per(self, count: int) -> dict[str, float]:
        wall_s, cpu_s = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"per_s": round(count / wall_s), "cpu_us": round(cpu_s / count * 1e6, 1)}


async def measure(store: MessageStore, made: list[Row]) -> dict[str, Any]:
    """Of an empty store."""
    found: dict[str, Any] = {}
    spent = Spent()
    for at in range(0, len(made), BATCH):
        await store.ready()
        part = made[at : at + BATCH]
        store.put(part, {1: Mark(at + BATCH, part[-1].event)})
        await asyncio.sleep(0)
    await store.flush()
    found["rows_written"] = spent.per(len(made))

    async def look(conversation: str) -> None:
        ids = await store.page(conversation, limit=PAGE)
        assert len(await store.rows_of(ids)) == len(ids)

    spent = Spent()
    await _crowd(look, (f"D{n % CONVERSATIONS:07d}" for n in range(PAGES)))
    found["pages_read"] = spent.per(PAGES)

    async def render(id: int) -> None:
        assert await store.rows_of([id])

    spent = Spent()
    await _crowd(render, (row.event for row in made[: 4 * PAGES]))
    found["messages_rendered"] = spent.per(4 * PAGES)
    spent = Spent()
    assert sum([len(page) async for page in store.dump()]) == len(made)
    found["rows_dumped"] = spent.per(len(made))
    return found


async def _crowd(work: Callable[[Any], Awaitable[None]], items: Any) -> None:
    """READERS at a time."""
    waiting = iter(items)

    async def some() -> None:
        for item in waiting:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(READERS):
            group.create_task(some())


async def _sqlite(made: list[Row]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteMessageStore.open(Path(folder) / "messages.db")
        try:
            return await measure(store, made)
        finally:
            await store.close()


async def _cassandra(made: list[Row], where: str) -> dict[str, Any]:
    from stores.adapters.cassandra_messages import CassandraMessageStore
    from stores.adapters.cassandra_session import CassandraPlace, CassandraSession

    address, _, datacenter = where.partition("/")
    host, _, port = address.partition(":")
    keyspace = f"planb_bench_{entropy(4).hex()}"
    session = await CassandraSession.open(CassandraPlace((host,), int(port), "system", datacenter))
    try:
        copies = f"{{'class': 'NetworkTopologyStrategy', '{datacenter}': 1}}"
        await session.run(f"CREATE KEYSPACE {keyspace} WITH replication = {copies}")
        store = await CassandraMessageStore.open(CassandraPlace((host,), int(port), keyspace, datacenter), entropy)
        try:
            return await measure(store, made)
        finally:
            await store.close()
    finally:
        await session.run(f"DROP KEYSPACE IF EXISTS {keyspace}")
        await session.close()


async def run(count: int, where: str) -> dict[str, Any]:
    """One after the other."""
    made = rows(count)
    found: dict[str, Any] = {"rows": count, "sqlite": await _sqlite(made)}
    found["cassandra"] = await _cassandra(made, where)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.message_stores", description=__doc__)
    parser.add_argument("--cassandra", required=True, metavar="HOST:PORT/DATACENTER")
    parser.add_argument("--rows", type=int, default=20_000)
    args = parser.parse_args()
    print(json.dumps(asyncio.run(run(args.rows, args.cassandra)), indent=2))


if __name__ == "__main__":
    main()
