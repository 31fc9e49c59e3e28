"""Every action says what it needs to be offered, documented and applied; nothing is registered by hand."""

import re
import string
from typing import Any, get_args

import msgspec
import pydantic
import pytest

from core.action import Action, Args, Audience, Touch, registry
from core.errors import PlanBError
from core.event import Event
from core.tables import ALL_TABLES
from tests.support.history import History, random_steps
from tests.support.mesh import Mesh

ACTIONS = registry()
EACH = pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())

ROWS = {
    "message.send", "message.edit", "message.recall", "message.hide", "reaction.set", "reaction.clear", "dialog.read",
    "dialog.clear", "dialog.pin", "dialog.mute", "user.update", "user.upsert", "token.issue", "session.revoke",
    "token.refresh",
    "group.create", "supergroup.create", "group.update", "member.add", "member.join", "member.leave", "member.kick",
    "member.role", "group.dissolve", "parked.drop", "dialog.mark_unread", "draft.set", "draft.clear",
    "block.set", "block.clear", "contact.request", "contact.accept", "contact.delete", "user.dnd",
    "conflict.undo",
    "device.register", "device.forget", "handle.claim", "handle.release", "chat.owner", "invite.create",
    "invite.revoke", "invite.accept", "request.ask", "request.withdraw", "request.approve", "request.reject",
    "chat.ban", "chat.unban", "message.schedule", "message.unschedule", "schedule.take", "schedule.fail",
    "file.put",
}  # fmt: skip
"""The rows of the table of write primitives that there are so far, as the design names them."""

OPERATORS = {"parked.drop", "file.put"}
"""They concern no user, or nobody but the one who does it and has the answer."""

REMOTE = {"member.kick", "session.revoke", "invite.revoke", "chat.ban"}
"""They take something away from somebody."""

UPDATES = {
    "message", "hidden", "chat", "member", "dialog", "user", "session", "block", "contact", "dnd", "device", "handle",
    "invite", "request", "ban", "scheduled",
}  # fmt: skip
"""The types of updates that clients know."""

PATH_EXAMPLES = {
    "user": "Uada",
    "device": "phone",
    "session": "s1",
    "chat": "G1",
    "message": "1234567890123456789",
    "emoji": "👍",
    "peer": "Ugrace",
    "invite": "i1",
    "scheduled": "S1",
}


def test_the_actions_are_those_of_the_design() -> None:
    assert set(ACTIONS) == ROWS


def path_fields(action: type[Action]) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(action.route.path) if name]


@EACH
def test_an_action_says_all_that_is_shown_of_it(action: type[Action]) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z_]+", action.name)
    assert action.summary
    assert not action.summary.endswith(".")
    assert len(action.consistency) > 60
    assert action.consistency.endswith(".")
    assert action.errors or action.name == "user.update"
    assert all(issubclass(error, PlanBError) for error in action.errors)
    assert action.durability == ("remote" if action.name in REMOTE else "local")


@EACH
def test_a_route_names_fields_of_its_request(action: type[Action]) -> None:
    route = action.route
    fields = {field.alias or name for name, field in action.Request.model_fields.items()}
    assert route.method in ("POST", "PUT", "PATCH", "DELETE")
    assert route.path.startswith("/sys/v1/" if route.listener == "sys" else "/v1/")
    assert {*path_fields(action), *route.query, *(name for name, _ in route.when)} <= fields


def test_no_two_actions_answer_the_same_call() -> None:
    calls = [(a.route.listener, a.route.method, a.route.path, a.route.when) for a in ACTIONS.values()]
    assert len(set(calls)) == len(calls)
    for listener, method, path, when in calls:
        same = [other for other in calls if other[:3] == (listener, method, path)]
        assert when or len(same) == 1, f"{method} {path} is not selected by a value"


def example_of(action: type[Action]) -> dict[str, Any]:
    path = {name: PATH_EXAMPLES[name] for name in path_fields(action)}
    query = {name: value for name, value in action.route.when if name in action.route.query}
    return {**action.example, **query, **path}


@EACH
def test_the_example_is_a_valid_request(action: type[Action]) -> None:
    request = action.Request.model_validate(example_of(action))
    sent = set(example_of(action))
    body = {f.alias or n for n, f in action.Request.model_fields.items() if f.is_required()} - sent
    assert not body, f"the example lacks {body}"
    assert request.model_fields_set or not action.Request.model_fields


@EACH
def test_an_unknown_field_is_refused_by_name(action: type[Action]) -> None:
    with pytest.raises(pydantic.ValidationError, match="surprise"):
        action.Request.model_validate({**example_of(action), "surprise": 1})


@EACH
def test_arguments_are_frozen_plain_data(action: type[Action]) -> None:
    assert issubclass(action.Args, Args)
    assert action.Args.__struct_config__.frozen
    schema = msgspec.json.schema(action.Args)
    assert schema, "every field has a JSON form"


@EACH
def test_every_request_field_is_described_or_plain(action: type[Action]) -> None:
    assert action.Request.model_json_schema()["additionalProperties"] is False


@pytest.fixture(scope="module")
def events() -> dict[str, Event]:
    """One event of each action, from random histories."""
    found: dict[str, Event] = {}
    seed = 0
    while len(found) < len(ACTIONS):
        found |= {event.action: event for event in History(Mesh()).play(random_steps(seed, 120)).mesh.events}
        seed += 1
        assert seed < 100
    return found


@EACH
def test_what_follows_from_an_event_is_pure_and_well_formed(action: type[Action], events: dict[str, Event]) -> None:
    event = events[action.name]
    effects = list(action.effects(event))
    assert effects == list(action.effects(event))
    for effect in effects:
        table = ALL_TABLES[effect.table]
        assert len(effect.key) == len(table.key)
        assert effect.columns.keys() <= table.columns.keys()
        assert effect.columns, "a row appears by one of its columns"
        lww = {name for name in effect.columns if table.columns[name].law == "lww"}
        assert effect.basis.keys() == lww, "every lww write names its basis"
    audience = action.audience(event)
    assert isinstance(audience, Audience)
    if action.name in OPERATORS or (action.name == "token.refresh" and not event.args.reused):
        assert audience == Audience()
        assert not action.touches(event)
        return
    assert audience.users or audience.channel
    assert not (audience.conversation and audience.channel)
    touches = action.touches(event)
    assert touches
    assert all(isinstance(touch, Touch) for touch in touches)
    kinds = {touch.type for touch in touches}
    assert kinds <= UPDATES
    registers = {effect.table for effect in effects} & {"member_adds", "member_left", "member_kicked"}
    assert not registers or "member" in kinds, "clients load the dialog anew at a membership event"
    msgspec.json.encode(action.result(event))


def test_a_request_says_kind_or_for_whom_where_two_actions_share_a_path() -> None:
    for name in ("group.create", "supergroup.create"):
        field = ACTIONS[name].Request.model_fields["kind"]
        assert field.is_required()
        assert get_args(field.annotation) == (name.split(".")[0],)
