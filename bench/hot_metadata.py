"""`python -m bench.hot_metadata`: what the metadata of last-writer-wins columns comes to in a hot store's server while
a million changes go to 10,000 rows, and what is left of it when nobody writes them any more."""

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from bench.hot_memory import EPOCH, ids, server, used
from cli.waiting import until
from core import limits
from stores.adapters.valkey_hot import ValkeyHot
from stores.ports import Change

ROWS = 10_000
CHANGES = 1_000_000
COLUMNS = ("name", "about", "avatar")
PART = 500
STEPS = 10
KEPT_S = 20
"""In place of CRDT_META_KEPT_S, so that the end can be waited for."""


def changes(rows: int, count: int) -> Iterator[list[Change]]:
    """Each row in its turn, each time another column."""
    new = ids()
    for begin in range(0, count, PART):
        yield [
            Change("users", f'["U{10**18 + n % rows}"]', COLUMNS[n // rows % len(COLUMNS)], next(new))
            for n in range(begin, min(begin + PART, count))
        ]


async def written(hot: ValkeyHot, rows: int, count: int) -> list[int]:
    """Bytes over what an empty store has, after each of STEPS."""
    empty, found = await used(hot), []
    for n, part in enumerate(changes(rows, count), 1):
        await hot.decide(part)
        if n * PART % (count // STEPS) == 0:
            found.append(await used(hot) - empty)
    return found


async def run(folder: Path, rows: int, count: int) -> None:
    async with server(folder) as url:
        hot = ValkeyHot(url)
        await hot.begin(EPOCH)
        await hot.publish_epoch(EPOCH, {}, {})
        empty = await used(hot)
        for step, size in enumerate(await written(hot, rows, count), 1):
            done = count * step // STEPS
            print(f"{done:9,} changes to {rows:,} rows: {size:10,} bytes, {size / rows:5.0f} a row")
        with patch.object(limits, "CRDT_META_KEPT_S", KEPT_S):
            for part in changes(rows, rows):  # the last write to each says how long it is kept
                await hot.decide(part)

        async def gone() -> bool:
            return bool(await hot._batcher.call("DBSIZE") == 1)

        assert await until(gone, 6.0 * KEPT_S), "metadata that nobody writes does not end"
        print(f"{KEPT_S} s after the last write: {await used(hot) - empty:10,} bytes")
        await hot.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--changes", type=int, default=CHANGES)
    options = parser.parse_args()
    with TemporaryDirectory() as made:
        asyncio.run(run(Path(made), options.rows, options.changes))
