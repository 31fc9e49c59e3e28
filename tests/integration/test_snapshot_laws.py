"""A snapshot that is taken while writes go on, and a DC restored from it, against the fold of the events.

Each rule of the module is also broken on purpose; the same check must then find it within a few lives.
"""

from typing import Any

import pytest

from core import limits
from core.errors import PlanBError, SnapshotVoid
from snapshot import dump, restore
from stores.ports import Frontier, Mark
from tests.support.snapshot_world import World, check
from tests.support.stores import message_store, relational_store


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many pages, many chunks, short waits."""
    monkeypatch.setattr(limits, "CHUNK_ROWS_MAX", 3)
    monkeypatch.setattr(limits, "CHUNK_ROWS_MEAN", 2)
    monkeypatch.setattr(limits, "ARCHIVE_INTERVAL_MS", 0)
    monkeypatch.setattr(limits, "REFEED_RECORDS_MAX", 4)


async def test_rows_and_the_events_after_f0_are_the_fold_of_everything() -> None:
    fuzzy = 0
    for seed in range(60):
        manifest = await check(seed)
        fuzzy += manifest.f0 != manifest.f1
    assert fuzzy > 40


async def test_the_same_over_sqlite(tmp_path: Any) -> None:
    for seed in range(3):
        old, new = tmp_path / f"old{seed}", tmp_path / f"new{seed}"
        old.mkdir()
        new.mkdir()
        async with (
            relational_store("sqlite", old) as r1,
            message_store("sqlite", old) as m1,
            relational_store("sqlite", new) as r2,
            message_store("sqlite", new) as m2,
        ):
            await check(seed, ((r1, m1), (r2, m2)))


async def found(wanted: int = 3, lives: int = 60) -> bool:
    """Whether the check fails in so many lives."""
    failed = 0
    for seed in range(lives):
        try:
            await check(seed)
        except (AssertionError, PlanBError):
            failed += 1
            if failed == wanted:
                return True
    return False


async def test_the_check_itself_finds_nothing_without_a_planted_bug() -> None:
    assert not await found(1, 20)


async def test_f0_as_the_greatest_frontier_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump._Watch, "smallest", dump._Watch.greatest)
    assert await found()


async def test_f0_taken_after_the_copy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    smallest, look = dump._Watch.smallest, dump._Watch.look
    taken: dict[Any, Frontier] = {}

    async def late(self: dump._Watch) -> None:
        await look(self)
        taken.setdefault(self, {}).update(smallest(self))

    monkeypatch.setattr(dump._Watch, "look", late)
    monkeypatch.setattr(dump._Watch, "smallest", lambda self: taken[self])
    assert await found()


async def test_f1_as_the_smallest_frontier_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump._Watch, "greatest", dump._Watch.smallest)
    assert await found()


async def test_f1_taken_before_the_copy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    look = dump._Watch.look

    async def first_only(self: dump._Watch) -> None:
        if not self._last:
            await look(self)

    monkeypatch.setattr(dump._Watch, "look", first_only)
    assert await found()


async def test_a_snapshot_published_before_the_archive_covers_f1_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The restored DC would show what nobody else ever gets (model m6)."""
    seqs: dict[str, Any] = {}

    async def hasty(archive: Any, frontier: dict[int, int], *_: Any) -> None:
        seqs["lacking"] = await archive.lacking(frontier)

    async def places(archive: Any, frontier: Frontier) -> Any:
        have = {lane: seqs["lacking"].get(lane, (mark.seq,))[0] for lane, mark in frontier.items()}
        return await whole(
            archive, {lane: Mark(seq, (await archive.place(lane, seq)).id) for lane, seq in have.items()}
        )

    whole = dump._places
    monkeypatch.setattr(dump, "_wait_for", hasty)
    monkeypatch.setattr(dump, "_places", places)
    assert await found()


async def test_without_the_wait_the_missing_place_still_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hasty(*_: Any) -> None:
        pass

    monkeypatch.setattr(dump, "_wait_for", hasty)
    world = World(3)
    for _ in range(30):
        await world.step()
    world.seals = False
    await world.write()
    for _ in range(99):
        await world.catch_up(world.relational, None)
    with pytest.raises(PlanBError, match=r"ends at seq \d+, before seq"):
        await world.snapshot()


async def test_applying_what_lies_below_f0_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that were removed come back: the tombstones are gone."""
    fill = restore._fill_log

    async def overlapping(planned: restore.Plan, *rest: Any) -> Any:
        begins = await fill(planned, *rest)
        for store in stores:
            await store.set_frontier({lane: Mark(top.seq, top.id) for lane, top in begins.items()})
        return begins

    stores: list[Any] = []
    load = restore._load_rows

    async def noting(manifest: Any, relational: Any, messages: Any, *rest: Any) -> None:
        stores[:] = [relational, messages]
        await load(manifest, relational, messages, *rest)

    monkeypatch.setattr(limits, "REFEED_RECORDS_MAX", 40)
    monkeypatch.setattr(restore, "_load_rows", noting)
    monkeypatch.setattr(restore, "_fill_log", overlapping)
    assert await found()


# -- what makes a snapshot void


async def test_a_store_that_went_back_during_the_copy_makes_it_void() -> None:
    for store in ("relational", "messages"):
        world = World(1)
        for _ in range(60):
            await world.step()
        turns = 0

        async def busy(key: str = "", world: World = world, store: str = store) -> None:
            nonlocal turns
            turns += 1
            if turns == 3:
                target = getattr(world, store)
                now = await target.frontier()
                lane = max(now, key=lambda lane: now[lane].seq)
                await target.set_frontier({**now, lane: Mark(now[lane].seq - 1, now[lane].id - 1)})

        world.busy = busy  # type: ignore[method-assign]
        with pytest.raises(SnapshotVoid, match="went back from seq"):
            await world.snapshot()
        assert [key async for key in world.objects.list("snapshots/")] == []


async def test_an_archive_that_does_not_come_makes_it_void_and_says_what_it_lacks() -> None:
    world = World(2)
    for _ in range(60):
        await world.step()
    await world.archiver.seal()
    world.seals = False
    for _ in range(60):
        await world.step()
    with pytest.raises(SnapshotVoid, match=r"within 0.05 s: lane \d+ ends at \d+, wanted \d+"):
        await world.snapshot(wait_s=0.05)
    assert [key async for key in world.objects.list("snapshots/")] == []


async def test_the_hot_store_may_be_rebuilt_meanwhile_and_holds_f0_down_while_it_lags() -> None:
    world = World(4)
    for _ in range(60):
        await world.step()
    await world.archiver.seal()
    world.busy = nothing  # type: ignore[method-assign]
    low = await world.both()
    lane = max(low)
    answers: list[Frontier | None] = [low | {lane: Mark(1, (await world.log.read(lane, 0, 1))[0].id)}, None, {}]

    async def hot() -> Frontier | None:
        return answers.pop(0) if answers else {}

    manifest = await world.snapshot(hot_frontier=hot)
    assert manifest.f0[lane].seq == 1
    assert manifest.f1[lane].seq >= low[lane].seq
    assert answers == []


async def nothing(key: str = "") -> None:
    """A quiet time."""
