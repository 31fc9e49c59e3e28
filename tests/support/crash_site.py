"""One DC that is given a story of many lanes, dies on the way as told, and what it holds in the end."""

import asyncio
import copy
import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import repeat
from random import Random
from typing import Any, NamedTuple, Protocol

from core.action import Action, registry
from core.actions.conversations import reach_in
from core.actions.members import Add, Kick
from core.actions.messages import Send
from core.clock import HybridClock
from core.errors import StoreUnavailable
from core.event import Event
from core.ids import make_id, tick_at
from core.membership import Membership, Roll
from core.system import Clock
from events.adapters.memory import MemoryLog
from events.codec import Codec, Opened, encode_opened
from events.record import GENESIS, KIND_EVENT, KIND_OPEN, Record, chain
from stores import render
from stores.adapters.memory_hot import MemoryHot
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.apply import Applier
from stores.digest import digest
from stores.view import StoreView
from tests.support.crash import BehindMessages, Crash, Strike, Struck
from tests.support.history import USERS, History, Step, random_steps
from tests.support.mesh import START_MS, Mesh
from tests.support.view import members_of

ACTIONS = registry()
RESTARTS_MAX = 400
TRIES_MAX = 20

Part = tuple[int, int]
"""A lane and how many of its records."""


class Script(Protocol):
    """What a DC is given, and about whom."""

    @property
    def events(self) -> Sequence[Event]: ...
    @property
    def chats(self) -> Sequence[str]: ...
    @property
    def users(self) -> Sequence[str]: ...
    def cut(self) -> Iterator[list[Record]]:
        """The batches, in their order."""
        ...


class Story(NamedTuple):
    """Records of all lanes, and in which batches one DC gets them."""

    lanes: dict[int, list[Record]]
    batches: list[list[Part]]
    events: list[Event]
    chats: list[str]
    past: dict[int, frozenset[int]]
    """Event -> the events that its origin had applied."""
    users: tuple[str, ...] = USERS

    def cut(self) -> Iterator[list[Record]]:
        at = dict.fromkeys(self.lanes, 0)
        for parts in self.batches:
            batch: list[Record] = []
            for lane, count in parts:
                batch += self.lanes[lane][at[lane] : at[lane] + count]
                at[lane] += count
            yield batch


class OneKeyOnePlace(History):
    """A key belongs to one intention: retries through several DCs go to one conversation. (A key that is used for two
    makes one message of both; which conversation counts it is then not the same after a rebuild.)"""

    def _write(self, step: Step, action: str, actor: str, request: dict[str, Any], key: str = "") -> Any:
        if action == "message.send":
            key += request["to"]
        return super()._write(step, action, actor, request, key)


def story_of(steps: Sequence[Step], seed: int, batch_max: int = 6) -> Story:
    """What these steps write in three DCs, in a random order of lanes, a few records at a time."""
    mesh = Mesh(dcs=3, lanes=2)
    played = OneKeyOnePlace(mesh).play(steps)
    lanes = {lane: _records(lane, bodies, mesh) for lane, bodies in mesh.logs.items()}
    chats = [*played.chats, played.asked]
    return Story(lanes, batches_of(lanes, Random(seed), batch_max), mesh.events, chats, mesh.past)


@functools.cache
def random_story(seed: int, count: int, batch_max: int = 6) -> Story:
    """The same story for the same seed."""
    return story_of(random_steps(seed, count), seed, batch_max)


MEMBERSHIP_OPS = (0, 1, 2, 11, 12, 13, 14, 15, 16, 19, 20, 21)
"""Deliveries, membership and messages: what feeding depends on."""


@functools.cache
def membership_story(seed: int, count: int, batch_max: int = 6) -> Story:
    """Members come and go, and write."""
    random = Random(seed)
    steps = [step._replace(op=random.choice(MEMBERSHIP_OPS)) for step in random_steps(seed, count)]
    return story_of(steps, seed, batch_max)


