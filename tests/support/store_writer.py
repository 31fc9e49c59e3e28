"""A process that writes batches to both SQLite stores until it kills itself: `python -m … folder seed`.

It dies by SIGKILL in the midst of a statement of one of the two, so nearly always in the midst of a transaction; a
kill from outside would mostly find it between two. It prints the number of each batch that it was told is written;
`effects_of` and `rows_of` say what was in it.
"""

import asyncio
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from core.ids import class_of
from core.messages import Row
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore
from stores.ports import Mark, RelationalBatch, Stamped
from tests.support.stores import NOW_MS, id_at, write

LANE = 7


def effects_of(seed: int, n: int) -> list[Stamped]:
    """The effects of batch `n`: writes that later and earlier batches contest."""
    source, stamp = random.Random(f"{seed} {n}"), id_at(n)
    users = [f"U{source.randrange(30)}" for _ in range(source.randint(1, 40))]
    return [
        effect
        for at, user in enumerate(users)
        for effect in (
            write(stamp + (at << 16), "users", user, {source.choice(["name", "about"]): f"{n}.{at}" * 20}),
            write(stamp + (at << 16), "read_marks", (user, "D1", LANE), {"mark": source.randrange(1000)}),
        )
    ]


def rows_of(seed: int, n: int) -> list[Row]:
    """The message rows of batch `n`."""
    source, rows = random.Random(f"{seed} {n} rows"), list[Row]()
    for at in range(source.randint(1, 40)):
        event = id_at(n, at)
        body = {"text": "x" * source.randrange(300), "key": str(event)}
        rows.append(Row(event, f"G{at % 5}", event, "send", "Ua", class_of("Ua", str(event), "G1", b""), body))
    return rows


def die_after(steps: int) -> Callable[[sqlite3.Connection], None]:
    """So many steps of SQLite's virtual machine on this connection, and SIGKILL."""
    left = iter(range(steps))

    def step() -> int:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    return lambda connection: connection.set_progress_handler(step, 1)


async def main(folder: Path, seed: int) -> None:
    source = random.Random(seed)
    relational = await SqliteRelationalStore.open(folder / "relational.db", clock=lambda: NOW_MS)
    messages = await SqliteMessageStore.open(folder / "messages.db")
    n = 0
    while True:
        n += 1
        if n == 12:
            victim = source.choice([relational, messages])
            await victim._file.write(die_after(source.randint(1, 12_000)))
        frontier = {LANE: Mark(n, id_at(n))}
        await messages.ready()
        messages.put(rows_of(seed, n), frontier)
        await relational.apply(RelationalBatch(effects_of(seed, n), (), (), (), frontier))
        print("relational", n, flush=True)
        if n % 5 == 0:
            await messages.flush()
            print("messages", n, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
