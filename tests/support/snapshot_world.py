"""One DC whose stores lag behind its log, each on its own, and collect tombstones; and what they ought to hold.

Everything is drawn from one seed. `step` is a moment of ordinary life: a write, one store or the other catching up a
little, the archiver sealing some. `check` plays a life, takes a snapshot in the middle of it, burns the DC down,
restores it, and compares with the fold of the events themselves.
"""

from collections.abc import Iterable
from random import Random
from typing import Any

import msgspec

from core.ids import Lane, make_id, tick_at
from core.messages import Row
from core.tables import TABLES, Effect
from events.adapters.memory import MemoryLog
from events.ports import Top
from events.record import GENESIS, KIND_EVENT, Record, chain
from snapshot import dump, restore
from snapshot.archive import Archive
from snapshot.archiver import Archiver
from snapshot.dump import OVERWRITES
from snapshot.manifest import Manifest, Site, seqs_of
from stores.adapters.memory_messages import MemoryMessageStore
from stores.adapters.memory_objects import MemoryObjects
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.ports import Frontier, Mark, MessageStore, RelationalBatch, RelationalStore, Stamped
from tests.support.objects import BusyObjects

NOW_MS = 1_700_000_000_000
DC = 1
OWN, OWN_TOO, FOREIGN = Lane(DC, 0, 0).number, Lane(DC, 0, 1).number, Lane(2, 0, 0).number
SITE = Site("world", "fra", DC, 0, 7)
COLLECTED = ("member_adds", "member_kicked")

State = dict[str, list[Any]]
Key = tuple[str, str, int]
Place = tuple[int, int]
"""(lane, seq)"""


class Body(msgspec.Struct, array_like=True):
    effects: list[Effect]
    rows: list[Row]


def now() -> int:
    return NOW_MS


async def apply(records: Iterable[Record], relational: RelationalStore | None, messages: MessageStore | None) -> None:
    """Brings records into the stores that are given, each with its frontier."""
    for record in records:
        body = msgspec.json.decode(record.body, type=Body)
        mark = {record.lane: Mark(record.seq, record.id)}
        if relational is not None:
            stamped = [Stamped(record.id, effect) for effect in body.effects]
            await relational.apply(RelationalBatch(stamped, (), (), (), mark))
        if messages is not None:
            messages.put(body.rows, mark)
    if messages is not None:
        await messages.flush()


async def state(relational: RelationalStore, messages: MessageStore) -> State:
    found: State = {}
    for table in (*TABLES, OVERWRITES):
        found[table] = [row async for page in relational.dump(table) for row in page]
    found["message_rows"] = [row async for page in messages.dump() for row in page]
    return found


