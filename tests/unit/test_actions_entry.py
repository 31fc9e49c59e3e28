"""Links into chats and requests to be let in: who may, what is refused, and what two datacenters make of it."""

import pytest

from api.links import Links
from core import limits
from core.action import Touch
from core.errors import ChatFull, Conflict, Forbidden, Full, Gone, Invalid, NotFound, NotYetHere
from core.event import Event
from core.invites import Link, claimed, spelled, standing
from tests.support.mesh import ACTIONS, LINKS, run
from tests.support.rules import A, B, C, D, World
from tests.support.view import members_of


@pytest.fixture
def world() -> World:
    return World()


def link_of(made: Event) -> str:
    """As the listener answers it."""
    link = claimed(ACTIONS["invite.create"].result(made)["link"])
    assert link is not None
    return LINKS.signed(link)


def used(world: World, made: Event, dc: int = 0) -> int:
    found = run(world.dcs[dc].view.invite(made.args.chat, made.args.invite))
    assert found is not None
    return found.used


def asks(world: World, user: str, chat: str, dc: int = 0) -> bool:
    view = world.dcs[dc].view
    return bool(standing(run(view.asked(chat, user)), run(view.membership(chat, user))))


# -- links


def test_owner_and_admins_make_and_revoke_links(world: World) -> None:
    chat = world.group
    for actor in (B, D):  # a member, a stranger
        world.refused(Forbidden, "invite.create", actor, chat=chat)
    world.refused(NotFound, "invite.create", A, chat="G1")
    world.refused(Invalid, "invite.create", A, chat=chat, expires_ms=world.now_ms)
    made = world.do("invite.create", A, chat=chat)
    world.refused(Forbidden, "invite.revoke", B, chat=chat, invite=made.args.invite)
    world.do("member.role", A, chat=chat, user=B, role="admin")
    world.do("invite.revoke", B, chat=chat, invite=made.args.invite)
    world.refused(NotFound, "invite.revoke", B, chat=chat, invite=made.args.invite)
    world.refused(Gone, "invite.accept", C, link=link_of(made))
    other = world.do("invite.create", B, chat=world.group)
    world.refused(NotFound, "invite.revoke", A, chat=world.supergroup, invite=other.args.invite)
    world.do("member.leave", B, chat=chat)
    world.refused(Forbidden, "invite.create", B, chat=chat)
    world.do("group.dissolve", A, chat=chat)
    world.refused(Gone, "invite.create", A, chat=chat)
    world.refused(Gone, "invite.accept", C, link=link_of(other))


def test_two_creations_of_one_link_are_one_and_it_is_made_once(world: World) -> None:
    here = world.do("invite.create", A, key="k", chat=world.group, uses_max=2)
    there = world.do("invite.create", A, dc=1, key="k", chat=world.group, uses_max=2)
    assert link_of(here) == link_of(there)
    world.settle()
    assert len(world.dcs[0].state.rows("invites", {})) == 1
    world.now_ms += (limits.RESULT_KEPT_S + 1) * 1000
    world.refused(Conflict, "invite.create", A, key="k", chat=world.group, uses_max=2)


def test_only_what_the_datacenters_signed_lets_anybody_in(world: World) -> None:
    made = world.do("invite.create", A, chat=world.group)
    link = claimed(link_of(made))
    assert link is not None
    unlimited = Link(link.chat, "i5", link.expires_ms, 0, False)
    for forged in (spelled(link), f"{spelled(link)}.AAAA", Links(b"k" * 32).signed(link), f"{spelled(unlimited)}.AAAA"):
        world.refused(NotFound, "invite.accept", C, link=forged)
    assert spelled(link) not in str(world.logs), "no log holds a link"
    world.do("invite.accept", C, link=link_of(made))
    assert world.present(world.group) == {A, B, C}
    world.refused(Conflict, "invite.accept", C, link=link_of(made))


def test_a_link_works_before_its_row_has_arrived_and_not_before_its_chat_has(world: World) -> None:
    made = world.do("invite.create", A, chat=world.group, uses_max=1)
    world.do("invite.accept", C, dc=1, link=link_of(made))
    assert C in world.present(world.group, dc=1)
    young = world.do("group.create", A, kind="group", title="young")
    link = link_of(world.do("invite.create", A, chat=young.args.chat))
    world.refused(NotYetHere, "invite.accept", D, dc=1, link=link)
    world.settle()
    world.do("invite.accept", D, dc=1, link=link)


