"""Events to bytes and back: what one version writes, every later version reads; everything else is Undecodable."""

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.action import Action, Args, registry
from core.errors import Undecodable
from core.event import Event
from core.ids import make_id
from events import codec as codecs
from events.codec import Codec, Opened, decode_opened, encode_opened
from events.record import KIND_EVENT, KIND_OPEN, Entry, Record

ID = make_id((1 << 46) + 1, 65_535)


class PaintArgs(Args):
    """Version 3: version 1 had `color` only, version 2 had `colors`."""

    colors: tuple[str, ...]
    coats: int
    knew: dict[int, int] = msgspec.field(default_factory=dict)


class PickyArgs(Args):
    n: int

    def __post_init__(self) -> None:
        if self.n == 13:
            raise KeyError("not a kind of error that a decoder expects")


def from_first(args: dict[str, Any]) -> dict[str, Any]:
    return {"colors": [args["color"]]}


def from_second(args: dict[str, Any]) -> dict[str, Any]:
    return {**args, "coats": 2 // args.get("divisor", 1)}


PAINT = SimpleNamespace(name="wall.paint", version=3, Args=PaintArgs, upcasters={1: from_first, 2: from_second})
PICKY = SimpleNamespace(name="picky", version=1, Args=PickyArgs, upcasters={})
CODEC = Codec(cast("dict[str, type[Action]]", {"wall.paint": PAINT, "picky": PICKY}))


def event(args: Any, action: str = "wall.paint", version: int = 3) -> Event:
    return Event(ID, action, version, "Ualice", "key", b"8 bytes.", args)


def as_written(version: int, args: Any, action: str = "wall.paint") -> bytes:
    """The body that an older version wrote."""
    return msgspec.msgpack.encode([ID, action, version, "Ualice", "key", b"8 bytes.", args])


def test_an_event_comes_back_equal_with_typed_arguments() -> None:
    sent = event(PaintArgs(colors=("red", "blue"), knew={2_049: (1 << 63) - 1}, coats=1))
    assert CODEC.decode(CODEC.encode(sent)) == sent


def test_the_body_is_an_array_whose_last_item_is_the_map_of_the_arguments() -> None:
    body = CODEC.encode(event(PickyArgs(n=1), "picky", 1))
    assert msgspec.msgpack.decode(body) == [ID, "picky", 1, "Ualice", "key", b"8 bytes.", {"n": 1}]


@pytest.mark.parametrize(
    ("version", "args", "coats"),
    [(1, {"color": "red"}, 2), (2, {"colors": ["red"]}, 2), (3, {"colors": ["red"], "coats": 9}, 9)],
)
def test_every_older_version_comes_out_as_the_present_one(version: int, args: dict[str, Any], coats: int) -> None:
    assert CODEC.decode(as_written(version, args)) == event(PaintArgs(colors=("red",), coats=coats))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        as_written(0, {}),
        as_written(4, {"colors": [], "coats": 1}),
        as_written(1, {"color": "red"}, "wall.unknown"),
        as_written(3, {"colors": "red", "coats": 1}),
        as_written(3, {"colors": []}),
        as_written(3, None),
        as_written(1, {}),
        as_written(1, ["color"]),
        as_written(2, {"colors": ["red"], "divisor": 0}),
        as_written(1, {"n": 13}, "picky"),
        as_written(3, {"colors": ["red"], "coats": 1})[:-1],
        as_written(3, {"colors": ["red"], "coats": 1}) + b"\x00",
        msgspec.msgpack.encode([ID, "picky", 1, "Ualice", "key", "not bytes", {"n": 1}]),
        msgspec.msgpack.encode([ID, "picky", 1, "Ualice"]),
        b"\xdd\xff\xff\xff\xff",
        b"\x97\x00\xa5picky\x01\xa0\xa0\xc4\x00" + b"\x91" * 100_000,
    ],
)
def test_what_this_version_can_not_read_is_undecodable_and_nothing_else(body: bytes) -> None:
    with pytest.raises(Undecodable):
        CODEC.decode(body)


@pytest.mark.parametrize("args", [PickyArgs(n=1), {"colors": [], "coats": 1}, None])
def test_arguments_of_another_type_are_not_written(args: Any) -> None:
    with pytest.raises(Undecodable):
        CODEC.encode(event(args))


