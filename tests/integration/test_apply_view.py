"""The cache of applied state: never older than what was applied before the read began, and bounded."""

import asyncio
from collections.abc import Callable
from itertools import cycle
from random import Random
from typing import Any

import pytest

from core import limits
from core.membership import Roll
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.view import StoreView
from tests.support.crash import How, Strike
from tests.support.crash_site import Life, Site, live, random_story
from tests.support.dc import OneDc
from tests.support.history import USERS


class SlowReads(MemoryRelationalStore):
    """A read has seen the rows, and takes until `go` to bring them."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.slow = False
        self.reading = asyncio.Event()
        self.go = asyncio.Event()

    async def rows(self, table: str, where: Any) -> list[dict[str, Any]]:
        found = await super().rows(table, where)
        if self.slow:
            self.reading.set()
            await self.go.wait()
        return found


async def test_a_read_that_was_under_way_during_a_write_is_not_kept() -> None:
    store = SlowReads(clock=lambda: 0)
    dc = await OneDc(relational=store).start()
    await dc.do("user.upsert", "sys", user="Uada", name="before")
    dc.view._cache.clear()
    store.slow = True
    reader = asyncio.create_task(dc.view.user("Uada"))
    await store.reading.wait()
    store.slow = False
    await dc.do("user.upsert", "sys", user="Uada", name="after")
    store.go.set()
    assert (await reader).name == "before"
    assert (await dc.view.user("Uada")).name == "after"
    await dc.stop()


async def test_what_was_committed_though_nobody_was_told_is_read() -> None:
    story = random_story(2, 60)
    probe = Strike()
    await (await _played(story, probe)).end()
    for at, name in enumerate(probe.calls):
        if name != "relational.apply":
            continue
        life = await _played(story, Strike(at, How.UNANSWERED), until_failure=True)
        for read, fresh in _reads(life, story.chats):
            assert await read() == await fresh()
        await life.end()


async def _played(story: Any, strike: Strike, until_failure: bool = False) -> Life:
    life = await live(Site(), iter([strike]))
    for records in story.cut():
        await life.site.log.store(records)
        for user in USERS:
            await life.view.user(user)
            await life.view.memberships_of(user)
            for chat in story.chats:
                await life.view.dialog(user, chat)
        for chat in story.chats:
            await life.view.roll(chat)
        try:
            await life.applier.apply([life.site.codec.entry(record) for record in records])
        except Exception:
            assert until_failure
            break
    return life


def _same(kept: Any, fresh: Any) -> None:
    """A roll that is kept knows of leaves that a later leave of the same user has replaced in the registers."""
    if isinstance(kept, Roll):
        assert all(kept.knew.get(lane, 0) >= id for lane, id in fresh.knew.items())
        kept, fresh = kept._replace(knew={}), fresh._replace(knew={})
    assert kept == fresh


def _reads(life: Life, chats: list[str]) -> list[tuple[Callable[[], Any], Callable[[], Any]]]:
    """The same reads by the view with its cache, and by one without."""
    fresh = StoreView("dc0", life.site.relational, life.site.messages, life.site.hot)
    reads: list[tuple[str, ...]] = [(name, user) for name in ("user", "memberships_of") for user in USERS]
    places = list(zip(cycle(USERS), chats, strict=False))
    reads += [(name, *place) for name in ("dialog", "read_mark", "clear_mark") for place in places]
    reads += [("draft", *place) for place in places]
    reads += [(name, user) for name in ("blocks_of", "contacts_of") for user in USERS]
    reads += [(name, chat) for name in ("roll", "heir") for chat in chats]
    return [
        (lambda n=n, of=of: getattr(life.view, n)(*of), lambda n=n, of=of: getattr(fresh, n)(*of)) for n, *of in reads
    ]


class Yielding(MemoryRelationalStore):
    """Every call gives the others a turn, before and after it."""

    def __init__(self, random: Random) -> None:
        super().__init__(clock=lambda: 0)
        self._random = random

    async def rows(self, table: str, where: Any) -> list[dict[str, Any]]:
        await self._turns()
        found = await super().rows(table, where)
        await self._turns()
        return found

    async def apply(self, batch: Any) -> None:
        await self._turns()
        await super().apply(batch)
        await self._turns()

    async def _turns(self) -> None:
        for _ in range(self._random.randrange(4)):
            await asyncio.sleep(0)


async def _read_on(life: Life, chats: list[str], random: Random, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        await random.choice(_reads(life, chats))[0]()
        await asyncio.sleep(0)


async def test_under_constant_reading_nothing_stale_stays() -> None:
    for seed in range(6):
        story = random_story(400 + seed, 100)
        random = Random(seed)
        site = Site()
        site.relational = Yielding(random)
        life = await live(site, iter([Strike()]))
        stopping = asyncio.Event()

        readers = [asyncio.create_task(_read_on(life, story.chats, random, stopping)) for _ in range(4)]
        for records in story.cut():
            await site.log.store(records)
            assert await life.apply(records)
            for read, fresh in _reads(life, story.chats):
                _same(await read(), await fresh())
        stopping.set()
        await asyncio.gather(*readers)
        await life.end()


async def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VIEW_CACHE_MAX", 10)
    dc = await OneDc().start()
    for n in range(50):
        await dc.view.user(f"U{n}")
        await dc.view.roll(f"G{n}")
        assert len(dc.view._cache) <= 10
    await dc.stop()
