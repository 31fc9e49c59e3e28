"""Hot state is lost at any point: it comes back as a new epoch, whole, and no client jumps over anything."""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from core import limits
from core.errors import Conflict, StoreUnavailable
from stores.adapters.memory_hot import MemoryHot
from tests.support.api import User, api_dc
from tests.support.crash import How, Strike, difference
from tests.support.crash_real import RealSite
from tests.support.crash_site import Site, live, outcome, play, random_story, state_of
from tests.support.dc import OneDc
from tests.support.valkey import ValkeyFactory

STORIES = [(2, 110), (8, 100), (36, 120)]


def once(strike: Strike) -> Iterator[Strike]:
    return itertools.chain([strike], itertools.repeat(Strike()))


async def calls_of(made_of: tuple[int, int]) -> tuple[dict[str, Any], list[str]]:
    strike = Strike()
    return await outcome(random_story(*made_of), Site(), once(strike), any_order=True), strike.calls


@pytest.mark.parametrize("made_of", STORIES, ids=lambda made_of: f"story {made_of[0]}")
async def test_lost_before_any_write_it_comes_back_whole(made_of: tuple[int, int]) -> None:
    story = random_story(*made_of)
    wanted, calls = await calls_of(made_of)
    for at, name in enumerate(calls):
        found = await outcome(story, Site(), once(Strike(at, How.HOT_LOST)), any_order=True)
        assert not difference(wanted, found), f"lost before {name}, call {at}"


async def test_a_rebuild_that_is_struck_is_repeated() -> None:
    story = random_story(*STORIES[1])
    wanted, calls = await calls_of(STORIES[1])
    random = Random(1)
    for _ in range(120):
        at = random.randrange(len(calls))
        then = {at + random.randint(1, 24): random.choice(list(How)) for _ in range(random.randint(1, 3))}
        found = await outcome(story, Site(), once(Strike(at, How.HOT_LOST, then=then)), any_order=True)
        assert not difference(wanted, found), (at, then)


async def test_what_readers_can_read_is_of_the_epoch_that_they_are_told() -> None:
    """Else a position in the old lists would be looked up in the new ones."""
    story = random_story(8, 60)
    published = 0
    for how in (How.REFUSED, How.UNANSWERED):
        for later in range(1, 22):
            site = Site()
            strike = Strike(12, How.HOT_LOST, then={12 + later: how})
            life = await live(site, once(strike))

            def check(site: Site = site, life: Any = life) -> None:
                nonlocal published
                shown = life.applier.epoch
                assert site.hot._state.published in (None, shown)
                assert life.view.epoch == shown
                published += 1

            strike.after_each = check
            for records in story.cut():
                await site.log.store(records)
                assert await life.apply(records)
            await life.end()
    assert published


async def test_it_is_rebuilt_though_nothing_is_written() -> None:
    site = Site()
    life = await live(site, once(Strike()))
    epoch = life.applier.epoch
    site.lose_hot()
    await life.applier.tick()
    assert await site.hot.epoch() == life.applier.epoch == epoch + 1
    await life.applier.tick()
    assert life.applier.epoch == epoch + 1
    await life.end()


async def test_what_was_spoilt_within_an_epoch_is_whole_after_a_rebuild_that_was_asked_for() -> None:
    """Nothing notices it by itself: the epoch is there, and so is the frontier."""
    story = random_story(*STORIES[1])
    site = Site()
    life = await play(story, site)
    wanted = await state_of(story, life, any_order=True)
    epoch = life.applier.epoch
    for spoilt in (site.hot._state.owners, site.hot._state.dialogs, site.hot._state.results):
        spoilt.clear()
    await life.applier.tick()
    assert difference(wanted, await state_of(story, life, any_order=True))
    assert await life.applier.rebuild_hot(epoch) == epoch + 1 == await site.hot.epoch()
    assert not difference(wanted, await state_of(story, life, any_order=True))
    with pytest.raises(Conflict, match=f"in epoch {epoch + 1}, not {epoch}"):
        await life.applier.rebuild_hot(epoch)
    assert life.applier.epoch == epoch + 1, "a repeat begins no further one"
    await life.end()