class World:
    def __init__(
        self,
        seed: int,
        relational: RelationalStore | None = None,
        messages: MessageStore | None = None,
    ) -> None:
        self.random = Random(seed)
        self.log = MemoryLog()
        self.objects = MemoryObjects()
        self.archiver = Archiver(self.log, self.objects, records_max=6, small_max=3)
        self.relational: Any = relational or MemoryRelationalStore(clock=now)
        self.messages: Any = messages or MemoryMessageStore()
        self.copying = False
        self.seals = True
        self.collected: set[tuple[Any, ...]] = set()
        self.stamps: dict[str, int] = {}
        self._tick = tick_at(NOW_MS)
        self._adds: list[tuple[Key, Place]] = []
        self._kicked: list[tuple[Key, Place, Place]] = []

    # -- moments of life

    async def step(self) -> None:
        roll = self.random.random()
        if roll < 0.45:
            await self.write()
        elif roll < 0.62:
            await self.catch_up(self.relational, None)
        elif roll < 0.80:
            await self.catch_up(None, self.messages)
        elif roll < 0.90 and self.seals:
            await self.archiver.seal()
        elif not self.copying and isinstance(self.relational, MemoryRelationalStore):
            await self.collect()

    async def write(self) -> None:
        lane = self.random.choice((OWN, OWN_TOO, FOREIGN))
        top = (await self.log.tops()).get(lane, Top(0, 0, GENESIS))
        self._tick += self.random.randint(1, 3)
        id = make_id(self._tick, lane)
        body = msgspec.json.encode(self._event(id, lane, top.seq + 1))
        hash = chain(top.hash, lane, top.seq + 1, id, KIND_EVENT, body)
        await self.log.store([Record(lane, top.seq + 1, id, KIND_EVENT, body, hash, b"")])

    def _event(self, id: int, lane: int, seq: int) -> Body:
        user = f"U{self.random.randint(1, 8)}"
        kind = self.random.choice(("name", "mark", "add", "add", "kick", "kick", "send", "send", "recall"))
        if kind == "name":
            basis = {"name": self.stamps.get(user, 0)}
            self.stamps[user] = id
            return Body([Effect("users", (user,), {"name": f"n{id % 1000}"}, basis)], [])
        if kind == "mark":
            return Body([Effect("read_marks", (user, "D1", lane), {"mark": id})], [])
        if kind == "add":
            key = ("G1", f"U{id}", lane)
            self._adds.append((key, (lane, seq)))
            return Body([Effect("member_adds", key, {"knew": {}})], [])
        if kind == "kick" and self._adds:
            key, added = self._adds.pop(self.random.randrange(len(self._adds)))
            self._kicked.append((key, added, (lane, seq)))
            return Body([Effect("member_kicked", key, {"kicked": id})], [])
        if kind == "recall":
            return Body([], [Row(id, "D1", id - 1, "recall", user, 0, {})])
        users = [Effect("users", (user,), {"about": f"talks {seq}"})]  # one event in both stores
        return Body(users, [Row(id, "D1", id, "send", user, id, {"text": f"hi {seq}", "key": str(id)})])

    async def catch_up(self, relational: RelationalStore | None, messages: MessageStore | None) -> None:
        """One store takes the next few records of one lane."""
        done = await (relational or messages).frontier()  # type: ignore[union-attr]
        lane = self.random.choice((OWN, OWN_TOO, FOREIGN))
        at = done[lane].seq if lane in done else 0
        await apply(await self.log.read(lane, at, self.random.randint(1, 6)), relational, messages)

    async def collect(self) -> None:
        """Forgets adds together with the kicks that beat them, once every store has both."""
        low = await self.both()
        for key, *places in list(self._kicked):
            if all(lane in low and seq <= low[lane].seq for lane, seq in places):
                for table in COLLECTED:
                    del self.relational._fold.tables[table][key]
                self.collected.add(key)
                self._kicked.remove((key, places[0], places[1]))

    async def both(self) -> Frontier:
        one, two = await self.relational.frontier(), await self.messages.frontier()
        return {lane: min(one[lane], two[lane]) for lane in one.keys() & two.keys()}

    # -- snapshots

    async def busy(self, key: str = "") -> None:
        """What goes on during a copy."""
        for _ in range(self.random.randint(0, 3)):
            await self.step()

    async def snapshot(self, **more: Any) -> Manifest:
        """A copy while life goes on."""
        objects = BusyObjects(self.objects, self.busy)
        self.copying = True
        try:
            return await dump.create(
                relational=self.relational,
                messages=self.messages,
                archive=Archive(objects),
                objects=objects,
                site=SITE,
                clock=now,
                **more,
            )
        finally:
            self.copying = False

    async def restored(self, manifest: Manifest, relational: Any = None, messages: Any = None) -> "World":
        """A new DC from what is in the object store alone."""
        new = World(0, relational, messages)
        new.objects = self.objects
        await restore.restore(
            manifest.id,
            relational=new.relational,
            messages=new.messages,
            log=new.log,
            archive=Archive(self.objects),
            objects=self.objects,
            number=DC,
            clock=now,
        )
        return new

    # -- what ought to be

    async def fold(self, through: dict[int, int], collected: set[tuple[Any, ...]]) -> State:
        """The fold of all archived events up to `through`, without what was collected before the copy."""
        archive = Archive(self.objects)
        relational, messages = MemoryRelationalStore(clock=now), MemoryMessageStore()
        for lane, seq in through.items():
            await apply(await archive.read(lane, 0, seq), relational, messages)
        for table in COLLECTED:
            for key in collected:
                relational._fold.tables.get(table, {}).pop(key, None)
        return await state(relational, messages)

    async def replay(self, through: dict[int, int]) -> None:
        """What the datacenter does when it starts: both stores go on from the smaller frontier."""
        start = await self.both()
        for lane, seq in through.items():
            at = start[lane].seq if lane in start else 0
            await apply(await self.log.read(lane, at, seq - at) if seq > at else [], self.relational, self.messages)


async def check(seed: int, stores: Any = None) -> Manifest:
    """One life. AssertionError (or an error of core.errors) when the restored DC is not what it ought to be."""
    world = World(seed, *(stores[0] if stores else ()))
    for _ in range(world.random.randint(5, 60)):
        await world.step()
    collected = set(world.collected)
    manifest = await world.snapshot()
    for _ in range(world.random.randint(0, 30)):
        await world.step()

    new = await world.restored(manifest, *(stores[1] if stores else ()))
    ends = {lane: top.seq for lane, top in (await Archive(world.objects).tops()).items()}
    assert {lane: top.seq for lane, top in (await new.log.tops()).items()} == ends
    # Serving may begin when F1 is applied: exactly the events through F1 must be there then, whole.
    await new.replay(seqs_of(manifest.f1))
    assert await state(new.relational, new.messages) == await world.fold(seqs_of(manifest.f1), collected)
    await new.replay(ends)
    assert await state(new.relational, new.messages) == await world.fold(ends, collected)
    return manifest