def test_a_link_ends_at_its_time_and_after_its_uses(world: World) -> None:
    made = world.do("invite.create", A, chat=world.supergroup, uses_max=1, expires_ms=world.now_ms + 10_000)
    world.do("invite.accept", C, link=link_of(made))
    assert used(world, made) == 1
    world.refused(Gone, "invite.accept", D, link=link_of(made))
    short = world.do("invite.create", A, chat=world.supergroup, expires_ms=world.now_ms + 1_000)
    world.now_ms += 2_000
    world.refused(Gone, "invite.accept", D, link=link_of(short))


def test_two_datacenters_overshoot_a_bound_together_which_is_kept_shown_and_blocks_further_ones(world: World) -> None:
    made = world.do("invite.create", A, chat=world.supergroup, uses_max=1)
    world.settle()
    world.do("invite.accept", C, dc=0, link=link_of(made))
    world.do("invite.accept", D, dc=1, link=link_of(made))
    world.settle()
    assert world.present(world.supergroup) == world.present(world.supergroup, 1) == {A, B, C, D}
    assert used(world, made, 0) == used(world, made, 1) == 2
    world.do("member.leave", D, chat=world.supergroup)
    world.refused(Gone, "invite.accept", D, link=link_of(made))


def test_a_kick_beats_a_concurrent_accept_and_a_revocation_does_not(world: World) -> None:
    made = world.do("invite.create", A, chat=world.group)
    world.settle()
    world.do("member.leave", B, dc=1, chat=world.group)
    world.do("member.kick", A, dc=0, chat=world.group, user=B)
    world.do("invite.accept", B, dc=1, link=link_of(made))
    world.do("invite.revoke", A, dc=0, chat=world.group, invite=made.args.invite)
    world.do("invite.accept", C, dc=1, link=link_of(made))
    world.settle()
    assert world.present(world.group) == world.present(world.group, 1) == {A, C}


def test_a_full_group_is_full_for_links_too_and_links_of_a_chat_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.do("invite.create", A, chat=world.group)
    monkeypatch.setattr(limits, "GROUP_MEMBERS_MAX", 2)
    world.refused(Full, "invite.accept", C, link=link_of(made))
    monkeypatch.setattr(limits, "INVITES_OF_CHAT_MAX", 1)
    world.refused(ChatFull, "invite.create", A, chat=world.group)
    world.do("invite.revoke", A, chat=world.group, invite=made.args.invite)
    world.do("invite.create", A, chat=world.group)


# -- who comes in by himself


def test_a_chat_says_who_comes_in_by_himself(world: World) -> None:
    chat = world.supergroup
    world.refused(Forbidden, "request.ask", C, chat=chat)
    world.do("group.update", A, chat=chat, entry="closed")
    world.refused(Forbidden, "member.join", C, chat=chat)
    world.refused(Forbidden, "request.ask", C, chat=chat)
    world.do("invite.accept", C, link=link_of(world.do("invite.create", A, chat=chat)))
    world.do("group.update", A, chat=chat, entry="approval")
    world.refused(Forbidden, "member.join", D, chat=chat)
    world.do("request.ask", D, chat=chat)
    born = world.do("group.create", A, kind="group", title="x", entry="closed").args.chat
    world.refused(Forbidden, "member.join", B, chat=born)


# -- requests


def asked_chat(world: World) -> str:
    world.do("group.update", A, chat=world.group, entry="approval")
    world.settle()
    return world.group


def test_a_request_is_answered_by_owner_and_admins_and_they_and_he_are_told(world: World) -> None:
    chat = asked_chat(world)
    asked = world.do("request.ask", C, chat=chat)
    kind = ACTIONS["request.ask"]
    assert set(kind.audience(asked).users) == {A, C}
    assert kind.touches(asked) == (Touch("request", (chat, C)),)
    world.refused(Conflict, "request.ask", C, chat=chat)
    world.refused(Conflict, "request.ask", B, chat=chat)
    for actor in (B, C, D):
        world.refused(Forbidden, "request.approve", actor, chat=chat, user=C)
        world.refused(Forbidden, "request.reject", actor, chat=chat, user=C)
    world.refused(NotFound, "request.approve", A, chat=chat, user=D)
    world.do("request.reject", A, chat=chat, user=C)
    world.refused(NotFound, "request.approve", A, chat=chat, user=C)
    world.do("request.ask", C, chat=chat)
    world.do("request.withdraw", C, chat=chat)
    world.refused(NotFound, "request.withdraw", C, chat=chat)
    world.do("request.ask", C, chat=chat)
    approved = world.do("request.approve", A, chat=chat, user=C)
    assert set(ACTIONS["request.approve"].audience(approved).users) == {A, B, C}
    assert world.present(chat) == {A, B, C}
    world.refused(NotFound, "request.reject", A, chat=chat, user=C)


