"""The demo's people go on to talk when their conversations are told."""

from random import Random
from typing import Any

from cli.conversation import Conversation, Join, Kick, Part, Say, generate
from cli.narrator import Narrator

CAST: Any = None
"""Nobody speaks here."""


def narrator(*conversations: Conversation) -> Narrator:
    return Narrator(CAST, conversations)


def test_who_is_still_there_goes_on_and_nothing_grows() -> None:
    steps = (Join("a"), Join("b"), Join("c"), Join("d"), Say("a", "x"), Part("b"), Kick("c", "a"), Join("c"), Part("d"))
    told = narrator(Conversation("room", steps, ("a", "b", "c", "d")))
    (tale,) = told.tales
    tale.peer, tale.said, tale.keys, tale.place = "G1", [("a", "x")], {"a": ["k"]}, len(steps)
    rng = Random(1)
    for _ in range(20):
        told.go_on(rng, 50)
        assert (tale.peer, tale.said, tale.keys, tale.place) == ("G1", [], {}, 0)
        assert len(tale.conversation.steps) == 50
        assert {step.nick for step in tale.conversation.steps if isinstance(step, Say)} == {"a", "c"}


def test_generated_conversations_go_on_everywhere() -> None:
    told = narrator(*generate(1))
    told.go_on(Random(1), 200)
    assert sum(tale.conversation.messages for tale in told.tales) == 200
    assert all(tale.conversation.messages for tale in told.tales)


def test_when_all_have_left_they_come_back_and_where_nobody_was_nobody_speaks() -> None:
    empty = Conversation("empty", (), ())
    left = Conversation("left", (Join("a"), Part("a")), ("a",))
    told = narrator(empty, left)
    told.go_on(Random(1), 10)
    assert [tale.conversation.messages for tale in told.tales] == [0, 10]
    alone = narrator(empty)
    alone.go_on(Random(1), 10)
    assert alone.tales[0].conversation.messages == 0
