"""The script of the demo: membership adds up, ids keep nicks apart, a seed always tells the same story."""

import re
from collections import Counter
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from cli.chatter import texts
from cli.conversation import (
    Conversation,
    Join,
    Kick,
    Part,
    Say,
    Step,
    generate,
    home_dc,
    name_of,
    own,
    user_id,
    with_membership,
)
from cli.irc_lines import valid_nick
from core.actions.fields import Name
from core.limits import GROUP_MEMBERS_MAX, MESSAGE_BYTES_MAX, NAME_CHARS_MAX

_FEW = st.sampled_from(("a", "b", "c"))
_STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.builds(Say, _FEW, st.sampled_from(("hi", "ho"))),
        st.builds(Join, _FEW),
        st.builds(Part, _FEW),
        st.builds(Kick, _FEW, _FEW),
    ),
    max_size=30,
)


def assert_adds_up(steps: tuple[Step, ...]) -> None:
    present: set[str] = set()
    for step in steps:
        if isinstance(step, Join):
            assert step.nick not in present
            present.add(step.nick)
            continue
        assert step.nick in present
        if isinstance(step, Kick):
            assert step.by in present
            assert step.by != step.nick
        if not isinstance(step, Say):
            present.remove(step.nick)


def test_a_speaker_without_a_join_is_added_first() -> None:
    assert with_membership([Say("a", "hi")]) == ((Join("a"), Say("a", "hi")), ("a",), 1, 0)


def test_a_join_of_a_member_and_a_part_of_someone_absent_are_dropped_and_counted() -> None:
    steps: list[Step] = [Part("b"), Join("a"), Join("a"), Kick("b", "a"), Say("a", "hi")]
    assert with_membership(steps) == ((Join("a"), Say("a", "hi")), ("a",), 0, 3)


def test_who_kicks_without_having_joined_is_added_first() -> None:
    assert with_membership([Join("a"), Kick("a", "op")]).steps == (Join("a"), Join("op"), Kick("a", "op"))


def test_who_kicks_someone_absent_is_not_added() -> None:
    assert with_membership([Kick("a", "op")]).steps == ()


def test_who_kicks_himself_parts() -> None:
    assert with_membership([Join("a"), Kick("a", "a")]).steps == (Join("a"), Part("a"))


def test_who_was_kicked_and_speaks_is_added_again() -> None:
    steps = with_membership([Say("a", "1"), Kick("a", "b"), Say("a", "2")]).steps
    assert steps == (Join("a"), Say("a", "1"), Join("b"), Kick("a", "b"), Join("a"), Say("a", "2"))


@given(_STEPS)
def test_membership_adds_up_and_nothing_said_is_lost_or_moved(steps: list[Step]) -> None:
    normal = with_membership(steps)
    assert_adds_up(normal.steps)
    assert [step for step in normal.steps if isinstance(step, Say)] == [step for step in steps if isinstance(step, Say)]
    assert len(normal.steps) == len(steps) + normal.inserted - normal.dropped
    assert normal.nicks == tuple(dict.fromkeys(step.nick for step in normal.steps))


@given(_STEPS)
def test_steps_that_add_up_stay_as_they_are(steps: list[Step]) -> None:
    once = with_membership(steps)
    assert with_membership(once.steps) == (once.steps, once.nicks, 0, 0)


@pytest.mark.parametrize(
    ("nick", "expected"),
    [
        ("mira", "Umira"),
        ("Mira_2-x", "UMira_2-x"),
        ("[x]", "U.5bx.5d"),
        ("x|away", "Ux.7caway"),
        ("x^", "Ux.5e"),
        ("{x}", "U.7bx.7d"),
        ("o.neill", "Uo.2eneill"),
        ("é", "U.c3.a9"),
    ],
)
def test_a_user_id_shows_its_nick(nick: str, expected: str) -> None:
    assert user_id(nick) == expected


@given(
    st.one_of(
        st.text(), st.text("ab.-_[2e5", max_size=80), st.text("x\udc80", min_size=20), st.just(" you"), st.just("you")
    )
)
def test_a_user_id_is_always_valid(nick: str) -> None:
    assert re.fullmatch(r"U[A-Za-z0-9._-]{1,63}", user_id(nick))


@pytest.mark.parametrize("name", ["you", "planb-host", "watcher-fra", "last-words-0", "planb-conflict-guest"])
def test_no_nick_of_a_log_is_one_of_the_demo_s_own_people(name: str) -> None:
    assert not valid_nick(own(name))
    assert user_id(own(name)) != user_id(name)
    assert name_of(own(name)) == name


def test_the_visitor_s_id_can_be_typed() -> None:
    assert user_id(own("you")) == "Uyou"
    assert user_id("You") == "UYou"


