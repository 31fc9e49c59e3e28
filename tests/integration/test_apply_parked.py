"""An event that can't be applied is parked: the lane goes on, V does not, and a later retry gives the exact state."""

from collections.abc import Iterator, Sequence
from itertools import chain, count, repeat
from random import Random
from typing import Any, NamedTuple

import pytest

from core import limits
from core.errors import NotFound, StoreUnavailable, Undecodable
from core.event import Event
from core.ids import Lane
from events.codec import Codec
from events.record import GENESIS, KIND_EVENT, Record
from events.record import chain as hash_chain
from tests.support.crash import How, Strike, difference
from tests.support.crash_site import ACTIONS, Life, Site, Story, live, outcome, play, random_story, state_of
from tests.support.dc import OneDc
from tests.support.stores import history

MEMBERSHIP = ("member.add", "member.join", "member.kick", "member.leave")
UNKNOWN = {
    "membership": MEMBERSHIP,
    "messages": ("message.send", "message.recall"),
    "creation": ("group.create", "supergroup.create"),
    "fields": ("user.update", "user.upsert", "group.update", "dialog.read", "dialog.mute"),
    "everything": tuple(ACTIONS),
}


def once(strike: Strike) -> Iterator[Strike]:
    return chain([strike], repeat(Strike()))


def codec_without(names: Sequence[str]) -> Codec:
    """What a version before these actions reads."""
    return Codec({name: action for name, action in ACTIONS.items() if name not in names})


async def parked_site(story: Story, names: Sequence[str]) -> tuple[Site, Life]:
    """A DC of the older version that was given the whole story."""
    site = Site(codec=codec_without(names))
    return site, await play(story, site)


async def retry_all(site: Site, life: Life, random: Random, strikes: Iterator[Strike]) -> Life:
    """As an operator after the upgrade: in any order, and again whatever happens."""
    while waiting := await site.relational.parked():
        item = random.choice(waiting)
        while not await life.survive(lambda life=life, item=item: life.applier.retry_parked(item.lane, item.seq)):
            await life.end()
            await site.kill()
            life = await live(site, strikes)
            if not life.applier.progress.is_parked(item.lane, item.seq):
                break
    return life


async def upgraded(story: Story, names: Sequence[str], seed: int, strikes: Iterator[Strike]) -> dict[str, Any]:
    """The end state of a DC that parked what it did not know, was upgraded, and retried."""
    site, life = await parked_site(story, names)
    await life.end()
    site.codec = Codec(ACTIONS)
    life = await retry_all(site, await live(site, strikes), Random(seed), strikes)
    while not await life.survive(life.applier.tick):
        await life.end()
        await site.kill()
        life = await live(site, strikes)
    found = await state_of(story, life, any_order=True)
    await life.end()
    return found