@pytest.mark.parametrize(
    "args",
    [
        PaintArgs(colors=("\ud800",), coats=1),
        PaintArgs(colors=(), coats=1 << 64),
        PaintArgs(colors=(), coats=cast("int", object())),
    ],
)
def test_arguments_that_msgpack_does_not_know_are_not_written(args: Any) -> None:
    with pytest.raises(Undecodable):
        CODEC.encode(event(args))


def test_an_old_version_is_not_written() -> None:
    with pytest.raises(Undecodable):
        CODEC.encode(event(PaintArgs(colors=(), coats=1), version=2))


def test_a_missing_upcaster_is_noticed_when_the_program_starts() -> None:
    hole = SimpleNamespace(name="hole", version=3, Args=PaintArgs, upcasters={1: from_first})
    with pytest.raises(KeyError):
        Codec(cast("dict[str, type[Action]]", {"hole": hole}))


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(0, 9), inner, max_size=4),
    max_leaves=12,
)
sound = as_written(3, {"colors": ["red", "blue"], "coats": 1, "knew": {7: 1 << 62}})


@given(st.binary(max_size=200) | anything.map(msgspec.msgpack.encode))
def test_no_bytes_make_it_fail_otherwise(body: bytes) -> None:
    only_undecodable(body)


@given(st.integers(0, 4), anything, st.sampled_from(["wall.paint", "picky"]))
def test_no_arguments_make_it_fail_otherwise(version: int, args: Any, action: str) -> None:
    only_undecodable(as_written(version, args, action))


@given(st.integers(0, len(sound) - 1), st.binary(max_size=3))
def test_no_damage_makes_it_fail_otherwise(at: int, damage: bytes) -> None:
    only_undecodable(sound[:at] + damage + sound[at + len(damage) :])
    only_undecodable(sound[:at] + damage)


def only_undecodable(body: bytes) -> None:
    try:
        found = CODEC.decode(body)
    except Undecodable:
        return
    # What it does read, it can write, and reads again as the same.
    assert CODEC.decode(CODEC.encode(found)) == found
    assert isinstance(found.args, PaintArgs | PickyArgs)


# -- entries


def record(body: bytes, kind: int = KIND_EVENT, id: int = ID) -> Record:
    return Record(65_535, 7, id, kind, body, bytes(32), b"")


def test_an_event_record_is_an_entry_with_its_event() -> None:
    sent = event(PickyArgs(n=1), "picky", 1)
    assert CODEC.entry(record(CODEC.encode(sent))) == Entry(65_535, 7, ID, sent)


def test_an_open_record_is_an_entry_without_event_or_problem() -> None:
    assert CODEC.entry(record(b"whatever", KIND_OPEN)) == Entry(65_535, 7, ID, None, "")


@pytest.mark.parametrize(
    "unreadable",
    [record(b"\xc1"), record(as_written(9, {})), record(sound, kind=77), record(sound, id=ID + 1)],
)
def test_what_can_not_be_decoded_is_an_entry_with_its_problem(unreadable: Record) -> None:
    entry = CODEC.entry(unreadable)
    assert (entry.lane, entry.seq, entry.id, entry.event) == (65_535, 7, unreadable.id, None)
    assert entry.problem


def test_the_problem_is_short_whatever_the_record_says() -> None:
    assert len(CODEC.entry(record(as_written(9, {}, "x" * 10_000))).problem) < 300


# -- who opened a lane


def test_an_open_records_body_says_who_and_when_and_may_say_more() -> None:
    assert decode_opened(encode_opened(Opened("fra api 1", 1_700_000_000_000))) == Opened(
        "fra api 1", 1_700_000_000_000
    )
    later = msgspec.msgpack.encode({"process": "p", "wall_ms": 1, "version": "9.9"})
    assert decode_opened(later) == Opened("p", 1)
    with pytest.raises(Undecodable):
        decode_opened(b"\xc1")


# -- the registered actions


@pytest.mark.parametrize("name", sorted(registry()))
def test_every_registered_action_has_an_upcaster_for_each_version_it_ever_had(name: str) -> None:
    action = registry()[name]
    assert sorted(action.upcasters) == list(range(1, action.version))
    with pytest.raises(Undecodable):
        codecs.decode(as_written(action.version + 1, {}, name))
