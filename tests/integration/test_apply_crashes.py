"""A DC that dies between any two steps of `apply`, or hears nothing of what it did, ends as one that never did."""

from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import StoreUnavailable
from events.record import Record
from tests.support.crash import READS, WRITES, How, Strike, difference
from tests.support.crash_real import RealSite
from tests.support.crash_site import Site, Story, group_story, live, older, outcome, play, random_story, state_of
from tests.support.valkey import ValkeyFactory

NEVER = repeat(Strike())
STORIES = [(2, 110), (26, 100), (36, 120)]


def once(strike: Strike) -> Iterator[Strike]:
    return chain([strike], repeat(Strike()))


async def calls_of(story: Story, counted: frozenset[str] = WRITES) -> tuple[dict, list[str]]:
    """The end state of an undisturbed run, and the calls that may be struck."""
    strike = Strike(counted=counted)
    return await outcome(story, Site(), once(strike)), strike.calls


@pytest.mark.parametrize("how", [How.BEFORE, How.AFTER, How.REFUSED, How.UNANSWERED], ids=lambda how: how.name.lower())
@pytest.mark.parametrize("made_of", STORIES, ids=lambda made_of: f"story {made_of[0]}")
async def test_struck_at_any_write_the_end_is_the_same(made_of: tuple[int, int], how: How) -> None:
    story = random_story(*made_of)
    wanted, calls = await calls_of(story)
    for at, name in enumerate(calls):
        found = await outcome(story, Site(), once(Strike(at, how)))
        assert not difference(wanted, found), f"struck at {name}, call {at}"


async def test_a_read_that_fails_anywhere_changes_nothing() -> None:
    story = random_story(36, 60)
    wanted, calls = await calls_of(story, READS)
    for at, name in enumerate(calls):
        found = await outcome(story, Site(), once(Strike(at, How.REFUSED, READS)))
        assert not difference(wanted, found), f"refused at {name}, call {at}"


@pytest.mark.parametrize("lag", [0, 1, 1_000], ids=["durable at once", "one put behind", "never durable by itself"])
async def test_many_deaths_in_one_history_also_during_recovery(lag: int) -> None:
    for seed in range(8):
        story = random_story(100 + seed, 120)
        wanted = await outcome(story, Site())
        random = Random(seed)
        deaths = (Strike(random.randrange(12), random.choice([How.BEFORE, How.AFTER])) for _ in range(25))
        assert not difference(wanted, await outcome(story, Site(lag), chain(deaths, repeat(Strike())))), seed


@settings(max_examples=40, deadline=None)
@given(st.data())
async def test_stores_that_were_restored_from_older_copies_catch_up(data: st.DataObject) -> None:
    """Each store keeps its own frontier, so each may be of another moment."""
    kind = data.draw(st.sampled_from([random_story, group_story]), "kind")
    story = kind(data.draw(st.integers(200, 260), "seed"), 60)
    wanted = await outcome(story, Site(), any_order=True)
    moments = st.integers(0, len(story.batches))
    stops = {name: data.draw(moments, name) for name in ("messages", "relational", "hot")}
    lives = []
    for stop in stops.values():
        site = Site(lag=0)
        lives.append(await play(story._replace(batches=story.batches[:stop]), site))
        await lives[-1].end()
    site = Site(lag=0)
    older(site, lives[0].site.messages, lives[1].site.relational, lives[2].site.hot)
    # The epoch is kept apart from the hot store, and durably.
    await site.relational.set_meta("epoch", str(lives[2].applier.epoch))
    for records in story.cut():
        await site.log.store(records)
    life = await live(site, repeat(Strike()))
    await life.applier.tick()
    found = await state_of(story, life, any_order=True)
    await life.end()
    assert not difference(wanted, found), stops


async def test_a_batch_that_failed_half_way_is_overtaken_by_other_lanes() -> None:
    """Its rows are here and its updates are not: who is back-fed meanwhile is not fed once more when its turn comes."""
    for seed in range(12):
        story = group_story(seed)
        story = story._replace(batches=[[part] for parts in story.batches for part in parts])
        wanted = await outcome(story, Site(), any_order=True)
        for turn in range(2, len(story.batches), 3):
            site = Site()
            found = await _overtaken(story, site, turn)
            assert not difference(wanted, found), (seed, turn)


async def _overtaken(story: Story, site: Site, turn: int) -> dict:
    """The batch number `turn` fails at the hot store, and is tried again three batches later."""
    strike = Strike()
    life = await live(site, once(strike))
    held: list[list[Record]] = []
    for at, records in enumerate(story.cut()):
        await site.log.store(records)
        lanes = {record.lane for batch in held for record in batch}
        if at == turn + 3:
            for batch in held:
                assert await life.apply(batch)
            held, lanes = [], set()
        if at == turn:
            strike.refuse_next = "hot.apply"
            try:
                await life.applier.apply([site.codec.entry(record) for record in records])
            except StoreUnavailable:
                held.append(records)
        elif records[0].lane in lanes:
            held.append(records)
        else:
            assert await life.apply(records)
    for batch in held:
        assert await life.apply(batch)
    await life.applier.tick()
    found = await state_of(story, life, any_order=True)
    await life.end()
    return found


@pytest.mark.integration
async def test_real_stores_struck_at_a_sample_of_writes(tmp_path: Path, valkey_server: ValkeyFactory) -> None:
    story = random_story(26, 100)
    wanted, calls = await calls_of(story)
    hot = valkey_server()
    random = Random(1)
    for n in range(16):
        at, how = random.randrange(len(calls)), random.choice([How.BEFORE, How.AFTER, How.REFUSED, How.UNANSWERED])
        site = RealSite(tmp_path / str(n), hot)
        try:
            found = await outcome(story, site, once(Strike(at, how)))
        finally:
            await site.close()
        assert not difference(wanted, found), f"{how.name} at {calls[at]}, call {at}"