@pytest.mark.parametrize("names", UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize("seed", range(6))
async def test_retried_in_any_order_after_an_upgrade_the_state_is_exact(names: Sequence[str], seed: int) -> None:
    story = random_story(300 + seed, 100)
    wanted = await outcome(story, Site(), any_order=True)
    found = await upgraded(story, names, seed, repeat(Strike()))
    assert not difference(wanted, found)


@pytest.mark.parametrize("how", [How.BEFORE, How.AFTER, How.REFUSED, How.UNANSWERED], ids=lambda how: how.name.lower())
@pytest.mark.parametrize("names", [MEMBERSHIP, UNKNOWN["messages"]], ids=["membership", "messages"])
async def test_a_retry_that_is_struck_anywhere_can_be_repeated(names: Sequence[str], how: How) -> None:
    """Among others: the message row is durable before the event counts as applied."""
    story = random_story(310, 40)
    wanted = await outcome(story, Site(), any_order=True)
    for at in count():
        strike = Strike(at, how)
        found = await upgraded(story, names, 1, once(strike))
        assert not difference(wanted, found), f"struck at {strike.struck}, call {at}"
        if not strike.struck:
            break
    assert at > 15


async def test_v_stands_in_front_of_the_first_parked_event_and_nowhere_else() -> None:
    story = random_story(301, 100)
    site, life = await parked_site(story, MEMBERSHIP)
    assert life.applier.progress.parked
    for restarted in (False, True):
        if restarted:
            await life.end()
            await site.kill()
            life = await live(site, repeat(Strike()))
        v = life.applier.progress.v()
        for lane, records in story.lanes.items():
            waiting = life.applier.progress.parked.get(lane, [len(records) + 1])
            assert [record.seq for record in records if record.id <= v[lane]] == list(range(1, waiting[0]))
            assert life.applier.progress.applied[lane].seq == len(records)
    await life.end()


async def test_hot_state_lost_meanwhile_shows_nothing_of_what_is_parked() -> None:
    story = random_story(303, 100)
    for names in UNKNOWN.values():
        wanted = await outcome(story, Site(), any_order=True)
        site, life = await parked_site(story, names)
        before = await state_of(story, life, any_order=True)
        await life.end()
        site.codec = Codec(ACTIONS)
        site.lose_hot()
        life = await live(site, repeat(Strike()))
        assert not difference(before, await state_of(story, life, any_order=True))
        life = await retry_all(site, life, Random(1), repeat(Strike()))
        await life.applier.tick()
        assert not difference(wanted, await state_of(story, life, any_order=True))
        await life.end()


async def test_what_is_parked_stays_so_until_it_is_retried_though_a_crash_replays_it() -> None:
    """Parked by the relational store, not yet passed by the hot one; the next start is of a version that knows it."""
    story = random_story(304, 60)
    names = ("message.send",)
    wanted = await outcome(story, Site(), any_order=True)
    probe = Strike()
    await outcome(story, Site(codec=codec_without(names)), once(probe))
    for at, name in enumerate(probe.calls):
        if name != "hot.apply":
            continue
        site = Site(codec=codec_without(names))

        def upgrade_at_death(site: Site = site, at: int = at) -> Iterator[Strike]:
            yield Strike(at, How.BEFORE)
            site.codec = Codec(ACTIONS)
            yield from repeat(Strike())

        life = await play(story, site, upgrade_at_death())
        durable = {(item.lane, item.seq) for item in await site.relational.parked()}
        assert durable == {(lane, seq) for lane, seqs in life.applier.progress.parked.items() for seq in seqs}
        life = await retry_all(site, life, Random(at), repeat(Strike()))
        await life.applier.tick()
        assert not difference(wanted, await state_of(story, life, any_order=True)), at
        await life.end()


async def test_effects_that_raise_are_parked_and_said_why() -> None:
    class Broken(ACTIONS["user.update"]):  # type: ignore[misc,name-defined]
        @staticmethod
        def effects(event: Event) -> Any:
            raise ZeroDivisionError("no effects today")

    stories = (random_story(seed, 100) for seed in count(305))
    story = next(one for one in stories if any(event.action == "user.update" for event in one.events))
    wanted = await outcome(story, Site(), any_order=True)
    site = Site()
    site.actions = {**ACTIONS, "user.update": Broken}
    life = await play(story, site)
    broken = [event for event in story.events if event.action == "user.update"]
    assert len(await site.relational.parked()) == len(broken) > 0
    assert {item.reason for item in await site.relational.parked()} == {"ZeroDivisionError: no effects today"}
    item = (await site.relational.parked())[0]
    with pytest.raises(Undecodable, match="no effects today"):
        await life.applier.retry_parked(item.lane, item.seq)
    assert life.applier.progress.is_parked(item.lane, item.seq)
    await life.end()
    site.actions = ACTIONS
    life = await retry_all(site, await live(site, repeat(Strike())), Random(1), repeat(Strike()))
    await life.applier.tick()
    assert not difference(wanted, await state_of(story, life, any_order=True))
    await life.end()


# -- single events


LANE = Lane(2, 0, 0).number


class Garbage(NamedTuple):
    """A record whose body no version ever wrote."""

    id: int
    body: bytes = b"not an event"


class Foreign:
    """A lane of another DC, written by hand."""

    def __init__(self, dc: OneDc) -> None:
        self.dc = dc
        self.codec = Codec(ACTIONS)
        self.records: list[Record] = []

    def event(self, action: str, **args: Any) -> Event:
        id = self.dc.clock.take(LANE)
        return Event(id, action, 1, "Uada", f"k{id}", b"", ACTIONS[action].Args(**args))

    def garbage(self) -> Garbage:
        return Garbage(self.dc.clock.take(LANE))

    def write(self, *events: Event | Garbage) -> list[Record]:
        fresh = []
        for one in events:
            id, body = one.id, self.codec.encode(one) if isinstance(one, Event) else one.body
            last = self.records[-1].hash if self.records else GENESIS
            seq = len(self.records) + 1
            record = Record(LANE, seq, id, KIND_EVENT, body, hash_chain(last, LANE, seq, id, KIND_EVENT, body), b"")
            self.records.append(record)
            fresh.append(record)
        return fresh

    async def arrive(self, *events: Event | Garbage) -> None:
        fresh = self.write(*events)
        await self.dc.log.store(fresh)
        await self.dc.applier.apply([self.codec.entry(record) for record in fresh])


@pytest.fixture
async def dc():
    one = await OneDc().start()
    for user in ("Uada", "Ubob"):
        await one.do("user.upsert", "sys", user=user, name=user)
    yield one
    await one.stop()


async def test_what_no_store_can_hold_is_parked_and_its_neighbours_are_not(dc: OneDc) -> None:
    away = Foreign(dc)
    good = away.event("message.send", conversation="D1", to=("Uada", "Ubob"), text="hi")
    bad = [
        away.event("message.edit", conversation="D1", message=-7, text="x"),
        away.event("message.edit", conversation="D1", message=1 << 63, text="x"),
        away.event("dialog.read", conversation="D1", marks={LANE: -1}),
        away.event("dialog.read", conversation="D1", marks={LANE: (1 << 64) - 1}),
        away.event("user.update", user="Uada", fields={"name": "x"}, basis={"name": 1 << 63}),
    ]
    late = away.event("message.send", conversation="D1", to=("Uada", "Ubob"), text="ho")
    await away.arrive(good, *bad, late)
    assert dc.applier.progress.parked == {LANE: [2, 3, 4, 5, 6]}
    assert [row.body["text"] for row in await history(dc.messages, "D1", limit=9)] == ["hi", "ho"]
    assert (await dc.hot.pts(["Ubob"])) == [3]
    assert dc.applier.progress.applied[LANE].seq == 7
    assert dc.applier.progress.v()[LANE] >= good.id
    with pytest.raises(Undecodable):
        await dc.applier.retry_parked(LANE, 2)


async def test_the_first_record_of_a_lane_may_be_parked(dc: OneDc) -> None:
    away = Foreign(dc)
    await away.arrive(away.garbage(), away.event("message.send", conversation="D1", to=("Uada",), text="hi"))
    assert dc.applier.progress.parked == {LANE: [1]}
    assert not any(record.id <= dc.applier.progress.v()[LANE] for record in away.records)


async def test_only_what_is_parked_is_retried(dc: OneDc) -> None:
    away = Foreign(dc)
    await away.arrive(away.event("message.send", conversation="D1", to=("Uada", "Ubob"), text="hi"), away.garbage())
    pts = await dc.hot.pts(["Ubob"])
    for seq in (1, 3):
        with pytest.raises(NotFound):
            await dc.applier.retry_parked(LANE, seq)
    with pytest.raises(Undecodable):
        await dc.applier.retry_parked(LANE, 2)
    assert await dc.hot.pts(["Ubob"]) == pts
    assert dc.applier.progress.parked == {LANE: [2]}


async def test_a_parked_event_that_the_log_has_lost_is_not_there_to_retry(dc: OneDc) -> None:
    away = Foreign(dc)
    await away.arrive(away.garbage(), away.event("message.send", conversation="D1", to=("Uada",), text="hi"))
    await dc.log.trim(LANE, 1)
    with pytest.raises(NotFound):
        await dc.applier.retry_parked(LANE, 1)


async def test_a_lane_with_too_much_parked_stands_still_and_the_dc_still_starts(
    dc: OneDc, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "PARKED_MAX", 2)
    away = Foreign(dc)
    await away.arrive(away.garbage(), away.garbage())
    with pytest.raises(StoreUnavailable, match="parked"):
        await away.arrive(away.garbage())
    assert dc.applier.progress.applied[LANE].seq == 2
    await dc.do("message.send", "Uada", "k", to="Ubob", text="own lanes go on")
    again = OneDc(log=dc.log, relational=dc.relational, messages=dc.messages, hot=dc.hot)
    await again.applier.start()
    assert again.applier.progress.applied[LANE].seq == 2
    assert again.applier.progress.parked == {LANE: [1, 2]}
    await again.applier.close()
