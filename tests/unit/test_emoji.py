"""What is taken for a reaction."""

import pytest
from pydantic import ValidationError

from core import limits
from core.emoji import may_react
from tests.support.rules import A, B, World

EMOJI = (
    "👍", "👍🏽", "❤️", "❤", "🎉", "©️", "™️", "ℹ️", "⌚", "〰️", "🈁", "🀄", "🃏", "🫠", "🪿", "🫨", "🐦‍🔥", "🇩🇪",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "#⃣", "👨‍👩‍👧‍👦", "👩🏽‍❤️‍💋‍👨🏿", "🏳️‍🌈", "🧑🏾‍🚀", "❤️‍🔥", "🙂‍↕️", "🏻",
)  # fmt: skip
NAMES = ("+1", "-1", "heart", "party_parrot", "ok", "e0")
NEITHER = (
    "", " ", "👍👍", "👍 ", "ok ", "OK", "naïve", "two words", "<b>", "a\u0301", "\u200d", "👍\u200d", "\u200d👍",
    "\ufe0f", "\u202e", "\0", "\n", "🇩", "🇩🇪🇫", "👍🏽🏽", "\U000e0067", "🏴\U000e0067", "\u20e3", "🎉!", "\u2028", "你",
    "\ufffe", "❤️️",
)  # fmt: skip


@pytest.mark.parametrize("text", EMOJI)
def test_one_emoji_is_a_reaction(text: str) -> None:
    assert may_react(text) and len(text) <= limits.EMOJI_CHARS_MAX


@pytest.mark.parametrize("text", NAMES)
def test_a_short_name_is_a_reaction(text: str) -> None:
    assert may_react(text)


@pytest.mark.parametrize("text", NEITHER)
def test_text_and_rows_of_pictures_are_none(text: str) -> None:
    assert not may_react(text)


def test_what_is_none_is_refused_and_names_its_field() -> None:
    world = World()
    said = world.do("message.send", A, to=B, text="x")
    world.settle()
    for text in ("👍👍", "Fine", "x" * (limits.EMOJI_CHARS_MAX + 1), "👨" + "\u200d👧" * limits.EMOJI_CHARS_MAX):
        with pytest.raises(ValidationError) as refused:
            world.do("reaction.set", B, message=str(said.id), emoji=text)
        assert [error["loc"] for error in refused.value.errors()] == [("emoji",)]
    world.do("reaction.set", B, message=str(said.id), emoji="👩🏽‍❤️‍💋‍👨🏿")
    assert world.shown(said).reactions == {"👩🏽‍❤️‍💋‍👨🏿": (B,)}