def test_a_link_that_wants_approval_leads_to_a_request_and_lets_nobody_in(world: World) -> None:
    made = world.do("invite.create", A, chat=world.group, approval=True)
    accepted = world.do("invite.accept", C, link=link_of(made))
    assert ACTIONS["invite.accept"].result(accepted) == {"chat": world.group, "joined": False}
    assert world.present(world.group) == {A, B}
    assert set(ACTIONS["invite.accept"].audience(accepted).users) == {A, C}
    (row,) = world.dcs[0].state.rows("join_requests", {})
    assert (row["user"], row["invite"]) == (C, made.args.invite)
    world.refused(Conflict, "invite.accept", C, link=link_of(made))
    world.do("request.approve", A, chat=world.group, user=C)
    assert world.present(world.group) == {A, B, C}


def test_an_answer_ends_the_requests_that_it_has_seen_and_no_other(world: World) -> None:
    chat = asked_chat(world)
    world.do("request.ask", C, chat=chat)
    world.settle()
    world.do("request.withdraw", C, dc=1, chat=chat)
    world.do("request.ask", C, dc=1, chat=chat)
    world.do("request.reject", A, dc=0, chat=chat, user=C)
    world.settle()
    assert asks(world, C, chat, 0) and asks(world, C, chat, 1), "the second one was seen by no answer"
    world.do("request.reject", A, chat=chat, user=C)
    world.settle()
    assert not asks(world, C, chat, 0) and not asks(world, C, chat, 1)


def test_who_is_let_in_while_another_datacenter_refuses_him_is_in_and_asks_no_more(world: World) -> None:
    chat = asked_chat(world)
    world.do("request.ask", C, chat=chat)
    world.settle()
    world.do("request.approve", A, dc=0, chat=chat, user=C)
    world.do("request.reject", A, dc=1, chat=chat, user=C)
    world.settle()
    assert world.present(chat) == world.present(chat, 1) == {A, B, C}
    assert not asks(world, C, chat)


def test_a_request_does_not_come_to_life_again_when_who_was_let_in_leaves(world: World) -> None:
    chat = asked_chat(world)
    world.do("request.ask", C, dc=1, chat=chat)
    world.do("member.add", A, dc=0, chat=chat, users=[C])
    world.settle()
    world.do("member.leave", C, chat=chat)
    world.settle()
    assert members_of(world.dcs[0].state, chat)[C].former
    assert not asks(world, C, chat, 0) and not asks(world, C, chat, 1)
    world.do("request.ask", C, chat=chat)
    assert asks(world, C, chat)


def test_a_kick_beats_a_concurrent_approval(world: World) -> None:
    chat = asked_chat(world)
    world.do("member.add", A, chat=chat, users=[C])
    world.do("member.leave", C, chat=chat)
    world.do("request.ask", C, chat=chat)
    world.settle()
    world.do("request.approve", A, dc=0, chat=chat, user=C)
    world.do("member.add", A, dc=1, chat=chat, users=[C])
    world.do("member.kick", A, dc=1, chat=chat, user=C)
    world.settle()
    assert world.present(chat) == world.present(chat, 1) == {A, B}


def test_requests_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = asked_chat(world)
    for _ in range(limits.JOIN_REQUESTS_OF_ONE_MAX):
        world.do("request.ask", C, chat=chat)
        world.do("request.withdraw", C, chat=chat)
    world.refused(ChatFull, "request.ask", C, chat=chat)
    world.do("member.add", A, chat=chat, users=[C])
    monkeypatch.setattr(limits, "JOIN_REQUESTS_OF_CHAT_MAX", 1)
    world.do("user.upsert", "sys", user="Ue", name="e")
    world.do("request.ask", D, chat=chat)
    world.refused(ChatFull, "request.ask", "Ue", chat=chat)
