"""Requests and links' uses against a causal oracle: hostile histories of one user at the door of one chat, in three
datacenters.

The oracle knows every event's causal past. The rows of production agree with it in every history. One value "asks" by
the greatest stamp forgets requests that no answer had seen; one count of uses, the greatest of which wins, counts too
few.
"""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import PlanBError
from core.invites import claimed, standing
from tests.support.mesh import ACTIONS, LINKS, Mesh, run

OWNER, USER = "Ua", "Ub"
CALLS = ("ask", "ask", "ask", "withdraw", "reject", "reject", "approve", "leave", "kick", "accept", "accept")


def hostile(seed: int) -> tuple[Mesh, str, str]:
    """A mesh that has settled, the chat, and the link into it."""
    random = Random(seed)
    mesh = Mesh()
    for user in (OWNER, USER):
        mesh.write(0, "user.upsert", "sys", {"user": user, "name": user})
    fields = {"kind": "supergroup", "title": "c", "entry": "approval"}
    chat = str(mesh.write(0, "supergroup.create", OWNER, fields, key="c").args.chat)
    made = mesh.write(0, "invite.create", OWNER, {"chat": chat}, key="i")
    link = claimed(ACTIONS["invite.create"].result(made)["link"])
    assert link is not None
    mesh.settle()
    one = {"chat": chat, "user": USER}
    calls = {
        "ask": ("request.ask", USER, {"chat": chat}),
        "withdraw": ("request.withdraw", USER, {"chat": chat}),
        "reject": ("request.reject", OWNER, one),
        "approve": ("request.approve", OWNER, one),
        "leave": ("member.leave", USER, {"chat": chat}),
        "kick": ("member.kick", OWNER, one),
        "accept": ("invite.accept", USER, {"link": LINKS.signed(link)}),
    }
    for _ in range(14):
        mesh.now_ms += random.randint(1, 300)
        mesh.drift(random, 0.35)
        action, actor, request = calls[random.choice(CALLS)]
        try:
            mesh.write(random.randrange(3), action, actor, request, lane=random.randrange(2))
        except PlanBError:
            continue
    mesh.settle()
    return mesh, chat, link.invite


ANSWERS = ("request.withdraw", "request.reject", "request.approve", "invite.accept")


def waits(mesh: Mesh, chat: str) -> list[int]:
    """By the oracle: requests that no answer had seen and that are younger than every add, of one who is not in."""
    if run(mesh.dcs[0].view.membership(chat, USER)).present:
        return []
    answers = [event.id for event in mesh.events if event.action in ANSWERS]
    adds = [event.id for event in mesh.events if event.action in ("request.approve", "invite.accept")]
    return [
        event.id
        for event in mesh.events
        if event.action == "request.ask"
        and not any(event.id in mesh.past[answer] for answer in answers)
        and event.id > max(adds, default=0)
    ]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1 << 32))
def test_requests_and_uses_are_what_the_oracle_says_in_every_datacenter(seed: int) -> None:
    mesh, chat, invite = hostile(seed)
    for dc in mesh.dcs:
        found = standing(run(dc.view.asked(chat, USER)), run(dc.view.membership(chat, USER)))
        assert sorted(one.event for one in found) == waits(mesh, chat)
        uses = run(dc.view.invite_uses(invite))
        assert sum(uses.values()) == sum(event.action == "invite.accept" for event in mesh.events)


def test_one_value_forgets_requests_and_one_count_counts_too_few() -> None:
    forgotten = few = 0
    for seed in range(400):
        mesh, chat, _ = hostile(seed)
        last = max((e.id, e.action) for e in mesh.events if e.action in ("request.ask", *ANSWERS, "invite.create"))
        forgotten += bool(waits(mesh, chat)) and last[1] != "request.ask"
        counts = [
            1 + sum(other.action == "invite.accept" and other.id in mesh.past[event.id] for other in mesh.events)
            for event in mesh.events
            if event.action == "invite.accept"
        ]
        few += max(counts, default=0) < len(counts)
    assert forgotten
    assert few > 20
