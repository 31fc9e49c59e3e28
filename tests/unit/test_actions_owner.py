"""Handing a chat over: who may, to whom, and what two datacenters make of two of them."""

import pytest

from core.errors import Conflict, Forbidden, Gone, NotFound
from core.ownership import owner_of
from core.rivalry import losers
from tests.support.mesh import ACTIONS
from tests.support.rules import A, B, C, D, World
from tests.support.view import members_of


@pytest.fixture
def world() -> World:
    made = World()
    made.do("member.add", A, chat=made.group, users=[C])
    made.settle()
    return made


def owners(world: World) -> set[str]:
    """Whom the datacenters call the owner."""
    found = set()
    for dc in world.dcs:
        (row,) = dc.state.rows("chats", {"chat": world.group})
        found.add(owner_of(row["owner"], members_of(dc.state, world.group)))
    return found


def test_only_the_owner_hands_a_chat_over_and_only_to_a_member(world: World) -> None:
    chat = world.group
    world.do("member.role", A, chat=chat, user=B, role="admin")
    for actor in (B, C, D):  # an admin, a member, a stranger
        world.refused(Forbidden, "chat.owner", actor, chat=chat, user=C)
    world.refused(NotFound, "chat.owner", A, chat=chat, user=D)
    world.refused(NotFound, "chat.owner", A, chat=chat, user="Unobody")
    world.refused(NotFound, "chat.owner", A, chat="G1", user=B)
    world.refused(Conflict, "chat.owner", A, chat=chat, user=A)
    world.do("chat.owner", A, chat=chat, user=B)
    world.refused(Forbidden, "chat.owner", A, chat=chat, user=A)
    world.do("member.leave", A, chat=chat)
    world.refused(Forbidden, "chat.owner", A, chat=chat, user=C)
    world.refused(NotFound, "chat.owner", B, chat=chat, user=A)
    world.do("group.dissolve", B, chat=chat)
    world.refused(Gone, "chat.owner", B, chat=chat, user=C)


def test_who_has_handed_it_over_is_an_admin_and_can_not_dissolve_it(world: World) -> None:
    world.do("chat.owner", A, chat=world.group, user=B)
    world.do("group.update", A, chat=world.group, title="still mine to name")
    world.refused(Forbidden, "group.dissolve", A, chat=world.group)
    world.refused(Forbidden, "member.kick", A, chat=world.group, user=B)
    world.do("member.role", B, chat=world.group, user=A, role="member")
    world.refused(Forbidden, "group.update", A, chat=world.group, title="x")


def test_of_two_that_are_made_at_once_the_later_holds_and_the_other_is_a_conflict(world: World) -> None:
    first = world.do("chat.owner", A, dc=0, chat=world.group, user=B)
    second = world.do("chat.owner", A, dc=1, chat=world.group, user=C)
    assert owners(world) == {B, C}
    world.settle()
    assert owners(world) == {C}
    bases = {}
    for event in (first, second):
        effect = next(one for one in ACTIONS["chat.owner"].effects(event) if one.table == "chats")
        bases[event.id] = effect.basis["owner"]
    assert losers(bases) == {first.id}
    world.refused(Forbidden, "group.dissolve", B, chat=world.group)
    world.do("group.dissolve", C, chat=world.group)


def test_a_new_owner_who_was_removed_meanwhile_does_not_own_it_and_the_old_one_does(world: World) -> None:
    world.do("member.role", A, chat=world.group, user=C, role="admin")
    world.settle()
    world.do("chat.owner", A, dc=0, chat=world.group, user=B)
    world.do("member.kick", C, dc=1, chat=world.group, user=B)
    world.settle()
    assert owners(world) == {A}, "the admin who has been in it longest"
    world.do("chat.owner", A, chat=world.group, user=C)
    world.settle()
    assert owners(world) == {C}


def test_who_inherits_a_chat_hands_it_over(world: World) -> None:
    world.do("member.leave", A, chat=world.group)
    assert owners(world) >= {B}
    world.do("chat.owner", B, chat=world.group, user=C)
    world.settle()
    assert owners(world) == {C}
    world.do("member.join", A, chat=world.group)
    world.settle()
    assert owners(world) == {C}, "who comes back has handed nothing over, and owns nothing"