@given(st.text(min_size=1, max_size=NAME_CHARS_MAX).filter(valid_nick))
@example("x\x81\u202ey")
@example("\u3000")
@example("\u2028" * NAME_CHARS_MAX)
def test_every_nick_of_a_log_has_a_name_that_the_api_takes(nick: str) -> None:
    name = name_of(nick)
    assert TypeAdapter(Name).validate_python(name) == name
    if nick.isascii() and nick.isprintable():
        assert name == nick


@given(st.lists(st.one_of(st.text(max_size=70), st.text(".5bB[", max_size=8)), unique=True))
def test_different_nicks_have_different_user_ids(nicks: list[str]) -> None:
    assert len({user_id(nick) for nick in nicks}) == len(nicks)


def test_an_escape_never_looks_like_a_hash_or_another_nick() -> None:
    long = "x" * 64
    nicks = ["x" * 63, long, user_id(long)[1:], "[", ".5b", "..", ".", "", "A", "a"]
    assert len({user_id(nick) for nick in nicks}) == len(nicks)


def test_a_home_dc_is_stable_and_nicks_are_spread() -> None:
    dcs = ("fra", "sin", "iad")
    assert [home_dc(nick, dcs) for nick in ("mira", "[x]", "小林")] == ["sin", "fra", "iad"]
    homes = Counter(home_dc(f"nick{number}", dcs) for number in range(3_000))
    assert all(900 < homes[dc] < 1_100 for dc in dcs)


def test_a_home_needs_a_dc() -> None:
    with pytest.raises(ValueError, match="DC"):
        home_dc("mira", ())


@pytest.mark.parametrize("steps", [(Join("a"),), (Say("a", "hi"), Part("b"))])
def test_a_direct_refuses_anything_but_messages(steps: tuple[Step, ...]) -> None:
    with pytest.raises(ValueError, match="direct"):
        Conversation("a & b", steps, ("a", "b"), "direct")


@pytest.mark.parametrize("nicks", [("a",), ("a", "a"), ("a", "b", "c")])
def test_a_direct_has_two_nicks(nicks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="two nicks"):
        Conversation("alone", (), nicks, "direct")


@pytest.mark.parametrize("messages", [0, 1, 7, 600, 5_000])
@pytest.mark.parametrize("seed", [0, 1, 20_140_901])
def test_what_is_generated_has_as_many_messages_as_asked_and_adds_up(seed: int, messages: int) -> None:
    conversations = generate(seed, messages)
    assert sum(conversation.messages for conversation in conversations) == messages
    assert len({conversation.name for conversation in conversations}) == len(conversations)
    for conversation in conversations:
        assert {step.nick for step in conversation.steps} <= set(conversation.nicks)
        if conversation.kind == "direct":
            assert all(isinstance(step, Say) for step in conversation.steps)
            assert len(set(conversation.nicks)) == 2
        else:
            normal = with_membership(conversation.steps)
            assert normal == (conversation.steps, conversation.nicks, 0, 0)
            assert {type(step) for step in conversation.steps} >= {Join, Part, Kick}


def test_a_supergroup_two_groups_and_several_directs_are_generated() -> None:
    channels = [c for c in generate(1) if c.kind == "channel"]
    directs = [c for c in generate(1) if c.kind == "direct"]
    assert sorted(len(c.nicks) > GROUP_MEMBERS_MAX for c in channels) == [False, False, True]
    assert len({frozenset(c.nicks) for c in directs}) == len(directs) == 5


def test_who_comes_first_stays_and_is_the_only_one_who_kicks() -> None:
    for conversation in generate(3, 2_000):
        if conversation.kind == "channel":
            founder = conversation.nicks[0]
            gone = [step.nick for step in conversation.steps if isinstance(step, Part | Kick)]
            assert founder not in gone
            assert {step.by for step in conversation.steps if isinstance(step, Kick)} == {founder}


def test_the_same_seed_tells_the_same_story() -> None:
    assert generate(7, 300) == generate(7, 300)
    assert generate(7, 300) != generate(8, 300)


def test_a_negative_number_of_messages_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        generate(1, -1)


@settings(deadline=None)  # a machine that is busy is no failure
@given(st.randoms(use_true_random=False), st.integers(0, 40))
def test_every_generated_text_can_be_sent_and_logged(rng: Random, count: int) -> None:
    said = texts(rng, count)
    assert len(said) == count
    for text in said:
        assert 0 < len(text.encode()) <= MESSAGE_BYTES_MAX
        assert "\n" not in text
        assert "\0" not in text


def test_generated_texts_reach_the_limit_and_many_scripts() -> None:
    said = [step.text for c in generate(5) for step in c.steps if isinstance(step, Say)]
    assert max(len(text.encode()) for text in said) == MESSAGE_BYTES_MAX
    whole = "".join(said)
    for sign in ("ש", "س", "服", "は", "👍", "\u200d", "\u0301", "\t", "\u2028"):
        assert sign in whole
