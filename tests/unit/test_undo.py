"""`conflict.undo` writes again what lost, and nothing else."""

from typing import Any

import pytest

from core.action import Touch
from core.actions.undo import KEPT, UNDONE, listed_columns
from core.errors import Conflict, Forbidden, Gone, NotFound
from core.event import Event
from core.rivalry import Standing, standing_of
from tests.support.mesh import ACTIONS, run
from tests.support.rules import USERS, A, B, World


@pytest.fixture
def world() -> World:
    return World()


def apart(world: World, action: str, actor: str, left: dict[str, Any], right: dict[str, Any]) -> tuple[Event, Event]:
    """The same action in two DCs that do not know of each other; the left one loses."""
    lost = world.do(action, actor, dc=0, **left)
    kept = world.do(action, actor, dc=1, **right)
    world.settle()
    return lost, kept


def undo(world: World, lost: Event, kept: Event, table: str, column: str, dc: int = 0) -> Event:
    return world.do("conflict.undo", "sys", dc=dc, event=str(lost.id), table=table, column=column, winner=str(kept.id))


def standing(world: World, event: Event, table: str, key: tuple[str, ...], column: str, dc: int = 0) -> Standing:
    found = standing_of(run(world.dcs[dc].view.writes_of(table, key, column)), event.id)
    assert found is not None
    return found


def test_every_field_that_can_lose_is_undone_or_says_why_not() -> None:
    missing = listed_columns() - UNDONE.keys() - KEPT.keys()
    assert not missing, f"say in core/actions/undo.py how, or why not: {sorted(missing)}"
    assert not UNDONE.keys() & KEPT.keys()
    assert UNDONE.keys() | KEPT.keys() == listed_columns()


def test_what_lost_is_the_present_value_again_in_every_dc_and_no_conflict(world: World) -> None:
    lost, kept = apart(world, "user.update", A, {"name": "left"}, {"name": "right"})
    assert standing(world, lost, "users", (A,), "name").state == "lost"
    made = undo(world, lost, kept, "users", "name", dc=1)
    world.settle()
    for dc in range(2):
        (row,) = world.dcs[dc].state.rows("users", {"user": A})
        assert (row["name"], row["name_at"]) == ("left", made.id)
        assert standing(world, lost, "users", (A,), "name", dc).state == "equal"
        assert standing(world, kept, "users", (A,), "name", dc).state == "replaced"
    assert ACTIONS["conflict.undo"].audience(made).users == (A,)
    assert ACTIONS["conflict.undo"].touches(made) == (Touch("user", (A,)),)


def test_the_same_undo_in_two_dcs_at_once_leaves_one_value_and_no_conflict(world: World) -> None:
    lost, kept = apart(world, "user.update", A, {"name": "left"}, {"name": "right"})
    first, second = (undo(world, lost, kept, "users", "name", dc=dc) for dc in range(2))
    world.settle()
    assert [dc.state.rows("users", {"user": A})[0]["name"] for dc in world.dcs] == ["left", "left"]
    assert standing(world, first, "users", (A,), "name").state == "equal"
    assert standing(world, second, "users", (A,), "name").state == "shown"


@pytest.mark.parametrize("which", ["kept", "replaced", "undone"])
def test_what_did_not_lose_is_not_undone(world: World, which: str) -> None:
    lost, kept = apart(world, "user.update", A, {"name": "left"}, {"name": "right"})
    if which == "kept":
        world.refused(Conflict, "conflict.undo", "sys", **request(kept, kept))
    elif which == "replaced":
        later = world.do("user.update", A, name="knowingly")
        world.refused(Conflict, "conflict.undo", "sys", **request(kept, later))
    else:
        made = undo(world, lost, kept, "users", "name")
        world.refused(Conflict, "conflict.undo", "sys", **request(lost, made))


def request(event: Event, winner: Event, table: str = "users", column: str = "name") -> dict[str, str]:
    return {"event": str(event.id), "table": table, "column": column, "winner": str(winner.id)}


def test_a_later_write_is_not_undone_by_who_has_not_seen_it(world: World) -> None:
    lost, kept = apart(world, "user.update", A, {"name": "left"}, {"name": "right"})
    world.do("user.update", A, name="meanwhile")
    world.refused(Conflict, "conflict.undo", "sys", **request(lost, kept))


