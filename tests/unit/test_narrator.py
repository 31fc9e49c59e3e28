"""The demo's people go on to talk when their conversations are told."""

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest

from cli.conversation import Conversation, Join, Kick, Part, Say, generate
from cli.narrator import OWNER, Narrator
from core.errors import Unavailable
from planb_sdk import Draft, Receipt, Unreachable

CAST: Any = None
"""Nobody speaks here."""


def narrator(*conversations: Conversation) -> Narrator:
    return Narrator(CAST, conversations)


def test_who_is_still_there_goes_on_and_nothing_grows() -> None:
    steps = (Join("a"), Join("b"), Join("c"), Join("d"), Say("a", "x"), Part("b"), Kick("c", "a"), Join("c"), Part("d"))
    told = narrator(Conversation("room", steps, ("a", "b", "c", "d")))
    (tale,) = told.tales
    tale.peer, tale.said, tale.keys, tale.place = "G1", [("a", "x")], {"a": ["k"]}, len(steps)
    rng = Random(1)
    for _ in range(20):
        told.go_on(rng, 50)
        assert (tale.peer, tale.said, tale.keys, tale.place) == ("G1", [], {}, 0)
        assert len(tale.conversation.steps) == 50
        assert {step.nick for step in tale.conversation.steps if isinstance(step, Say)} == {"a", "c"}


def test_generated_conversations_go_on_everywhere() -> None:
    told = narrator(*generate(1))
    told.go_on(Random(1), 200)
    assert sum(tale.conversation.messages for tale in told.tales) == 200
    assert all(tale.conversation.messages for tale in told.tales)


def test_when_all_have_left_they_come_back_and_where_nobody_was_nobody_speaks() -> None:
    empty = Conversation("empty", (), ())
    left = Conversation("left", (Join("a"), Part("a")), ("a",))
    told = narrator(empty, left)
    told.go_on(Random(1), 10)
    assert [tale.conversation.messages for tale in told.tales] == [0, 10]
    alone = narrator(empty)
    alone.go_on(Random(1), 10)
    assert alone.tales[0].conversation.messages == 0


class Region:
    """Gives ids as a datacenter does: above its own clock and above what the caller has seen."""

    def __init__(self, now: int) -> None:
        self.now = now

    def stamp(self, seen: str) -> int:
        self.now = max(self.now, int(seen or 0)) + 1
        return self.now


class Speaker:
    """A client that answers after some turns of the loop."""

    def __init__(self, name: str, region: Region, rng: Random, history: list[tuple[int, str, str]]) -> None:
        self._name, self._region, self._rng, self._history = name, region, rng, history
        self.clock = ""

    def see(self, clock: str) -> None:
        self.clock = max(self.clock, clock, key=lambda shown: int(shown or 0))

    async def _write(self) -> Receipt:
        for _ in range(self._rng.randrange(5)):
            await asyncio.sleep(0)
        self.clock = str(self._region.stamp(self.clock))
        return Receipt(self.clock, self.clock, "local", False, {})

    async def join(self, chat: str) -> Receipt:
        return await self._write()

    leave = join

    async def set_role(self, chat: str, user: str, role: str) -> None:
        pass

    async def kick(self, chat: str, user: str) -> Receipt:
        receipt = await self._write()
        self._history.append((int(receipt.id), self._name, f"kicks {user}"))
        return receipt

    async def send_many(self, drafts: Iterable[Draft]) -> list[Receipt]:
        sent = []
        for draft in drafts:
            receipt = await self._write()
            self._history.append((int(receipt.id), self._name, draft.text))
            sent.append(receipt)
        return sent


class World:
    """A cast whose two regions never hear of each other; the clock of one is far behind."""

    def __init__(self, nicks: Iterable[str], rng: Random) -> None:
        regions = (Region(0), Region(1_000))
        self.history: list[tuple[int, str, str]] = []
        self._clients = {
            nick: Speaker(nick, regions[n % 2], rng, self.history) for n, nick in enumerate((*nicks, OWNER))
        }

    def client(self, nick: str) -> Speaker:
        return self._clients[nick]

    def also_at(self, nick: str, region: str) -> Speaker:
        return self._clients[nick]

    def region(self, nick: str) -> str:
        return ""

    def connected(self, a: str, b: str) -> bool:
        return True

    async def applied(self, name: str, event: str, timeout_s: float) -> None:
        pass


async def test_in_order_a_chat_stands_as_its_log_whoever_speaks_where() -> None:
    rng = Random(3)
    nicks = ("a", "b", "c", "d")
    steps: list[Any] = [Join(nick) for nick in nicks]
    for n in range(200):
        steps.append(Say(rng.choice(nicks), f"{n}"))
        if n % 50 == 49:
            steps += [Say("b", "he of the clock ahead"), Kick("d", "a"), Join("d")]
    world: Any = World(nicks, rng)
    told = Narrator(world, [Conversation("room", tuple(steps), nicks)], in_order=True)
    told.tales[0].peer = "G1"
    await told.tell(1.0)
    log = [
        (step.nick, step.text) if isinstance(step, Say) else (step.by, "kicks Ud")
        for step in steps
        if isinstance(step, Say | Kick)
    ]
    assert [(nick, text) for _, nick, text in sorted(world.history)] == log
    assert told.acknowledged == 204


async def test_who_could_not_be_heard_joining_can_be_kicked_later() -> None:
    """His join stays in his client's outbox, and its answer comes to nobody; whoever tells goes on."""
    steps = (Join("a"), Join("b"), Kick("b", "a"), Say("a", "well"))
    world: Any = World(("a", "b"), Random(1))
    b = world.client("b")

    async def unreachable(chat: str) -> Receipt:
        raise Unreachable("no region answers")

    b.join = unreachable
    told = Narrator(world, [Conversation("room", steps, ("a", "b"))], in_order=True)
    told.tales[0].peer = "G1"
    with pytest.raises(Unreachable):
        await told.tell(1.0)
    await told.tell(1.0)
    assert [what for _, _, what in world.history] == ["kicks Ub", "well"]


async def test_a_kick_that_is_done_is_not_tried_again_when_its_end_can_not_be_seen() -> None:
    """The kicked one's datacenter is down. Tried again it would be refused for ever, and the chat would be silent."""
    steps = (Join("a"), Join("b"), Kick("b", "a"), Say("a", "well"))
    world: Any = World(("a", "b"), Random(1))
    told = Narrator(world, [Conversation("room", steps, ("a", "b"))], in_order=True)
    told.tales[0].peer = "G1"

    async def applied(name: str, event: str, timeout_s: float) -> None:
        if any(what == "kicks Ub" for _, _, what in world.history):
            raise Unavailable("it is down")

    world.applied = applied
    with pytest.raises(Unavailable):
        await told.tell(1.0)
    await told.tell(1.0)
    assert [what for _, _, what in sorted(world.history)] == ["kicks Ub", "well"]
