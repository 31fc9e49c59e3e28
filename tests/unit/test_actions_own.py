"""What users set for themselves: what each rule prevents, over two datacenters."""

import pytest

from core import ids, limits
from core.action import Touch
from core.actions.devices import token_hash
from core.contacts import Contact
from core.errors import AccountFull, Conflict, Forbidden, Invalid, NotFound
from core.handles import holder_of
from tests.support.mesh import ACTIONS, run
from tests.support.rules import A, B, C, D, World


@pytest.fixture
def world() -> World:
    return World()


def unread(world: World, dc: int) -> bool:
    return run(world.dcs[dc].view.dialog(A, ids.direct_conversation(A, B))).unread


def draft(world: World, dc: int) -> str:
    return run(world.dcs[dc].view.draft(A, ids.direct_conversation(A, B))).text


# -- marked as unread


def test_a_read_takes_a_flag_back_that_was_set_before_it_also_unseen(world: World) -> None:
    said = world.do("message.send", B, to=A, text="hi")
    world.settle()
    world.do("dialog.mark_unread", A, dc=0, peer=B, on=True)
    world.do("dialog.read", A, dc=1, peer=B, message=str(said.id))
    assert (unread(world, 0), unread(world, 1)) == (True, False)
    world.settle()
    assert (unread(world, 0), unread(world, 1)) == (False, False)
    world.do("dialog.mark_unread", A, dc=1, peer=B, on=True)
    world.settle()
    assert (unread(world, 0), unread(world, 1)) == (True, True)


def test_a_read_that_arrives_late_leaves_a_flag_that_was_set_after_it(world: World) -> None:
    said = world.do("message.send", B, to=A, text="hi")
    world.settle()
    world.do("dialog.read", A, dc=1, peer=B, message=str(said.id))
    world.do("dialog.mark_unread", A, dc=0, peer=B, on=True)
    world.settle()
    assert (unread(world, 0), unread(world, 1)) == (True, True)


def test_a_flag_is_of_a_dialog_of_mine_and_names_what_it_overwrites(world: World) -> None:
    first = world.do("dialog.mark_unread", A, peer=B, on=True)
    second = world.do("dialog.mark_unread", A, peer=B, on=False)
    assert (first.args.basis, second.args.basis) == (0, first.id)
    assert not unread(world, 0)
    world.refused(NotFound, "dialog.mark_unread", C, peer=world.group, on=True)
    world.refused(NotFound, "dialog.mark_unread", A, peer="Unobody", on=True)


# -- drafts


def test_a_draft_that_was_sent_does_not_come_back_when_it_arrives_late(world: World) -> None:
    """Set in one datacenter, sent from another which does not have it yet."""
    begun = world.do("draft.set", A, dc=0, peer=B, text="Dear")
    world.do("message.send", A, dc=1, to=B, text="Dear Bob", draft=str(begun.id))
    world.settle()
    assert (draft(world, 0), draft(world, 1)) == ("", "")


def test_a_draft_that_a_message_was_not_sent_from_outlives_it_whatever_the_stamps(world: World) -> None:
    """A send that erased all drafts with a smaller stamp would erase what another device has written since."""
    begun = world.do("draft.set", A, dc=0, peer=B, text="Dear")
    world.settle()
    world.do("draft.set", A, dc=1, peer=B, text="Something else")
    sent = world.do("message.send", A, dc=0, to=B, text="Dear Bob", draft=str(begun.id))
    assert draft(world, 0) == ""
    world.settle()
    assert (draft(world, 0), draft(world, 1)) == ("Something else", "Something else")
    direct = ids.direct_conversation(A, B)
    assert ACTIONS["message.send"].touches(sent) == (Touch("message", (direct, sent.id)), Touch("dialog", (direct,), A))


def test_a_revision_that_nobody_can_have_seen_is_refused(world: World) -> None:
    """It would clear drafts that are still to be written."""
    far = ids.make_id(ids.tick_at(world.now_ms + limits.CLOCK_SKEW_MS_MAX + 1_000), 0)
    world.refused(Invalid, "message.send", A, to=B, text="x", draft=str(far))


