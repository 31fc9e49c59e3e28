"""What a message may hold besides its text, and what becomes of it when it is edited."""

from typing import Any

import pydantic
import pytest

from core import limits
from core.action import registry
from core.errors import Invalid, TooLarge
from core.tables import canonical
from tests.support.rules import A, B, World

ACTIONS = registry()
IMAGE = {"kind": "image", "url": "https://example.org/a.png", "width": 640, "height": 480}
POLL = {"kind": "custom", "type": "poll", "data": {"question": "Lunch?", "options": [{"name": "now", "n": 1.5}, None]}}
PLACE = {"kind": "location", "latitude": 52.5, "longitude": -13.25, "name": "Here"}
FILE = {"kind": "file", "file": "F12ab", "sha256": "0a" * 32, "name": "report.pdf", "type": "application/pdf"}


@pytest.fixture
def world() -> World:
    return World()


def parsed(content: Any) -> Any:
    return ACTIONS["message.send"].Request.model_validate({"to": "Ugrace", "content": content}).content


@pytest.mark.parametrize("content", [IMAGE, POLL, PLACE, FILE], ids=lambda content: content["kind"])
def test_what_is_said_is_kept_and_shown_as_it_was_said(world: World, content: dict[str, Any]) -> None:
    sent = world.do("message.send", A, to=B, content=content)
    assert sent.args.content == content
    assert (world.shown(sent).text, world.shown(sent).shown()["content"]) == ("", content)
    plain = world.do("message.send", A, to=B, text="hi")
    assert "content" not in world.shown(plain).shown()


def nested(depth: int) -> Any:
    found: Any = {}
    for _ in range(depth - 1):
        found = {"in": found}
    return found


REFUSED: dict[str, Any] = {
    "no kind": {"url": "https://example.org/"},
    "an unknown kind": {"kind": "video", "url": "https://example.org/"},
    "a picture that is nowhere": {"kind": "image", "width": 3},
    "another kind's field": {"kind": "file", "file": "F1", "latitude": 1.0},
    "an address that runs": {"kind": "image", "url": "javascript:alert(1)"},
    "an address with a line break": {"kind": "image", "url": "https://example.org/\n"},
    "a hash in capitals": {"kind": "file", "sha256": "0A" * 32},
    "a name over two lines": {"kind": "file", "file": "F1", "name": "a\nb"},
    "a name that turns around": {"kind": "file", "file": "F1", "name": "\u202egpj.exe"},
    "half a byte": {"kind": "file", "file": "F1", "bytes": 0.5},
    "beyond the pole": {"kind": "location", "latitude": 90.1, "longitude": 0},
    "beyond the date line": {"kind": "location", "latitude": 0, "longitude": -180.5},
    "nowhere": {"kind": "location", "latitude": float("nan"), "longitude": 0},
    "half a place": {"kind": "location", "latitude": 1.0},
    "a place in words": {"kind": "location", "latitude": "1", "longitude": "2"},
    "no data": {"kind": "custom", "type": "poll"},
    "data that is a list": {"kind": "custom", "type": "poll", "data": []},
    "a type with capitals": {"kind": "custom", "type": "Poll", "data": {}},
    "too deep": {"kind": "custom", "type": "t", "data": nested(limits.CUSTOM_DEPTH_MAX + 1)},
    "too many values": {"kind": "custom", "type": "t", "data": {"n": [0] * (limits.CUSTOM_VALUES_MAX - 1)}},
    "a long name": {"kind": "custom", "type": "t", "data": {"x" * (limits.CUSTOM_NAME_CHARS_MAX + 1): 1}},
    "a name of nothing": {"kind": "custom", "type": "t", "data": {"": 1}},
    "an integer that clients read differently": {"kind": "custom", "type": "t", "data": {"n": 1 << 53}},
    "a number that is none": {"kind": "custom", "type": "t", "data": {"n": float("inf")}},
    "NUL within": {"kind": "custom", "type": "t", "data": {"n": ["a\0b"]}},
    "a surrogate within": {"kind": "custom", "type": "t", "data": {"\ud800": 1}},
    "text for an object": "hello",
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED.keys())
def test_other_content_is_refused_by_its_name(content: Any) -> None:
    with pytest.raises(pydantic.ValidationError, match="content"):
        parsed(content)


def test_custom_data_may_be_as_deep_and_as_much_as_the_bounds() -> None:
    assert parsed({"kind": "custom", "type": "t", "data": nested(limits.CUSTOM_DEPTH_MAX)})
    assert parsed({"kind": "custom", "type": "t", "data": {"n": [0] * (limits.CUSTOM_VALUES_MAX - 2)}})
    assert parsed({"kind": "custom", "type": "t", "data": {"n": -limits.JSON_INT_MAX}})


def test_text_and_content_share_one_bound(world: World) -> None:
    def poll(size: int) -> dict[str, Any]:
        return {"kind": "custom", "type": "t", "data": {"x": "é" * size}}

    room = limits.MESSAGE_BYTES_MAX - len(canonical(poll(0)))
    full = world.do("message.send", A, to=B, text="x", content=poll((room - 1) // 2))
    world.refused(TooLarge, "message.send", A, to=B, text="xxx", content=poll((room - 1) // 2))
    world.refused(TooLarge, "message.edit", A, message=str(full.id), text="xxx")
    world.do("message.edit", A, message=str(full.id), text="")


def test_a_message_says_something(world: World) -> None:
    world.refused(Invalid, "message.send", A, to=B)
    said = world.do("message.send", A, to=B, text="x")
    world.refused(Invalid, "message.edit", A, message=str(said.id))
    world.refused(Invalid, "message.edit", A, message=str(said.id), text="")
    with pytest.raises(pydantic.ValidationError, match="text"):
        ACTIONS["message.send"].Request.model_validate({"to": B, "text": "", "content": PLACE})


def test_an_edit_leaves_what_it_does_not_name(world: World) -> None:
    said = world.do("message.send", A, to=B, text="see", content=IMAGE)
    world.do("message.edit", A, message=str(said.id), text="look")
    assert (world.shown(said).text, world.shown(said).content) == ("look", IMAGE)
    world.do("message.edit", A, message=str(said.id), content=PLACE)
    assert (world.shown(said).text, world.shown(said).content) == ("look", PLACE)
    world.do("message.edit", A, message=str(said.id), text="")
    assert (world.shown(said).text, world.shown(said).content) == ("", PLACE)
    world.do("message.recall", A, message=str(said.id), for_="all")
    assert (world.shown(said).text, world.shown(said).content) == (None, None)


def test_of_two_concurrent_edits_one_is_shown_whole(world: World) -> None:
    """Were text and content merged apart, the shown message would be one that nobody wrote."""
    said = world.do("message.send", A, to=B, text="see", content=IMAGE)
    world.settle()
    world.do("message.edit", A, dc=0, message=str(said.id), content=PLACE)
    world.do("message.edit", A, dc=1, message=str(said.id), text="look")
    world.settle()
    for dc in (0, 1):
        assert (world.shown(said, dc).text, world.shown(said, dc).content) == ("look", IMAGE)
