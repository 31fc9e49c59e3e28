"""`python -m bench.relational --config DC.toml`: how many batches a second the relational store of a datacenter takes,
against SQLite in the same run, taking turns. The settings name a database; it is left with the rows of the run."""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from cli import settings as configuration
from cli import stores
from core.clock import HybridClock
from core.ids import Lane
from core.system import entropy, wall_clock_ms
from core.tables import Effect
from stores.adapters.sqlite_relational import SqliteRelationalStore
from stores.ports import Mark, RelationalBatch, RelationalStore, Result, Stamped

SIZES = (1, 10, 60, 512)
"""Messages of one group commit: a mark, a result and a place in the lane for each."""
ROUNDS = 5
ROUND_S = 1.0
LANE = Lane(1, 0, 0).number


class Load:
    """Batches as `apply` gets them: of `size` events, each of which writes a read mark and a result."""

    def __init__(self, name: str) -> None:
        self._clock = HybridClock(wall_clock_ms)
        self._name = name
        self._seq = 0

    def batch(self, size: int) -> RelationalBatch:
        effects, results = [], []
        for n in range(size):
            self._seq += 1
            id = self._clock.take(LANE)
            user = f"U{self._name}{n}"
            effects.append(Stamped(id, Effect("read_marks", (user, "G7297529483593481", LANE), {"mark": id})))
            results.append(Result(user, f"k{self._seq}", id, "message.send", b"f" * 16, {"id": str(id)}))
        return RelationalBatch(effects, results, (), (), {LANE: Mark(self._seq, id)})


async def _round(store: RelationalStore, load: Load, size: int) -> float:
    """Batches a second."""
    batches = [load.batch(size) for _ in range(8)]
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < ROUND_S:
        await store.apply(batches[done] if done < len(batches) else load.batch(size))
        done += 1
    return done / (time.perf_counter() - begun)


async def _run(config: Path) -> None:
    settings = configuration.load(config)
    with tempfile.TemporaryDirectory(prefix="planb-relational-") as folder:
        served = await stores.relational(settings)
        embedded = await SqliteRelationalStore.open(Path(folder) / "relational.db", clock=wall_clock_ms)
        load = Load(entropy(4).hex())
        try:
            print(f"{'events a batch':>14} {'SQLite/s':>10} {'settings/s':>10} {'ratio':>6}")
            for size in SIZES:
                pairs = [(await _round(embedded, load, size), await _round(served, load, size)) for _ in range(ROUNDS)]
                lite, other = (statistics.median(pair[n] for pair in pairs) for n in (0, 1))
                print(f"{size:>14} {lite:>10.0f} {other:>10.0f} {other / lite:>6.2f}")
        finally:
            await served.close()
            await embedded.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.relational", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    asyncio.run(_run(parser.parse_args().config))


if __name__ == "__main__":
    main()
