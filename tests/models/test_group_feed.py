"""Who is fed a group's messages: joiners miss none, and nothing leaks that was written after a kick.

One user U and a group that another owns, 3 DCs with 2 lanes each, links that break. Every DC is looked at: what one
feeds or does not feed is what U gets or misses there. Three broken rules are planted: recipients only (joiners miss),
all local members (leaks), and no waiting for what the origin knew (leaks).
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import pytest

from core.action import Audience
from core.actions.conversations import Reach, reach_in
from core.actions.members import Add, Kick
from core.actions.messages import Send
from core.audience import owed
from core.event import Event
from core.membership import Membership, Roll
from tests.support.mesh import Dc, Feeding, Mesh, by_audience_rule
from tests.support.view import members_of

CHAT, OWNER, USER = "G1", "Uowner", "Ua"
HISTORIES = 300
PLANTED_WITHIN = 1_500


class Outcome(NamedTuple):
    leaked: int
    """Messages that U was fed although their origin knew of U's kick."""
    missed: int
    """Messages that U was not fed although he was a recipient, or had joined before and was never kicked."""


def recipients_only(dc: Dc, event: Event, audience: Audience, user: str, membership: Membership) -> bool:
    return False


def all_local_members(dc: Dc, event: Event, audience: Audience, user: str, membership: Membership) -> bool:
    return membership.present


def without_waiting(dc: Dc, event: Event, audience: Audience, user: str, membership: Membership) -> bool:
    return owed(audience, membership, audience.knew) == "feed"


def reach(mesh: Mesh, dc: int) -> Reach:
    return reach_in(Roll().told(members_of(mesh.dcs[dc].state, CHAT)))


def story(seed: int, feeding: Feeding) -> Outcome:
    random = Random(seed)
    mesh = Mesh(feeding=feeding)
    mesh.commit(0, "member.add", OWNER, Add.Args(chat=CHAT, adds={OWNER: {}}))
    mesh.settle()
    cut: set[tuple[int, int]] = set()
    adds: list[int] = []
    kicks: list[int] = []
    messages: list[Event] = []
    for _ in range(50):
        mesh.now_ms += random.randint(1, 90)
        if random.random() < 0.12:
            cut ^= {(random.randrange(3), random.choice(list(mesh.logs)))}
        dc, lane, dice = random.randrange(3), random.randrange(2), random.random()
        now = members_of(mesh.dcs[dc].state, CHAT).get(USER, Membership())
        to, knew = reach(mesh, dc)
        if dice < 0.4:
            args = Send.Args(conversation=CHAT, to=to, knew=knew, text="hello")
            messages.append(mesh.commit(dc, "message.send", OWNER, args, lane=lane))
        elif dice < 0.44 and len(adds) < 2:
            joined = Add.Args(chat=CHAT, to=(*to, USER), knew=knew, adds={USER: now.kicked})
            adds.append(mesh.commit(dc, "member.add", OWNER, joined, lane=lane).id)
        elif dice < 0.48 and now.present and not kicks:
            kicked = Kick.Args(chat=CHAT, to=to, knew=knew, user=USER)
            kicks.append(mesh.commit(dc, "member.kick", OWNER, kicked, lane=lane).id)
        mesh.drift(random, 0.4, cut)
    mesh.settle()
    return judge(mesh, messages, adds, kicks)


def judge(mesh: Mesh, messages: list[Event], adds: list[int], kicks: list[int]) -> Outcome:
    """Over all DCs: what one DC leaks a roaming client gets; what one of them does not feed he may miss there."""
    leaked = missed = 0
    for dc in mesh.dcs:
        fed = {update.event for update in dc.updates.get(USER, ())}
        for message in messages:
            recipient = USER in message.args.to
            if len(adds) == 1 and not recipient and any(kick in mesh.past[message.id] for kick in kicks):
                leaked += message.id in fed
            elif recipient or (not kicks and adds and message.id > min(adds)):
                missed += message.id not in fed
    return Outcome(leaked, missed)


def first(feeding: Feeding, broken: Callable[[Outcome], bool]) -> int | None:
    """The first history in which the rule breaks its promise."""
    return next((seed for seed in range(PLANTED_WITHIN) if broken(story(seed, feeding))), None)


def test_joiners_miss_nothing_and_nothing_leaks_after_a_kick() -> None:
    outcomes = [story(seed, by_audience_rule) for seed in range(HISTORIES)]
    assert set(outcomes) == {Outcome(0, 0)}


@pytest.mark.parametrize(
    ("feeding", "broken"),
    [
        (recipients_only, lambda outcome: outcome.missed > 0),
        (all_local_members, lambda outcome: outcome.leaked > 0),
        (without_waiting, lambda outcome: outcome.leaked > 0),
    ],
    ids=["recipients only: joiners miss", "all local members: leaks", "not waiting for what was known: leaks"],
)
def test_a_broken_rule_is_caught(feeding: Feeding, broken: Callable[[Outcome], bool]) -> None:
    seed = first(feeding, broken)
    assert seed is not None
    assert story(seed, by_audience_rule) == Outcome(0, 0)