@functools.cache
def group_story(seed: int, count: int = 40) -> Story:
    """One group, whose owner writes while others join and are thrown out once at most, over links that break: what
    tests/models/test_group_feed.py plays for one member."""
    random = Random(seed)
    mesh = Mesh(dcs=3, lanes=2)
    owner, chat = USERS[0], "G1"
    mesh.commit(0, "member.add", owner, Add.Args(chat=chat, to=(owner,), adds={owner: {}}))
    mesh.settle()
    cut: set[tuple[int, int]] = set()
    added: set[str] = set()
    kicked: set[str] = set()
    for _ in range(count):
        mesh.now_ms += random.randint(1, 90)
        if random.random() < 0.2:
            cut ^= {(random.randrange(3), random.choice(list(mesh.logs)))}
        dc, lane, dice, user = random.randrange(3), random.randrange(2), random.random(), random.choice(USERS[1:])
        members = members_of(mesh.dcs[dc].state, chat)
        to, knew = reach_in(Roll().told(members))
        present = members.get(user, Membership()).present
        if dice < 0.4:
            args = Send.Args(conversation=chat, to=to, knew=knew, text="hello")
            mesh.commit(dc, "message.send", owner, args, lane=lane)
        elif dice < 0.5 and user not in added:
            added.add(user)
            joined = Add.Args(chat=chat, to=tuple(sorted({*to, user})), knew=knew, adds={user: {}})
            mesh.commit(dc, "member.add", owner, joined, lane=lane)
        elif dice < 0.6 and present and user not in kicked and user != USERS[-1]:
            kicked.add(user)
            gone = Kick.Args(chat=chat, to=to, knew=knew, user=user)
            mesh.commit(dc, "member.kick", owner, gone, lane=lane)
        mesh.drift(random, 0.4, cut)
    lanes = {lane: _records(lane, bodies, mesh) for lane, bodies in mesh.logs.items()}
    return Story(lanes, batches_of(lanes, random, 4), mesh.events, [chat], mesh.past)


def _records(lane: int, bodies: Sequence[bytes], mesh: Mesh) -> list[Record]:
    ids = [event.id for event in mesh.events if event.id & 0xFFFF == lane]
    all_of = [(KIND_OPEN, make_id(tick_at(START_MS) - 1, lane), encode_opened(Opened("test", START_MS)))]
    all_of += [(KIND_EVENT, id, body) for id, body in zip(ids, bodies, strict=True)]
    records, hash = [], GENESIS
    for seq, (kind, id, body) in enumerate(all_of, 1):
        hash = chain(hash, lane, seq, id, kind, body)
        records.append(Record(lane, seq, id, kind, body, hash, b""))
    return records


def batches_of(lanes: Mapping[int, list[Record]], random: Random, batch_max: int) -> list[list[Part]]:
    """Some order of arrival."""
    left = {lane: len(records) for lane, records in lanes.items() if records}
    batches = []
    while left:
        parts = []
        for lane in random.sample(sorted(left), min(len(left), random.choice((1, 1, 2, 3)))):
            count = random.randint(1, min(left[lane], batch_max))
            parts.append((lane, count))
            left[lane] -= count
            if not left[lane]:
                del left[lane]
        batches.append(parts)
    return batches


class Site:
    """The durable side of a DC, in memory. A subclass may keep it elsewhere."""

    def __init__(self, lag: int = 3, codec: Codec | None = None, now_ms: int = START_MS) -> None:
        self.clock: Clock = lambda: now_ms
        self.log: Any = MemoryLog()
        self.relational: Any = MemoryRelationalStore(clock=self.clock)
        self.messages: Any = BehindMessages(lag=lag)
        self.hot: Any = MemoryHot(clock=lambda: 0.0)
        self.actions: Mapping[str, type[Action]] = ACTIONS
        self.codec = codec or Codec(ACTIONS)

    async def open(self) -> None:
        """Opens the stores for one life."""

    async def kill(self) -> None:
        """What was not durable is gone."""
        self.messages = self.messages.killed()

    def lose_hot(self) -> None:
        self.hot.lose()


