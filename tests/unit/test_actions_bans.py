"""Keeping somebody out of a chat: who may, by which doors he is kept out, and what two datacenters make of it."""

import pytest

from core import limits
from core.errors import ChatFull, Conflict, Forbidden, Gone, Invalid, NotFound
from core.invites import claimed
from core.rivalry import losers
from tests.support.mesh import ACTIONS, LINKS, run
from tests.support.rules import A, B, C, D, World
from tests.support.view import members_of


@pytest.fixture
def world() -> World:
    return World()


def banned(world: World, user: str, dc: int = 0) -> bool:
    return run(world.dcs[dc].view.ban(world.group, user))[0]


def link_into(world: World, chat: str, dc: int = 0) -> str:
    link = claimed(ACTIONS["invite.create"].result(world.do("invite.create", A, dc=dc, chat=chat))["link"])
    assert link is not None
    return LINKS.signed(link)


def test_owner_and_admins_ban_and_lift_bans_and_nobody_bans_the_owner(world: World) -> None:
    chat = world.group
    for actor in (B, D):  # a member, a stranger
        world.refused(Forbidden, "chat.ban", actor, chat=chat, user=C)
        world.refused(Forbidden, "chat.unban", actor, chat=chat, user=C)
    world.do("member.role", A, chat=chat, user=B, role="admin")
    world.refused(Forbidden, "chat.ban", B, chat=chat, user=A)
    world.refused(Invalid, "chat.ban", B, chat=chat, user=B)
    world.refused(NotFound, "chat.ban", B, chat=chat, user="Unobody")
    world.refused(NotFound, "chat.ban", B, chat="G1", user=C)
    world.do("chat.ban", B, chat=chat, user=C)
    world.refused(Conflict, "chat.ban", A, chat=chat, user=C)
    world.do("chat.ban", A, chat=chat, user=B)
    world.refused(Forbidden, "chat.unban", B, chat=chat, user=B)
    world.do("chat.unban", A, chat=chat, user=B)
    world.refused(NotFound, "chat.unban", A, chat=chat, user=B)
    world.do("group.dissolve", A, chat=chat)
    world.refused(Gone, "chat.ban", A, chat=chat, user=D)
    world.refused(Gone, "chat.unban", A, chat=chat, user=C)


def test_who_is_banned_is_out_and_comes_in_by_no_door_until_it_is_lifted(world: World) -> None:
    chat, link = world.group, link_into(world, world.group)
    world.do("chat.ban", A, chat=chat, user=B)
    assert world.present(chat) == {A}
    world.refused(Forbidden, "message.send", B, to=chat, text="x")
    world.refused(Forbidden, "member.join", B, chat=chat)
    world.refused(Forbidden, "member.add", A, chat=chat, users=[B, C])
    world.refused(Forbidden, "invite.accept", B, link=link)
    world.do("group.update", A, chat=chat, entry="approval")
    world.refused(Forbidden, "request.ask", B, chat=chat)
    world.do("chat.unban", A, chat=chat, user=B)
    assert world.present(chat) == {A}, "he has to come in again"
    world.do("invite.accept", B, link=link)
    assert world.present(chat) == {A, B}


def test_a_ban_beats_a_concurrent_join_accept_and_add_also_of_one_whom_its_origin_did_not_know(world: World) -> None:
    chat, link = world.group, link_into(world, world.group)
    world.settle()
    world.do("chat.ban", A, dc=0, chat=chat, user=C)
    world.do("invite.accept", C, dc=1, link=link)
    world.do("chat.ban", A, dc=0, chat=chat, user=D)
    world.do("member.add", A, dc=1, chat=chat, users=[D])
    world.settle()
    assert world.present(chat) == world.present(chat, 1) == {A, B}


def test_a_ban_and_its_lifting_at_once_leave_one_value_a_conflict_and_nobody_in_the_chat(world: World) -> None:
    world.do("chat.ban", A, chat=world.group, user=B)
    world.do("chat.unban", A, chat=world.group, user=B)
    world.settle()
    again = world.do("chat.ban", A, dc=0, chat=world.group, user=B)
    world.do("member.join", B, dc=1, chat=world.group)
    third = world.do("chat.ban", A, dc=1, chat=world.group, user=B)
    lifted = world.do("chat.unban", A, dc=1, chat=world.group, user=B)
    world.settle()
    assert [banned(world, B, dc) for dc in (0, 1)] == [False, False]
    assert world.present(world.group) == world.present(world.group, 1) == {A}
    assert losers({one.id: one.args.basis for one in (again, third, lifted)}) == {again.id}


def test_a_ban_answers_requests_and_lets_one_who_had_left_read_no_further(world: World) -> None:
    chat = world.group
    world.do("member.leave", B, chat=chat)
    before = members_of(world.dcs[0].state, chat)[B].seen
    world.do("group.update", A, chat=chat, entry="approval")
    world.do("request.ask", B, chat=chat)
    world.do("message.send", A, to=chat, text="without him")
    world.do("chat.ban", A, chat=chat, user=B)
    assert members_of(world.dcs[0].state, chat)[B].seen == before
    world.refused(NotFound, "request.approve", A, chat=chat, user=B)


def test_bans_of_a_chat_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BANS_OF_CHAT_MAX", 1)
    world.do("chat.ban", A, chat=world.group, user=B)
    world.refused(ChatFull, "chat.ban", A, chat=world.group, user=C)
    world.do("chat.unban", A, chat=world.group, user=B)
    world.do("chat.ban", A, chat=world.group, user=C)
