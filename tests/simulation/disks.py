"""What of a datacenter is not its process: the log's server, the hot store's, two files, and a bucket elsewhere.

The memory adapters of production, with what they leave out: a file that a power failure throws back to an earlier
commit, a log that a lying disk cuts short, and a ledger of every record that any log ever took.
"""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from core.messages import Row
from core.system import Clock
from events.adapters.memory import MemoryLog, _Lane
from events.ports import Top
from events.record import Record
from stores.adapters.memory_hot import MemoryHot
from stores.adapters.memory_messages import MemoryMessageStore
from stores.adapters.memory_objects import MemoryObjects
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.ports import Frontier
from tests.simulation import steady
from tests.simulation.ledger import Ledger


class Log(MemoryLog):
    """Tells the ledger what it takes."""

    def __init__(self, dc: str, ledger: Ledger) -> None:
        super().__init__()
        self._dc = dc
        self._ledger = ledger

    def _write(self, held: _Lane, records: Sequence[Record]) -> None:
        fresh = [record for record in records if record.seq > held.top.seq]
        for record in fresh:
            self._ledger.written(self._dc, record)
        super()._write(held, records)

    def tear(self, random: Random, records_max: int) -> list[Record]:
        """Forgets the ends of some lanes, as a disk that had not written what it said; what was forgotten."""
        torn = []
        for lane in sorted(self._lanes):
            held = self._lanes[lane]
            for _ in range(random.randint(0, records_max)):
                if held.top.seq not in held.records:
                    break
                record = held.records.pop(held.top.seq)
                torn.append(record)
                before = held.records.get(record.seq - 1)
                if before is None:
                    if record.seq == 1:
                        del self._lanes[lane]
                        break
                    held.records[record.seq] = torn.pop()
                    break
                held.top = Top.of(before)
        return torn


class Relational(MemoryRelationalStore):
    """Remembers its commits, so that the last ones can be lost. `set_meta` and `set_frontier` are synced."""

    def __init__(self, *, clock: Clock, dc: str, ledger: Ledger) -> None:
        super().__init__(clock=clock)
        self._dc = dc
        self._ledger = ledger
        self._journal: list[tuple[str, tuple[Any, ...]]] = []
        self._synced = 0

    async def apply(self, batch: Any) -> None:
        stood = steady.before(self._fold.tables, batch)
        await super().apply(batch)
        if what := steady.gone_back(self._fold.tables, stood):
            self._ledger.broken(f"{self._dc}: {what}")
        self._journal.append(("apply", (batch,)))

    async def load(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        await super().load(table, rows)
        self._journal.append(("load", (table, rows)))

    async def set_meta(self, name: str, value: str) -> None:
        await super().set_meta(name, value)
        self._journal.append(("set_meta", (name, value)))
        self._synced = len(self._journal)

    async def set_frontier(self, frontier: Frontier) -> None:
        await super().set_frontier(frontier)
        self._journal.append(("set_frontier", (frontier,)))
        self._synced = len(self._journal)

    async def collect(self, through: Mapping[int, int], before_id: int, limit: int) -> int:
        count = await super().collect(through, before_id, limit)
        self._journal.append(("collect", (dict(through), before_id, limit)))
        return count

    async def power_failure(self, random: Random) -> int:
        """Goes back to some commit after the last sync; how many were lost."""
        kept = random.randint(self._synced, len(self._journal))
        lost = len(self._journal) - kept
        if lost:
            journal = self._journal[:kept]
            self.__init__(clock=self._clock, dc=self._dc, ledger=self._ledger)  # type: ignore[misc]
            for name, args in journal:
                await getattr(self, name)(*args)
        self._synced = len(self._journal)
        return lost


class Messages(MemoryMessageStore):
    """As `Relational`."""

    def __init__(self) -> None:
        super().__init__()
        self._journal: list[tuple[str, tuple[Any, ...]]] = []
        self._synced = 0

    def put(self, rows: Sequence[Row], frontier: Frontier) -> None:
        super().put(rows, frontier)
        self._journal.append(("put", (rows, frontier)))

    async def set_frontier(self, frontier: Frontier) -> None:
        await super().set_frontier(frontier)
        self._journal.append(("set_frontier", (frontier,)))
        self._synced = len(self._journal)

    async def flush(self) -> None:
        self._synced = len(self._journal)

    async def power_failure(self, random: Random) -> int:
        """Goes back to some commit after the last sync; how many were lost."""
        kept = random.randint(self._synced, len(self._journal))
        lost = len(self._journal) - kept
        if lost:
            journal = self._journal[:kept]
            self.__init__()  # type: ignore[misc]
            for name, args in journal:
                done = getattr(self, name)(*args)
                if asyncio.iscoroutine(done):
                    await done
        self._synced = len(self._journal)
        return lost


class Hot(MemoryHot):
    """`lose` also tells those who listen that they had to connect again."""

    def lose(self) -> None:
        super().lose()
        for queue in self._listeners:
            if not queue.full():
                queue.put_nowait(b"")


class Disks:
    """All of one datacenter's. `bucket` lies elsewhere: it survives the fire."""

    def __init__(self, dc: str, ledger: Ledger, clock: Clock, bucket: MemoryObjects, **hot: int) -> None:
        self.log = Log(dc, ledger)
        self.relational = Relational(clock=clock, dc=dc, ledger=ledger)
        self.messages = Messages()
        self.hot = Hot(**hot)
        self.bucket = bucket