async def test_a_rebuild_that_was_asked_for_and_failed_is_made_good_by_the_next_tick() -> None:
    story = random_story(8, 60)
    for how in (How.REFUSED, How.UNANSWERED, How.HOT_LOST):
        for later in range(0, 20, 4):
            site, strike = Site(), Strike()
            life = await play(story, site, once(strike))
            wanted = await state_of(story, life, any_order=True)
            strike.plan[len(strike.calls) + later] = how
            with contextlib.suppress(StoreUnavailable):
                await life.applier.rebuild_hot(life.applier.epoch)
            strike.plan.clear()
            await life.applier.tick()
            assert not difference(wanted, await state_of(story, life, any_order=True)), (how, later)
            await life.end()


async def test_a_rebuild_that_the_tick_began_and_that_failed_is_made_good_by_the_next_batch() -> None:
    story = random_story(8, 60)
    for how in (How.REFUSED, How.UNANSWERED):
        for later in range(20):
            site = Site()
            strike = Strike()
            life = await live(site, once(strike))
            batches = list(story.cut())
            for records in batches:
                await site.log.store(records)
                if records is batches[-1]:
                    site.lose_hot()
                    strike.plan[len(strike.calls) + later] = how
                    with contextlib.suppress(StoreUnavailable):
                        await life.applier.tick()
                    strike.plan.clear()
                assert await life.apply(records)
            assert await site.hot.epoch() == life.applier.epoch
            assert await site.hot.frontier() == life.applier.progress.applied
            await life.end()


@pytest.mark.integration
async def test_a_real_server_killed_on_the_way(tmp_path: Path, valkey_server: ValkeyFactory) -> None:
    story = random_story(*STORIES[1])
    wanted, calls = await calls_of(STORIES[1])
    hot = valkey_server()
    random = Random(2)
    for n in range(6):
        site = RealSite(tmp_path / str(n), hot)
        at = random.randrange(len(calls))
        then = {at + random.randint(1, 12): How.HOT_LOST} if n % 2 else {}
        try:
            found = await outcome(story, site, once(Strike(at, How.HOT_LOST, then=then)), any_order=True)
        finally:
            await site.close()
        assert not difference(wanted, found), (at, then)


# -- what a client sees of it


async def position(user: User) -> str:
    return str((await user.ok("GET", "/v1/state"))["cursor"])


def texts(page: dict[str, Any]) -> list[str]:
    return [one["update"]["message"]["text"] for one in page["updates"]]


async def test_a_client_is_reset_exactly_where_its_updates_were_not_fed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = 5
    monkeypatch.setattr(limits, "REFEED_RECORDS_MAX", kept)
    hot = MemoryHot()
    async with api_dc(OneDc(hot=hot)) as api:
        await api.sign_up("Uada", "Ubob")
        ada, bob = api.user("Uada"), api.user("Ubob")
        cursors = [await position(bob)]
        for n in range(12):
            await ada.send("Ubob", f"m{n}")
            cursors.append(await position(bob))
        hot.lose()
        await api.dc.applier.tick()
        for sent, cursor in enumerate(cursors):
            page = await bob.ok("POST", "/v1/updates", {"cursor": cursor, "limit": 100})
            assert page["reset"] == (sent < 12 - kept), sent
            assert page["reset"] or texts(page) == [f"m{n}" for n in range(sent, 12)]


async def test_a_client_half_way_through_its_updates_goes_on_without_a_jump() -> None:
    hot = MemoryHot()
    async with api_dc(OneDc(hot=hot)) as api:
        await api.sign_up("Uada", "Ubob")
        ada, bob = api.user("Uada"), api.user("Ubob")
        cursor = await position(bob)
        for n in range(9):
            await ada.send("Ubob", f"m{n}")
        page = await bob.ok("POST", "/v1/updates", {"cursor": cursor, "limit": 4})
        got = texts(page)
        hot.lose()
        reply = await bob.post("/v1/updates", {"cursor": page["cursor"]})
        assert (reply.status, reply.code) == (503, "store_unavailable")
        await api.dc.applier.tick()
        while page["more"]:
            page = await bob.ok("POST", "/v1/updates", {"cursor": page["cursor"], "limit": 2})
            assert not page["reset"]
            got += [text for text in texts(page) if text not in got]
        assert got == [f"m{n}" for n in range(9)]
