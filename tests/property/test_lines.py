"""Lines about a chat: each follows from one event alone, and stands beside what that event does."""

from typing import Any, get_args

import pytest

from core.action import registry
from core.actions.lines import Told
from core.tables import MESSAGE_ROWS, TABLES
from stores.view import folded
from tests.support.history import History, random_steps
from tests.support.mesh import ACTIONS, Mesh

TOLD = set(get_args(Told))
MEMBERSHIP = {"member_adds", "member_left", "member_kicked"}
assert TABLES.keys() >= MEMBERSHIP


@pytest.fixture(scope="module")
def meshes() -> list[Mesh]:
    found = [History(Mesh()).play(random_steps(seed, 120)).mesh for seed in range(12)]
    for mesh in found:
        mesh.settle()
    return found


def lines_of(event: Any) -> list[dict[str, Any]]:
    effects = registry()[event.action].effects(event)
    rows = [effect.columns for effect in effects if effect.table == MESSAGE_ROWS]
    return [row for row in rows if row["kind"] == "send" and row["body"].get("system")]


def test_only_actions_of_the_list_draw_a_line_and_one_each(meshes: list[Mesh]) -> None:
    for event in (event for mesh in meshes for event in mesh.events):
        lines = lines_of(event)
        assert len(lines) <= 1
        if lines:
            assert lines[0]["body"]["content"]["what"] == event.action
            assert event.action in TOLD


def test_who_comes_or_goes_is_told_of(meshes: list[Mesh]) -> None:
    """By one line, however many there are; but nobody is who was only banned."""
    for event in (event for mesh in meshes for event in mesh.events):
        effects = list(ACTIONS[event.action].effects(event))
        users = {effect.key[1] for effect in effects if effect.table in MEMBERSHIP}
        if not users or (event.action == "chat.ban" and not event.args.seen):
            assert not users or not lines_of(event)
            continue
        (line,) = lines_of(event)
        users -= {event.actor} if event.action.endswith(".create") else set()
        assert set(line["body"]["content"].get("users", ())) == users


def test_a_line_goes_to_whom_its_event_goes(meshes: list[Mesh]) -> None:
    """So that a rebuild, which has the row alone, finds who was fed it."""
    for event in (event for mesh in meshes for event in mesh.events):
        for line in lines_of(event):
            action = ACTIONS[event.action]
            audience = action.audience(event)
            (touch,) = (one for one in action.touches(event) if one.type == "message")
            assert touch.ref == (line["conversation"], event.id)
            assert touch.user == (audience.channel or "")
            assert set(line["body"]["to"]) == set(audience.users)
            assert line["body"].get("knew", {}) == {str(lane): id for lane, id in audience.knew.items()}


def test_nobody_edits_recalls_or_judges_one_and_each_is_there_once_everywhere(meshes: list[Mesh]) -> None:
    for mesh in meshes:
        shown = []
        for dc in mesh.dcs:
            rows = dc.state.message_rows()
            lines = [message for message in folded(rows) if message.system]
            assert all(line.text == "" and not (line.recalled or line.edited or line.reactions) for line in lines)
            shown.append([(line.id, line.content) for line in lines])
        keys = {(event.actor, event.key or event.id) for event in mesh.events if lines_of(event)}
        assert len(shown[0]) == len(keys)
        assert all(one == shown[0] for one in shown)


def test_a_retry_elsewhere_is_the_same_line() -> None:
    mesh = History(Mesh()).mesh
    request = {"kind": "group", "title": "twice", "users": ["Ub"]}
    first, second = (mesh.write(dc, "group.create", "Ua", request, key="once") for dc in (0, 1))
    mesh.settle()
    for dc in mesh.dcs:
        rows = [row for row in dc.state.message_rows() if row.conversation == first.args.chat]
        (message,) = folded(rows)
        assert message.ids == tuple(sorted((first.id, second.id)))