def test_a_message_without_a_draft_costs_nothing_more(world: World) -> None:
    sent = world.do("message.send", A, to=B, text="x")
    assert [effect.table for effect in ACTIONS["message.send"].effects(sent)] == ["message_rows", "directs"]
    assert len(ACTIONS["message.send"].touches(sent)) == 1


def test_a_draft_is_taken_away_and_answers_a_message_that_i_may_read(world: World) -> None:
    said = world.do("message.send", B, to=A, text="hi")
    first = world.do("draft.set", A, peer=B, text="well", reply_to=str(said.id))
    kept = run(world.dcs[0].view.draft(A, ids.direct_conversation(A, B)))
    assert (kept.text, kept.reply_to, kept.revision) == ("well", said.id, first.id)
    second = world.do("draft.clear", A, peer=B)
    assert (draft(world, 0), second.args.basis) == ("", first.id)
    world.refused(NotFound, "draft.set", A, peer=world.group, text="x", reply_to=str(said.id))
    world.refused(NotFound, "draft.set", C, peer=world.group, text="x")
    world.refused(NotFound, "draft.clear", C, peer=world.group)


# -- blocks


def test_whom_one_has_blocked_writes_nothing_to_him_directly(world: World) -> None:
    his = world.do("message.send", B, to=A, text="hi")
    mine = world.do("message.send", A, to=B, text="hello")
    world.do("block.set", A, user=B)
    world.refused(Forbidden, "message.send", B, to=A, text="again")
    world.refused(Forbidden, "message.send", B, to=ids.direct_conversation(A, B), text="again")
    world.refused(Forbidden, "message.edit", B, message=str(his.id), text="again")
    world.refused(Forbidden, "reaction.set", B, message=str(mine.id), emoji="+1")
    world.do("message.recall", B, message=str(his.id), for_="all")
    world.do("message.send", B, to=world.group, text="in the group")
    world.do("message.send", A, to=B, text="he may hear from me")
    world.do("block.clear", A, user=B)
    world.do("message.send", B, to=A, text="again")


def test_a_message_that_was_accepted_elsewhere_meanwhile_stays(world: World) -> None:
    world.do("block.set", A, dc=0, user=B)
    sent = world.do("message.send", B, dc=1, to=A, text="I did not know")
    world.settle()
    assert [world.shown(sent, dc).text for dc in (0, 1)] == ["I did not know"] * 2
    world.refused(Forbidden, "message.send", B, dc=1, to=A, text="now I do")


def test_a_block_is_of_somebody_else_names_what_it_overwrites_and_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.do("block.set", A, user=B)
    second = world.do("block.clear", A, user=B)
    assert (first.args.basis, second.args.basis) == (0, first.id)
    world.refused(NotFound, "block.clear", A, user=B)
    world.refused(NotFound, "block.set", A, user="Unobody")
    world.refused(Invalid, "block.set", A, user=A)
    monkeypatch.setattr(limits, "BLOCKS_OF_USER_MAX", 1)
    world.do("block.set", A, user=B)
    world.do("block.set", A, user=B)
    world.refused(AccountFull, "block.set", A, user=C)
    world.do("block.clear", A, user=B)
    world.do("block.set", A, user=C)


# -- contacts


def between(world: World, dc: int, user: str = A, peer: str = B) -> str:
    return run(world.dcs[dc].view.contacts_of(user)).get(peer, Contact()).state


def both(world: World) -> list[tuple[str, str]]:
    """In each datacenter what A sees and what B sees."""
    return [(between(world, dc), between(world, dc, B, A)) for dc in (0, 1)]


def test_two_who_ask_each_other_are_contacts_wherever_they_did(world: World) -> None:
    world.do("contact.request", A, dc=0, user=B)
    world.do("contact.request", B, dc=1, user=A)
    assert both(world) == [("asked", "asks"), ("asks", "asked")]
    world.settle()
    assert both(world) == [("contact", "contact")] * 2