class Life:
    """One life of the process: from its start to its death, or the end of the story."""

    def __init__(self, site: Site, strike: Strike) -> None:
        strike.lose_hot = site.lose_hot
        self.site = site
        self.strike = strike
        self.log = Struck("log", site.log, strike)
        self.relational = Struck("relational", site.relational, strike)
        self.messages = Struck("messages", site.messages, strike)
        self.hot = Struck("hot", site.hot, strike)
        self.view = StoreView("dc0", self.relational, self.messages, self.hot)
        self.clock = HybridClock(site.clock)
        self.applier = Applier(
            event_log=self.log,
            relational=self.relational,
            messages=self.messages,
            hot=self.hot,
            view=self.view,
            actions=site.actions,
            codec=site.codec,
            clock=self.clock,
            now_ms=site.clock,
            own_lanes={0},
        )

    async def survive(self, what: Callable[[], Awaitable[None]]) -> bool:
        """Does it, again while a store is unavailable. False if the process died meanwhile."""
        for _ in range(TRIES_MAX):
            try:
                await what()
            except Crash:
                return False
            except StoreUnavailable:
                if self.strike.dead:
                    return False
                continue
            return not self.strike.dead
        raise AssertionError("it does not get through")

    async def apply(self, records: Sequence[Record]) -> bool:
        return await self.survive(lambda: self.applier.apply([self.site.codec.entry(record) for record in records]))

    async def end(self) -> None:
        await self.applier.close()


async def live(site: Site, strikes: Iterator[Strike]) -> Life:
    """Starts lives until one has recovered."""
    for _ in range(RESTARTS_MAX):
        await site.open()
        life = Life(site, next(strikes))
        if await life.survive(life.applier.start):
            return life
        await life.end()
        await site.kill()
    raise AssertionError("it never recovers")


async def play(story: Script, site: Site, strikes: Iterator[Strike] | None = None) -> Life:
    """Gives the site the whole story, through as many lives as it takes. Recovery applies what the log holds."""
    strikes = strikes or repeat(Strike())
    life = await live(site, strikes)
    for records in story.cut():
        await site.log.store(records)
        while not await life.apply(records):
            await life.end()
            await site.kill()
            life = await live(site, strikes)
    while not await life.survive(life.applier.tick):
        await life.end()
        await site.kill()
        life = await live(site, strikes)
    return life


async def state_of(story: Script, life: Life, any_order: bool = False) -> dict[str, Any]:
    """All that one may ask a DC, where the order of updates does not count. With `any_order` it is the same in every
    DC, in whatever order its lanes came."""
    life.strike.plan.clear()
    site, view, applier = life.site, life.view, life.applier
    await site.messages.flush()
    tables = (await digest(site.relational, site.messages)).shown()["tables"]
    applied = {lane: tuple(mark) for lane, mark in applier.progress.applied.items()}
    fields: dict[str, Any] = {
        "rows": {name: (table["rows"], table["sum"]) for name, table in tables.items()},
        "conflicts": await site.relational.conflicts(),
        "stored results": await site.relational.results(0, 10_000),
        "parked": [item[:3] for item in await site.relational.parked()],
        "progress parked": applier.progress.parked,
        "v": applier.progress.v(),
        "applied": applied,
        "hot frontier": {lane: tuple(mark) for lane, mark in (await site.hot.frontier()).items()},
        "relational frontier": {lane: tuple(mark) for lane, mark in (await site.relational.frontier()).items()},
        "message frontier": {lane: tuple(mark) for lane, mark in (await site.messages.frontier()).items()},
        "published": await site.hot.epoch() == applier.epoch == view.epoch,
    }
    owed = owed_events(story, any_order)
    _, gone = _comings_and_goings(story)
    named = {event.id: ACTIONS[event.action].audience(event).users for event in story.events}

    def late(owner: str, update: tuple[Any, ...]) -> bool:
        """That a message mentions all changes the dialog of whoever is fed it. Where it was here before he joined, only
        the message itself comes after all: his client loads the dialog with his membership."""
        return update[1] == "dialog" and owner not in named[update[0]]

    conversations = sorted({row.conversation async for page in site.messages.dump() for row in page})
    for owner in (*story.users, *(chat for chat in story.chats if chat[0] == "C")):
        fields[f"updates of {owner}"] = [
            one
            for one in await updates_of(site, owner)
            if one[0] in owed[owner] and not (any_order and late(owner, one))
        ]
    for user in story.users:
        memberships = await view.memberships_of(user)
        sure = [place for place in conversations if not (any_order and (place, user) in gone)]
        channels = sorted(chat for chat in memberships if chat[0] == "C")
        joined = [(place, memberships[place].joined_at if place in memberships else 0) for place in conversations]
        fields[f"of {user}"] = {
            "dialogs": [one for one in await site.hot.dialogs(user, channels, [], None, 100) if one[0] in sure],
            "tops": await site.hot.tops(user, sure),
            "unread": dict(zip(conversations, await site.hot.unread(user, joined), strict=True)),
            "unread from the beginning": await site.hot.unread(user, [(place, 0) for place in conversations]),
            "settings": [await view.dialog(user, place) for place in conversations],
            "marks": [
                (await view.read_mark(user, place), await view.clear_mark(user, place)) for place in conversations
            ],
            "memberships": memberships,
        }
    fields["results"] = {
        (event.actor, event.key): result and (result.event, result.action, result.answer)
        for event in story.events
        if event.key
        for result in [await site.hot.result(event.actor, event.key)]
    }
    return fields


