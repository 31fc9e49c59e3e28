"""A member who joins while he moves between DCs gets all messages after his join.

An update of his can be older than what his cursor covers: a DC that had not applied his add covered the message and
did not feed it to him. So **a client loads a group's dialog anew when it gets a membership update of that group**: what
kept a DC from feeding him is always a membership event that his cursor does not cover yet, so it comes to him.
Loading only at one's own add is planted: others' adds hold a message back as well (`owed` waits for all of `knew`).
"""

from random import Random

import pytest

from core.actions.members import Add
from core.actions.messages import Send
from core.membership import Membership
from tests.models.test_group_feed import CHAT, OWNER, USER, reach
from tests.support.mesh import Dc, Mesh
from tests.support.roaming import Client, Rule
from tests.support.view import members_of

HISTORIES = 300
PLANTED_WITHIN = 3_000
OTHERS = ("Ux", "Uy")

ANY, OWN, NEVER = "any membership update", "my own add", "never"


def missed(seed: int, loads: str, rule: Rule = Rule.PER_LANE) -> int:
    random = Random(seed)
    mesh = Mesh()
    mesh.commit(0, "member.add", OWNER, Add.Args(chat=CHAT, to=(OWNER,), adds={OWNER: {}}))
    mesh.settle()
    client = Client(USER, rule)
    at = 0
    cut: set[tuple[int, int]] = set()
    joined = 0
    messages: list[int] = []

    def sync(dc: Dc) -> None:
        fresh = client.sync(dc)
        about = {event.id: event for event in mesh.events if event.action == "member.add"}
        own = [id for id in fresh if id in about and USER in about[id].args.adds]
        if (loads == ANY and fresh & about.keys()) or (loads == OWN and own):
            client.load(dc, CHAT)

    for _ in range(45):
        mesh.now_ms += random.randint(1, 90)
        if random.random() < 0.15:
            cut ^= {(random.randrange(3), random.choice(list(mesh.logs)))}
        dc, lane, dice = random.randrange(3), random.randrange(2), random.random()
        to, knew = reach(mesh, dc)
        if dice < 0.35:
            args = Send.Args(conversation=CHAT, to=to, knew=knew, text="hello")
            messages.append(mesh.commit(dc, "message.send", OWNER, args, lane=lane).id)
        elif dice < 0.45:
            user = USER if not joined and random.random() < 0.5 else random.choice(OTHERS)
            if not members_of(mesh.dcs[dc].state, CHAT).get(user, Membership()).present:
                add = Add.Args(chat=CHAT, to=tuple(sorted({*to, user})), knew=knew, adds={user: {}})
                made = mesh.commit(dc, "member.add", OWNER, add, lane=lane)
                joined = made.id if user == USER else joined
        mesh.drift(random, 0.35, cut)
        if random.random() < 0.4:
            at = random.randrange(3) if random.random() < 0.5 else at
            sync(mesh.dcs[at])
    mesh.settle()
    sync(mesh.dcs[random.randrange(3)])
    sync(mesh.dcs[at])
    return sum(joined and id > joined and id not in client.got for id in messages)


def test_a_roaming_joiner_misses_nothing() -> None:
    assert [missed(seed, ANY) for seed in range(HISTORIES)] == [0] * HISTORIES


@pytest.mark.parametrize(
    ("loads", "rule"),
    [(OWN, Rule.PER_LANE), (NEVER, Rule.PER_LANE), (ANY, Rule.MERGED)],
    ids=["own", "never", "merged"],
)
def test_a_broken_rule_is_seen_to_miss(loads: str, rule: Rule) -> None:
    assert any(missed(seed, loads, rule) for seed in range(PLANTED_WITHIN))