def test_an_acceptance_does_not_make_a_contact_of_one_who_took_his_request_back_meanwhile(world: World) -> None:
    """One value with a stamp would: the acceptance is the later write."""
    world.do("contact.request", A, user=B)
    world.settle()
    world.do("contact.delete", A, dc=0, user=B)
    world.do("contact.accept", B, dc=1, user=A)
    world.settle()
    assert both(world) == [("asks", "asked")] * 2


def test_a_deletion_leaves_a_request_that_it_had_not_seen_whatever_the_stamps(world: World) -> None:
    world.do("contact.request", A, user=B)
    world.settle()
    world.do("contact.delete", B, dc=1, user=A)
    world.settle()
    world.do("contact.request", A, dc=0, user=B)
    world.do("contact.request", B, dc=1, user=A)
    world.do("contact.delete", B, dc=1, user=A)
    world.settle()
    assert both(world) == [("asked", "asks")] * 2


def test_what_contacts_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.refused(Invalid, "contact.request", A, user=A)
    world.refused(NotFound, "contact.request", A, user="Unobody")
    world.refused(NotFound, "contact.accept", A, user=B)
    world.refused(NotFound, "contact.delete", A, user=B)
    world.do("contact.request", A, user=B)
    world.refused(Conflict, "contact.request", A, user=B)
    world.refused(NotFound, "contact.accept", A, user=B)
    world.do("contact.accept", B, user=A)
    world.refused(Conflict, "contact.accept", B, user=A)
    world.do("block.set", C, user=A)
    world.refused(Forbidden, "contact.request", A, user=C)
    monkeypatch.setattr(limits, "CONTACTS_ASKED_MAX", 1)
    world.refused(AccountFull, "contact.request", C, user=A)
    world.do("contact.request", A, user=D)
    monkeypatch.setattr(limits, "CONTACTS_OF_USER_MAX", 2)
    world.do("block.clear", C, user=A)
    world.refused(AccountFull, "contact.request", A, user=C)


# -- do not disturb


def test_do_not_disturb_is_absolute_and_the_later_write_wins_whole(world: World) -> None:
    """Of two halves that were merged, hours of one zone would go with the end of another."""
    first = world.do("user.dnd", A, dc=0, until_ms=5, schedule=None)
    night = {"zone": "Asia/Tokyo", "from": "22:00", "to": "07:00", "days": [5, 1, 5]}
    world.do("user.dnd", A, dc=1, until_ms=None, schedule=night)
    world.settle()
    for dc in world.dcs:
        view = run(dc.view.user(A))
        assert view is not None
        assert view.dnd == {"until_ms": None, "schedule": night | {"days": [1, 5]}}
    assert world.do("user.dnd", A, dc=0, until_ms=None, schedule=None).args.basis > first.id
    assert run(world.dcs[0].view.user(A)).dnd is None  # type: ignore[union-attr]


# -- devices


def owner(world: World, dc: int, token: str) -> tuple[str, str]:
    return run(world.dcs[dc].view.push_owner(token_hash("fcm", token)))[0]


def test_a_push_token_belongs_to_whom_registered_it_last_everywhere(world: World) -> None:
    """A telephone that was sold: kept per user alone, the old owner's pushes would go to the new one."""
    world.do("device.register", A, dc=0, device="phone", provider="fcm", token="t1")
    world.do("device.register", B, dc=1, device="mine", provider="fcm", token="t1")
    world.settle()
    for dc in (0, 1):
        assert owner(world, dc, "t1") == (B, "mine")
        assert run(world.dcs[dc].view.device(A, "phone")).token == "t1"
    world.do("device.register", A, dc=0, device="phone", provider="fcm", token="t2")
    assert (owner(world, 0, "t1"), owner(world, 0, "t2")) == ((B, "mine"), (A, "phone"))