def owed_events(story: Script, any_order: bool) -> dict[str, set[int]]:
    """Per owner the events whose updates he surely gets, or surely does not: all messages, and what names him. (Of the
    other events of a group a client learns by loading it anew.) In any order of arrival: what names him, and messages
    after he joined, if he never left."""
    found = {owner: set[int]() for owner in (*story.users, *story.chats)}
    joined, gone = _comings_and_goings(story)
    for event in story.events:
        audience = ACTIONS[event.action].audience(event)
        for owner in (*audience.users, *((audience.channel,) if audience.channel else ())):
            found[owner].add(event.id)
        if event.action == "message.send" and event.args.conversation[0] != "C":
            for user in story.users:
                place = (event.args.conversation, user)
                if not any_order or (place not in gone and event.id > joined.get(place, event.id)):
                    found[user].add(event.id)
    return found


def _comings_and_goings(story: Script) -> tuple[dict[tuple[str, str], int], set[tuple[str, str]]]:
    joined: dict[tuple[str, str], int] = {}
    gone = set()
    for event in story.events:
        for effect in ACTIONS[event.action].effects(event):
            if effect.table in ("member_adds", "member_left", "member_kicked"):
                place = (str(effect.key[0]), str(effect.key[1]))
                if effect.table == "member_adds":
                    joined[place] = min(event.id, joined.get(place, event.id))
                else:
                    gone.add(place)
    return joined, gone


async def updates_of(site: Site, owner: str) -> list[tuple[Any, ...]]:
    """(event, type, ref) of an owner's list, sorted; each is there once and their pts are dense."""
    found = await site.hot.updates(owner, 0, 100_000)
    assert (found.first, found.pts) == (1, len(found.entries))
    updates = sorted((entry.event, entry.type, entry.ref) for entry in map(render.decode, found.entries))
    assert len(set(updates)) == len(updates), f"{owner} was fed an event twice"
    return updates


async def outcome(
    story: Story, site: Site, strikes: Iterator[Strike] | None = None, any_order: bool = False
) -> dict[str, Any]:
    """Plays the story and tells the end state."""
    async with asyncio.timeout(60):
        life = await play(story, site, strikes)
        found = await state_of(story, life, any_order)
        await life.end()
    return found


def older(site: Site, messages: BehindMessages, relational: MemoryRelationalStore, hot: MemoryHot) -> None:
    """Puts copies of an earlier moment in the place of the stores."""
    site.messages, site.relational, site.hot = messages.killed(), copy.deepcopy(relational), copy.deepcopy(hot)
