"""A whole DC (log on a server, SQLite, a directory of objects) is copied while it works, burns, and comes back."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from core import limits
from core.errors import PlanBError
from core.ids import Lane
from core.system import wall_clock_ms
from core.tables import TABLES
from events.adapters.valkey import ValkeyLog
from snapshot import dump, restore
from snapshot.archive import EMPTY, Archive
from snapshot.archiver import Archiver
from snapshot.manifest import Site
from stores.adapters.directory_objects import DirectoryObjects
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore
from tests.support.dc import OneDc
from tests.support.valkey import ValkeyFactory

USERS = [f"U{n}" for n in range(6)]


@contextlib.asynccontextmanager
async def real_stores(folder: Path, url: str) -> AsyncIterator[dict[str, Any]]:
    folder.mkdir()  # noqa: ASYNC240  (a moment)
    async with contextlib.AsyncExitStack() as stack:
        relational = await SqliteRelationalStore.open(folder / "relational.db", clock=wall_clock_ms)
        stack.push_async_callback(relational.close)
        messages = await SqliteMessageStore.open(folder / "messages.db")
        stack.push_async_callback(messages.close)
        log = await ValkeyLog.connect(url)
        stack.push_async_callback(log.close)
        yield {"relational": relational, "messages": messages, "log": log}


class Traffic:
    """Users who write at random; what they are refused is not counted."""

    def __init__(self, dc: OneDc, chat: str, seed: int) -> None:
        self.dc, self.chat, self.random = dc, chat, Random(seed)
        self.sent: list[Any] = []
        self.done = 0

    async def one(self) -> None:
        random, who = self.random, self.random.choice(USERS)
        whom = random.choice([user for user in USERS if user != who])
        self.done += 1
        key = f"{self.dc.name}{self.done}"
        with contextlib.suppress(PlanBError):
            match random.randrange(7):
                case 0:
                    await self.dc.do("user.update", who, key, name=f"n{self.done}")
                case 1:
                    await self.dc.do("member.add", USERS[0], key, chat=self.chat, users=[whom])
                case 2:
                    await self.dc.do("member.kick", USERS[0], key, chat=self.chat, user=whom)
                case 3 if self.sent:
                    message = random.choice(self.sent)
                    await self.dc.do("message.edit", message.actor, key, message=str(message.id), text=f"e{self.done}")
                case 4 if self.sent:
                    message = random.choice(self.sent)
                    await self.dc.do("message.recall", message.actor, key, message=str(message.id), **{"for": "all"})
                case _:
                    to = random.choice([whom, self.chat])
                    self.sent.append(await self.dc.do("message.send", who, key, to=to, text=f"t{self.done}"))

    async def run(self, count: int) -> None:
        for _ in range(count):
            await self.one()


async def shown(dc: OneDc) -> Any:
    await dc.messages.flush()
    rows = {table: [row async for page in dc.relational.dump(table) for row in page] for table in TABLES}
    messages = [row async for page in dc.messages.dump() for row in page]
    return rows, messages, await dc.relational.conflicts()


async def everything_from(one: OneDc, other: OneDc) -> None:
    await one.pull(other)
    await other.pull(one)


@pytest.mark.integration
async def test_a_burnt_dc_comes_back_with_all_that_it_had_archived(
    tmp_path: Path, valkey_server: ValkeyFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHUNK_ROWS_MAX", 20)
    monkeypatch.setattr(limits, "CHUNK_ROWS_MEAN", 8)
    server, objects = valkey_server(appendfsync="always"), DirectoryObjects(tmp_path / "objects")
    iad = await OneDc("iad", 2).start()
    async with real_stores(tmp_path / "fra", server.url) as stores:
        fra = await OneDc("fra", 1, **stores).start()
        for user in USERS:
            await fra.do("user.upsert", "sys", user=user, name=user)
        chat = (await fra.do("group.create", USERS[0], "g", kind="group", title="g", users=USERS[1:3])).args.chat
        await iad.pull(fra)
        here, there = Traffic(fra, chat, 1), Traffic(iad, chat, 2)
        archiving = asyncio.create_task(Archiver(fra.log, objects, interval_ms=20).run())
        await asyncio.gather(here.run(60), there.run(30))
        await fra.pull(iad)

        async def traffic_goes_on() -> None:
            while True:
                await asyncio.gather(here.run(5), there.run(2))
                await fra.pull(iad)

        busy = asyncio.create_task(traffic_goes_on())
        manifest = await dump.create(
            relational=fra.relational,
            messages=fra.messages,
            archive=Archive(objects),
            objects=objects,
            site=Site("w", "fra", 1, 0, fra.applier.epoch),
            clock=wall_clock_ms,
            hot_frontier=fra.hot.frontier,
        )
        await _cancelled(busy)
        await asyncio.gather(here.run(30), there.run(10))
        await everything_from(fra, iad)
        archive = Archive(objects)
        async with asyncio.timeout(10):
            ends = {lane: top.seq for lane, top in (await fra.log.tops()).items()}
            while not await archive.covers(ends):  # noqa: ASYNC110  (another process would have to look, too)
                await asyncio.sleep(0.02)
        await _cancelled(archiving)
        epoch, first_lane = fra.applier.epoch, fra.lane
        await fra.stop()
    assert manifest.f0 != manifest.f1
    assert await dump.verify(manifest.id, objects=objects, archive=archive) == []

    # Fire. Another server, other files; only the objects are left.
    async with real_stores(tmp_path / "again", valkey_server(appendfsync="always").url) as stores:
        planned = await restore.restore(
            manifest.id, archive=archive, objects=objects, number=1, clock=wall_clock_ms, world="w", **stores
        )
        fra = await OneDc("fra", 1, incarnation=planned.incarnation, **stores).start()
        assert fra.lane == Lane(1, 1, 0).number != first_lane
        assert fra.applier.epoch > epoch
        serve_after = json.loads(await stores["relational"].meta(restore.SERVE_AFTER))
        assert all(fra.applier.progress.applied[int(lane)].seq >= seq for lane, seq in serve_after.items())
        assert await shown(fra) == await shown(iad)
        # A retry of a key that the burnt DC answered is known here.
        assert (await fra.hot.result(USERS[0], "g")).answer["chat"] == chat

        await fra.do("user.update", USERS[1], "back", name="after the fire")
        await there.run(10)
        await everything_from(fra, iad)
        assert await shown(fra) == await shown(iad)
        archiver = Archiver(fra.log, objects)
        await archiver.seal()
        assert archiver.troubles == {}
        for lane, top in (await fra.log.tops()).items():
            await archive.prove(lane, EMPTY, top)
        await fra.stop()
    await iad.stop()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
