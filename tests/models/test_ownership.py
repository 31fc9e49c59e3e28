"""One owner, who is a member: random histories of hand-overs, kicks, leaves and joins in three datacenters.

The rule of production names one in every history. The greatest stamp alone, which is what a plain last-writer-wins
column gives, names somebody who is gone; each datacenter's first hand-over leaves several.
"""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import PlanBError
from core.membership import Membership
from core.ownership import owner_of
from tests.support.mesh import Mesh
from tests.support.view import members_of

USERS = ("Ua", "Ub", "Uc", "Ud")
CALLS = ("chat.owner", "chat.owner", "member.kick", "member.leave", "member.join", "member.role")


def hostile(seed: int) -> tuple[Mesh, str]:
    """A mesh that has settled after 12 calls by whoever may make them, partly delivered in between."""
    random = Random(seed)
    mesh = Mesh()
    for user in USERS:
        mesh.write(0, "user.upsert", "sys", {"user": user, "name": user})
    made = mesh.write(0, "group.create", "Ua", {"kind": "group", "title": "g", "users": list(USERS)}, key="g")
    chat = str(made.args.chat)
    mesh.settle()
    for _ in range(12):
        mesh.now_ms += random.randint(1, 300)
        mesh.drift(random, 0.3)
        call, actor, user = random.choice(CALLS), random.choice(USERS), random.choice(USERS)
        request = {"chat": chat}
        request |= {"user": user} if call in ("chat.owner", "member.kick", "member.role") else {}
        request |= {"role": random.choice(("admin", "member"))} if call == "member.role" else {}
        try:
            mesh.write(random.randrange(3), call, actor, request, lane=random.randrange(2))
        except PlanBError:
            continue
    mesh.settle()
    return mesh, chat


def named(mesh: Mesh, chat: str, dc: int) -> tuple[str, dict[str, Membership]]:
    """Whom a datacenter's column names, and the members' registers there."""
    (row,) = mesh.dcs[dc].state.rows("chats", {"chat": chat})
    return row["owner"], members_of(mesh.dcs[dc].state, chat)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32))
def test_every_datacenter_names_the_same_owner_who_is_a_member(seed: int) -> None:
    mesh, chat = hostile(seed)
    owners = {owner_of(*named(mesh, chat, dc)) for dc in range(3)}
    (owner,) = owners
    _, members = named(mesh, chat, 0)
    present = {user for user, its in members.items() if its.present}
    assert owner in present if present else owner == ""


def test_the_column_alone_names_somebody_who_is_gone_and_the_first_hand_over_several() -> None:
    gone = several = 0
    for seed in range(300):
        mesh, chat = hostile(seed)
        column, members = named(mesh, chat, 0)
        gone += any(its.present for its in members.values()) and not members[column].present
        handed = [event for event in mesh.events if event.action == "chat.owner"]
        first: dict[str, str] = {}
        for event in handed:
            if not any(other.id in mesh.past[event.id] for other in handed):
                first.setdefault(str(event.args.user), event.actor)
        several += len(first) > 1
    assert gone > 20
    assert several > 5