def test_one_datacenter_is_the_home_of_a_device_the_one_that_was_asked_last(world: World) -> None:
    world.do("device.register", A, dc=0, device="phone", provider="fcm", token="t1")
    world.do("device.register", A, dc=1, device="phone", provider="fcm", token="t1")
    world.settle()
    assert [run(dc.view.device(A, "phone")).home for dc in world.dcs] == ["dc1", "dc1"]


def test_a_forgotten_device_stays_so_when_its_registration_arrives_late(world: World) -> None:
    registered = world.do("device.register", A, dc=0, device="phone", provider="fcm", token="t1")
    forgotten = world.do("device.forget", A, dc=0, device="phone")
    assert forgotten.args.basis == {"push": registered.id, "home": registered.id}
    world.settle()
    assert [run(dc.view.devices_of(A)) for dc in world.dcs] == [[], []]
    world.refused(NotFound, "device.forget", A, device="phone")


def test_devices_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DEVICES_OF_USER_MAX", 1)
    world.do("device.register", A, device="phone", provider="fcm", token="t1")
    world.do("device.register", A, device="phone", provider="fcm", token="t2")
    world.refused(AccountFull, "device.register", A, device="pad", provider="fcm", token="t3")


# -- handles


def handle_owner(world: World, dc: int, handle: str = "ada") -> str:
    return holder_of(run(world.dcs[dc].view.handle(handle))).user


def test_of_two_claims_in_two_datacenters_the_earlier_one_has_the_name_everywhere(world: World) -> None:
    world.do("handle.claim", A, dc=0, handle="ada")
    world.do("handle.claim", B, dc=1, handle="ada")
    assert (handle_owner(world, 0), handle_owner(world, 1)) == (A, B)
    world.settle()
    assert (handle_owner(world, 0), handle_owner(world, 1)) == (A, A)


def test_a_claim_that_had_lost_does_not_come_to_life_when_the_name_gets_free(world: World) -> None:
    world.do("handle.claim", A, dc=0, handle="ada")
    world.do("handle.claim", B, dc=1, handle="ada")
    world.settle()
    world.do("handle.release", A, dc=0)
    world.settle()
    assert (handle_owner(world, 0), handle_owner(world, 1)) == ("", "")
    world.do("handle.claim", B, dc=1, handle="ada")
    world.settle()
    assert (handle_owner(world, 0), handle_owner(world, 1)) == (B, B)


def test_a_claim_gives_up_what_its_user_had_and_takes_nothing_from_others(world: World) -> None:
    world.do("handle.claim", A, handle="ada")
    world.refused(Conflict, "handle.claim", A, handle="ada")
    world.refused(Conflict, "handle.claim", B, handle="ada")
    world.refused(NotFound, "handle.release", B)
    world.do("handle.claim", A, handle="ada_l")
    assert run(world.dcs[0].view.handles_of(A)) == ["ada_l"]
    world.do("handle.claim", B, handle="ada")
    assert (handle_owner(world, 0), handle_owner(world, 0, "ada_l")) == (B, A)


def test_handles_that_one_user_claimed_in_two_datacenters_are_both_given_up_by_the_next_claim(world: World) -> None:
    world.do("handle.claim", A, dc=0, handle="ada")
    world.do("handle.claim", A, dc=1, handle="ada_l")
    world.settle()
    assert run(world.dcs[0].view.handles_of(A)) == ["ada_l", "ada"]
    world.do("handle.claim", A, dc=0, handle="lovelace")
    world.settle()
    for dc in (0, 1):
        assert [handle_owner(world, dc, one) for one in ("ada", "ada_l", "lovelace")] == ["", "", A]


def test_a_handle_is_not_used_up_by_one_user(world: World) -> None:
    for _ in range(limits.HANDLE_CLAIMS_OF_USER_MAX):
        world.do("handle.claim", A, handle="ada")
        world.do("handle.release", A)
    world.refused(AccountFull, "handle.claim", A, handle="ada")
    world.do("handle.claim", B, handle="ada")