def test_secrets_unknown_fields_and_unknown_events_are_refused(world: World) -> None:
    lost, kept = apart(world, "user.update", A, {"name": "left"}, {"name": "right"})
    for table, column in (("users", "password"), ("devices", "home"), ("users", "shoe_size"), ("messages", "text")):
        world.refused(Conflict, "conflict.undo", "sys", **request(lost, kept, table, column))
    world.refused(NotFound, "conflict.undo", "sys", **request(lost, kept, "users", "about"))
    world.refused(NotFound, "conflict.undo", "sys", **(request(lost, kept) | {"event": "17"}))
    world.refused(Forbidden, "conflict.undo", A, **request(lost, kept))


def test_an_event_that_is_not_applied_here_is_not_undone_here(world: World) -> None:
    lost = world.do("user.update", A, dc=0, name="left")
    kept = world.do("user.update", A, dc=1, name="right")
    world.refused(NotFound, "conflict.undo", "sys", dc=1, **request(lost, kept))


def test_in_a_chat_whoever_wrote_it_must_still_be_allowed_to(world: World) -> None:
    world.do("member.role", A, chat=world.group, user=B, role="admin")
    world.settle()
    lost = world.do("group.update", B, dc=0, chat=world.group, title="of an admin")
    kept = world.do("group.update", A, dc=1, chat=world.group, title="of the owner")
    world.settle()
    made = undo(world, lost, kept, "chats", "title")
    assert set(made.args.to) == {A, B}
    again, other = apart(world, "group.update", B, dc_title(world, "x"), dc_title(world, "y"))
    world.do("member.role", A, chat=world.group, user=B, role="member")
    world.refused(Forbidden, "conflict.undo", "sys", **request(again, other, "chats", "title"))
    world.do("group.dissolve", A, chat=world.group)
    world.refused(Gone, "conflict.undo", "sys", **request(again, other, "chats", "title"))


def dc_title(world: World, title: str) -> dict[str, Any]:
    return {"chat": world.group, "title": title}


def test_the_role_of_who_left_is_not_undone(world: World) -> None:
    about = {"chat": world.group, "user": B}
    lost, kept = apart(world, "member.role", A, about | {"role": "admin"}, about | {"role": "member"})
    world.do("member.leave", B, chat=world.group)
    world.refused(Conflict, "conflict.undo", "sys", **request(lost, kept, "members", "role"))


def test_the_role_that_lost_holds_again(world: World) -> None:
    about = {"chat": world.group, "user": B}
    lost, kept = apart(world, "member.role", A, about | {"role": "admin"}, about | {"role": "member"})
    undo(world, lost, kept, "members", "role")
    world.settle()
    world.do("group.update", B, dc=1, chat=world.group, title="an admin may")


@pytest.mark.parametrize(
    ("action", "left", "right", "table", "column"),
    [
        ("dialog.pin", {"rank": "i"}, {"rank": None}, "dialogs", "pin"),
        ("dialog.mute", {"until_ms": 7}, {"until_ms": 9}, "dialogs", "muted_until_ms"),
        ("draft.set", {"text": "left"}, {"text": "right"}, "drafts", "draft"),
    ],
)
def test_settings_of_a_dialog_are_undone(
    world: World, action: str, left: dict[str, Any], right: dict[str, Any], table: str, column: str
) -> None:
    lost, kept = apart(world, action, A, {"peer": world.group, **left}, {"peer": world.group, **right})
    made = undo(world, lost, kept, table, column)
    world.settle()
    first, second = (dc.state.rows(table, {"user": A, "conversation": world.group}) for dc in world.dcs)
    assert first == second
    assert first[0][f"{column}_at"] == made.id
    assert ACTIONS["conflict.undo"].touches(made) == (Touch("dialog", (world.group,)),)


def test_a_block_that_lost_is_undone(world: World) -> None:
    other = USERS[2]
    world.do("block.set", A, user=other)
    world.settle()
    lost = world.do("block.clear", A, dc=0, user=other)
    kept = world.do("block.set", A, dc=1, user=other)
    world.settle()
    undo(world, lost, kept, "blocks", "blocked")
    assert run(world.dcs[0].view.blocks_of(A)) == {}
