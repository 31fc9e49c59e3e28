"""What requests accept and refuse, with which code."""

from typing import Any

import pydantic
import pytest

from core import limits
from core.action import registry
from core.errors import TooLarge

ACTIONS = registry()


def send(**fields: Any) -> Any:
    return ACTIONS["message.send"].Request.model_validate({"to": "Ugrace", "text": "hello", **fields})


@pytest.mark.parametrize("to", ["Uada", "U" + "x" * 63, "Ua.b_c-1", "G1", "C9223372036854775807", "D12"])
def test_a_destination_is_a_user_or_a_conversation(to: str) -> None:
    assert send(to=to).to == to


@pytest.mark.parametrize(
    "to", ["", "U", "U" + "x" * 64, "Uä", "Ua b", "G", "Gx", "X1", "g1", "G" + "1" * 20, "Ua\n", "sys"]
)
def test_other_destinations_are_refused(to: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="to"):
        send(to=to)


def test_a_text_may_have_as_many_bytes_as_the_bound_and_no_more() -> None:
    most = limits.MESSAGE_BYTES_MAX
    assert send(text="x" * most)
    assert send(text="€" * (most // 3))
    for text in ("x" * (most + 1), "€" * (most // 3 + 1), "x" * (10 * most)):
        with pytest.raises(TooLarge) as caught:
            send(text=text)
        assert caught.value.code == "too_large"
        assert caught.value.status == 413


@pytest.mark.parametrize("text", ["", "a\0b", "a\ud800", "\udfff", None, 3, b"bytes"])
def test_other_texts_are_refused_with_the_fields_name(text: object) -> None:
    with pytest.raises(pydantic.ValidationError, match="text"):
        send(text=text)


@pytest.mark.parametrize("text", [" ", "line\nline", "\x1b[1m", "עברית \u202e", "👩‍👩‍👧"])
def test_a_text_is_not_censored(text: str) -> None:
    assert send(text=text).text == text


@pytest.mark.parametrize("id", ["0", "-1", "1.0", "", "9223372036854775808", "9" * 20, " 1", "١", 5])
def test_a_message_id_is_a_string_of_digits_within_63_bits(id: object) -> None:
    with pytest.raises(pydantic.ValidationError, match="reply_to"):
        send(reply_to=id)
    assert send(reply_to="9223372036854775807").reply_to == "9223372036854775807"


@pytest.mark.parametrize("name", ["", " ", "\t", "a\nb", "a\x85b", "\u202etxt", "\u2066x", "x" * 129, "a\ud800"])
def test_a_name_is_one_visible_line_without_direction_overrides(name: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="name"):
        ACTIONS["user.update"].Request.model_validate({"name": name})


@pytest.mark.parametrize("name", ["Ada", "x" * 128, "Ünï", "شركة", "👩‍🚀"])
def test_names_of_all_scripts_are_fine(name: str) -> None:
    assert ACTIONS["user.update"].Request.model_validate({"name": name})


def test_an_update_changes_something() -> None:
    for name, path in (("user.update", {}), ("group.update", {"chat": "G1"})):
        with pytest.raises(pydantic.ValidationError, match="at least one"):
            ACTIONS[name].Request.model_validate(path)


def test_members_named_in_one_call_are_bounded() -> None:
    request = ACTIONS["member.add"].Request
    assert request.model_validate({"chat": "C1", "users": [f"U{n}" for n in range(limits.SUPERGROUP_ADD_MAX)]})
    with pytest.raises(pydantic.ValidationError, match="users"):
        request.model_validate({"chat": "C1", "users": [f"U{n}" for n in range(limits.SUPERGROUP_ADD_MAX + 1)]})
    with pytest.raises(pydantic.ValidationError, match="users"):
        request.model_validate({"chat": "C1", "users": []})


@pytest.mark.parametrize("rank", ["", "0", "a0", "A", "i" * 65, "-"])
def test_a_rank_leaves_room_on_both_sides(rank: str) -> None:
    request = ACTIONS["dialog.pin"].Request
    with pytest.raises(pydantic.ValidationError, match="rank"):
        request.model_validate({"peer": "Uada", "rank": rank})
    assert request.model_validate({"peer": "Uada", "rank": None})
    with pytest.raises(pydantic.ValidationError, match="rank"):
        request.model_validate({"peer": "Uada"})


@pytest.mark.parametrize("emoji", ["", " ", "a\nb", "x" * 33])
def test_other_reactions_are_refused(emoji: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="emoji"):
        ACTIONS["reaction.set"].Request.model_validate({"message": "1", "emoji": emoji})
