"""A supergroup's members and whoever follows its owner, read in parts, are those that reading all of them gives."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from core import limits
from core.ids import Lane, make_id
from core.membership import Membership
from core.ownership import owner_of
from core.tables import Effect
from stores import crowd, registers
from stores.adapters.memory_hot import MemoryHot
from stores.adapters.memory_messages import MemoryMessageStore
from stores.ports import RelationalBatch, RelationalStore, Stamped
from stores.view import StoreView
from tests.support.stores import ADAPTERS, relational_store

CHAT = "C1"
LANES = [Lane(dc, 0, 0).number for dc in (1, 2, 3)]
USERS = [f"U{n}" for n in range(12)]


class Story:
    """Random comings and goings by origins that know much or little; they arrive as each lane was behind or not."""

    def __init__(self, random: Random, length: int) -> None:
        self.random = random
        lanes: dict[int, list[list[Stamped]]] = {lane: [] for lane in LANES}
        known: dict[str, dict[int, int]] = {}
        kicks: dict[str, dict[int, int]] = {}
        for tick in range(1, length):
            lane = random.choice(LANES)
            lanes[lane].append(self._event(make_id(tick << 8, lane), lane, known, kicks))
        self.arrivals: list[list[Stamped]] = []
        while any(lanes.values()):
            self.arrivals.append(lanes[random.choice([lane for lane in LANES if lanes[lane]])].pop(0))

    def _event(
        self, id: int, lane: int, known: dict[str, dict[int, int]], kicks: dict[str, dict[int, int]]
    ) -> list[Stamped]:
        random = self.random
        user = random.choice(USERS)
        kind = random.choices(["add", "leave", "kick", "role"], [4, 4, 1, 2])[0]
        if kind == "add":
            added = random.sample(USERS, random.choice((1, 1, 3)))
            for one in added:
                known.setdefault(one, {})[lane] = id
            knew = {one: {str(by): at for by, at in kicks.get(one, {}).items()} for one in added}
            return [Stamped(id, Effect("member_adds", (CHAT, one, lane), {"knew": knew[one]})) for one in added]
        if kind == "leave":
            taken = {by: at for by, at in known.get(user, {}).items() if random.random() < 0.9}
            rows = [Effect("member_left", (CHAT, user, by), {"left": at}) for by, at in taken.items()]
            return [Stamped(id, one) for one in (*rows, Effect("members", (CHAT, user), {"left_at": id}))]
        if kind == "kick":
            kicks.setdefault(user, {})[lane] = id
            return [Stamped(id, Effect("member_kicked", (CHAT, user, lane), {"kicked": id}))]
        role = random.choice(("admin", "member"))
        return [Stamped(id, Effect("members", (CHAT, user), {"role": role}))]


async def all_of(store: RelationalStore) -> dict[str, Membership]:
    rows: list[Any] = [await store.rows(table, {"chat": CHAT}) for table in crowd.MEMBER_TABLES]
    return registers.memberships(*rows, "user")


async def pages_of(view: StoreView, limit: int) -> list[str]:
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page, after = await view.members(CHAT, after, limit)
        assert len(page) <= limit
        found += page
    return found


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_after_every_event_both_are_what_reading_all_gives(
    adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "_ADDS", 2)
    monkeypatch.setattr(crowd, "_SPARE", 1)
    monkeypatch.setattr(limits, "PAGE_MAX", 3)
    monkeypatch.setattr(limits, "SCAN_MEMBERS_MAX", 4)

    async def run() -> None:
        heirs = set()
        for seed in range(4 if adapter == "sqlite" else 30):
            random = Random(seed)
            folder = tmp_path / str(seed)
            folder.mkdir()
            async with relational_store(adapter, folder) as store:
                view = StoreView("fra", store, MemoryMessageStore(), MemoryHot())
                for effects in Story(random, 60).arrivals:
                    await store.apply(RelationalBatch(effects, (), (), (), {}))
                    view.invalidate(effects)
                    members = await all_of(store)
                    present = [user for user in sorted(members) if members[user].present]
                    assert await view.heir(CHAT) == owner_of("", members)
                    assert await pages_of(view, random.choice((1, 2, 5))) == present
                    heirs.add(owner_of("", members))
        assert len(heirs) > 5, "the stories are of changes"

    asyncio.run(run())
