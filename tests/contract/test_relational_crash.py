"""kill -9 at any moment: what a store's frontier covers is in it, and nothing that was acknowledged is missing."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.tables import TABLES
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore
from stores.ports import Mark
from tests.support.store_writer import LANE, effects_of, rows_of
from tests.support.stores import NOW_MS, batch, dumped, id_at, reference

ROOT = Path(__file__).parents[2]


def killed(folder: Path, seed: int) -> dict[str, int]:
    """The last batch that each store acknowledged to a writer before it was killed."""
    command = [sys.executable, "-m", "tests.support.store_writer", str(folder), str(seed)]
    process = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert process.returncode == -signal.SIGKILL
    acknowledged = {"relational": 0, "messages": 0}
    for line in process.stdout.splitlines():
        store, n = line.split()
        acknowledged[store] = int(n)
    return acknowledged


@pytest.mark.parametrize("seed", range(5))
async def test_a_killed_writer_leaves_exactly_what_its_frontier_covers(tmp_path: Path, seed: int) -> None:
    acknowledged = killed(tmp_path, seed)

    relational = await SqliteRelationalStore.open(tmp_path / "relational.db", clock=lambda: NOW_MS)
    n = (await relational.frontier()).get(LANE, Mark(0, 0)).seq
    assert n >= acknowledged["relational"]
    effects = [effect for at in range(1, n + 1) for effect in effects_of(seed, at)]
    assert {name: await dumped(relational, name) for name in TABLES} == reference(effects)

    messages = await SqliteMessageStore.open(tmp_path / "messages.db")
    m = (await messages.frontier()).get(LANE, Mark(0, 0)).seq
    assert m >= acknowledged["messages"]
    rows = [row for at in range(1, m + 1) for row in rows_of(seed, at)]
    assert [row async for page in messages.dump() for row in page] == rows

    # Recovery: replay from the smaller frontier, into stores of which one is ahead.
    for at in range(max(1, min(n, m)), max(n, m) + 3):
        await relational.apply(batch(effects_of(seed, at), {LANE: Mark(at, id_at(at))}))
        messages.put(rows_of(seed, at), {LANE: Mark(at, id_at(at))})
    last = max(n, m) + 2
    effects = [effect for at in range(1, last + 1) for effect in effects_of(seed, at)]
    assert {name: await dumped(relational, name) for name in TABLES} == reference(effects)
    assert len([row async for page in messages.dump() for row in page]) == sum(
        len(rows_of(seed, at)) for at in range(1, last + 1)
    )
    await relational.close()
    await messages.close()
