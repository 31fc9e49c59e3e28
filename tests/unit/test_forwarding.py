"""Messages that repeat others: what is copied, whose words they stay, and who may."""

import pytest

from core.errors import Forbidden, Gone, Invalid, NotFound
from tests.support.rules import A, B, C, D, World

POLL = {"kind": "custom", "type": "poll", "data": {"n": 1}}


@pytest.fixture
def world() -> World:
    return World()


def test_text_and_content_are_copied_with_the_first_senders_name_and_not_the_chat(world: World) -> None:
    said = world.do("message.send", A, to=world.group, text="see", content=POLL, mentions=[B])
    once = world.do("message.send", B, to=C, forward_of=str(said.id))
    twice = world.do("message.send", C, to=D, forward_of=str(once.id))
    for sent, sender in ((once, B), (twice, C)):
        shown = world.shown(sent)
        assert (shown.text, shown.content, shown.sender, shown.mentions) == ("see", POLL, sender, ())
        assert shown.shown()["forwarded"] == {"from": A, "message": str(said.id)}
        assert world.group not in str(sent.args)
    assert "forwarded" not in world.shown(said).shown()


def test_only_what_one_may_read_is_forwarded_and_nothing_that_was_recalled(world: World) -> None:
    said = world.do("message.send", A, to=B, text="secret")
    for id in (str(said.id), "5"):
        world.refused(NotFound, "message.send", C, to=D, forward_of=id)
    world.do("message.recall", A, message=str(said.id), for_="all")
    world.refused(Gone, "message.send", B, to=C, forward_of=str(said.id))


def test_a_copy_stays_as_it_was_taken_and_its_words_are_not_edited(world: World) -> None:
    said = world.do("message.send", A, to=B, text="one")
    world.do("message.edit", A, message=str(said.id), text="two")
    copy = world.do("message.send", B, to=C, forward_of=str(said.id))
    world.do("message.edit", A, message=str(said.id), text="three")
    assert world.shown(copy).text == "two"
    world.refused(Forbidden, "message.edit", B, message=str(copy.id), text="mine")
    world.do("message.recall", B, message=str(copy.id), for_="all")


def test_who_has_left_forwards_no_later_edit(world: World) -> None:
    said = world.do("message.send", A, to=world.group, text="one")
    world.do("member.kick", A, chat=world.group, user=B)
    world.do("message.edit", A, message=str(said.id), text="two")
    later = world.do("message.send", A, to=world.group, text="later")
    assert world.shown(world.do("message.send", B, to=C, forward_of=str(said.id))).text == "one"
    world.refused(NotFound, "message.send", B, to=C, forward_of=str(later.id))
    world.do("message.recall", A, message=str(said.id), for_="all")
    world.refused(Gone, "message.send", B, to=C, forward_of=str(said.id))


def test_a_forward_has_no_words_of_its_own(world: World) -> None:
    said = world.do("message.send", A, to=B, text="x")
    world.refused(Invalid, "message.send", B, to=C, forward_of=str(said.id), text="y")
    world.refused(Invalid, "message.send", B, to=C, forward_of=str(said.id), content=POLL)


def test_a_retry_elsewhere_is_the_same_message_though_the_original_was_edited_meanwhile(world: World) -> None:
    said = world.do("message.send", A, to=B, text="one")
    world.settle()
    world.do("message.edit", A, dc=0, message=str(said.id), text="two")
    first = world.do("message.send", B, dc=0, to=C, forward_of=str(said.id), key="f")
    world.do("message.send", B, dc=1, to=C, forward_of=str(said.id), key="f")
    world.settle()
    assert {(world.shown(first, dc).text, len(world.shown(first, dc).ids)) for dc in (0, 1)} == {("two", 2)}
