"""What lost, page by page: against the list of all, for any tree of bases, wherever pages begin and end."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import limits
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.lost_writes import Conflict, LostWrites
from tests.support.stores import NOW_MS, batch, write


async def every(_: Conflict) -> bool:
    return True


async def walked(store: MemoryRelationalStore, since: int, limit: int, fits: Any = every) -> list[Conflict]:
    """All, by pages that begin anew."""
    found: list[Conflict] = []
    before = 1 << 63
    while before:
        page = await LostWrites(store, since, before, fits).page(limit)
        stamps = [one["stamp"] for one in page.conflicts]
        assert len(set(stamps[:-1])) <= limit and all(stamp < before for stamp in stamps)
        assert not page.more or page.more < before
        found += page.conflicts
        before = page.more
    return found


@given(st.data())
@settings(max_examples=80, deadline=None)
async def test_pages_are_the_list_of_all_wherever_they_begin_and_end(drawn: st.DataObject) -> None:
    count = drawn.draw(st.integers(1, 25))
    users = drawn.draw(st.lists(st.sampled_from(["Ua", "Ub", "Uc"]), min_size=count, max_size=count))
    effects = []
    for at in range(1, count + 1):
        columns = drawn.draw(st.sampled_from([("name",), ("about",), ("name", "about")]))
        bases = {column: drawn.draw(st.integers(0, at - 1)) for column in columns}
        values = {column: drawn.draw(st.sampled_from("xy")) for column in columns}
        effects.append(write(at, "users", users[at - 1], values, **bases))
    since = drawn.draw(st.integers(0, count))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "LOST_READ_TOGETHER", drawn.draw(st.integers(1, 6)))
        patch.setattr(limits, "LOST_LOOKS_MAX", drawn.draw(st.integers(1, 12)))
        patch.setattr(limits, "LOST_ASKED_MAX", drawn.draw(st.integers(1, 12)))
        patch.setattr(limits, "PAGE_MAX", drawn.draw(st.integers(1, 3)))
        store = MemoryRelationalStore(clock=lambda: NOW_MS)
        await store.apply(batch(effects))
        found = await walked(store, since, drawn.draw(st.integers(1, 4)))
    wanted = await store.conflicts(since)
    wanted.sort(key=lambda one: (-one["stamp"], one["table"], one["column"], str(one["key"])))
    assert found == wanted


async def test_what_one_page_looks_at_is_bounded_and_so_is_what_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOST_READ_TOGETHER", 10)
    monkeypatch.setattr(limits, "LOST_LOOKS_MAX", 50)
    monkeypatch.setattr(limits, "LOST_ASKED_MAX", 20)
    store = MemoryRelationalStore(clock=lambda: NOW_MS)
    await store.apply(batch(write(at, "users", "Ua", {"name": str(at)}, name=at - 1) for at in range(1, 301)))
    assert await LostWrites(store, 0, 1 << 63, every).page(100) == ([], 251)
    asked = 0

    async def nothing(_: Conflict) -> bool:
        nonlocal asked
        asked += 1
        return False

    await store.apply(batch(write(at, "users", "Ub", {"name": str(at)}, name=0) for at in range(301, 401)))
    page = await LostWrites(store, 0, 1 << 63, nothing).page(100)
    assert (asked, page) == (20, ([], 380))
    assert await walked(store, 0, 7, nothing) == [] and asked == 20 + 99
