"""What users set for themselves: what each rule prevents, over two datacenters."""

import pytest

from core import ids, limits
from core.action import Touch
from core.errors import Invalid, NotFound
from tests.support.mesh import ACTIONS, run
from tests.support.rules import A, B, C, World


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
