"""Writing a value again that lost against one which did not know it. What lost is in core/rivalry.py."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from pydantic import Field

from core import action
from core.action import Audience, Origin, Route, Touch, View
from core.actions.conversations import audience_of, live_chat, owner_in_force, reach_of, require_users, standing
from core.actions.fields import MessageId
from core.errors import Conflict, Forbidden, NotFound
from core.event import Event
from core.rivalry import standing_of
from core.tables import TABLES, Effect, Kind, Law, canonical

UNDONE = {
    ("users", "name"): "user",
    ("users", "avatar"): "user",
    ("users", "about"): "user",
    ("users", "dnd"): "dnd",
    ("chats", "title"): "chat",
    ("chats", "about"): "chat",
    ("chats", "avatar"): "chat",
    ("chats", "owner"): "chat",
    ("chats", "entry"): "chat",
    ("members", "role"): "member",
    ("dialogs", "pin"): "dialog",
    ("dialogs", "muted_until_ms"): "dialog",
    ("dialogs", "unread"): "dialog",
    ("drafts", "draft"): "dialog",
    ("blocks", "blocked"): "block",
}
"""(table, column) -> what its user, or the chat's members, are to look at again."""

KEPT: Mapping[tuple[str, str], str] = {
    ("chat_bans", "banned"): "a ban also removes from the chat; the chat's admins ban again",
    ("users", "password"): "passwords are secrets: what lost is not kept",
    ("devices", "push"): "push tokens are secrets: what lost is not kept",
    ("devices", "home"): "it belongs to the push token that came with it; the device registers again by itself",
    ("scheduled", "home"): "it says who sends; whoever it was has sent, or will",
    ("scheduled", "failure"): "it says why a message was given up; both were refusals",
    ("push_tokens", "owner"): "it belongs to the device that registered the token",
}
"""What is not written again, and why."""


class UndoArgs(action.Args, frozen=True, kw_only=True):
    of: int
    """The event whose write lost."""
    table: str
    row: list[str]
    """The key."""
    column: str
    value: str
    """What lost, as canonical JSON."""
    basis: int
    """The event that it lost against, whose value is overwritten now."""
    to: tuple[str, ...] = ()
    knew: dict[int, int] = {}


class Undo(action.Action):
    name = "conflict.undo"
    summary = "Write a value again that lost against one which did not know it"
    consistency = (
        "A new write of the field that knows the one that had won (lww): every datacenter shows it, and neither of the "
        "two is a conflict any more. Only of what lost, as long as what it lost against is the present value: no later "
        "write is undone. In a chat, whoever wrote the value must still be allowed to. `planb conflicts undo` "
        "makes the key from both events, so undoing twice, or in two datacenters, is undoing once."
    )
    route = Route("POST", "/sys/v1/conflicts/undo", listener="sys")
    example = {
        "event": "1234567890123456789",
        "table": "users",
        "column": "name",
        "winner": "1234567890123456999",
    }
    errors = (Conflict, Forbidden, NotFound)
    Args = UndoArgs

    class Request(action.Request):
        event: MessageId
        """Whose write lost."""
        table: Annotated[str, Field(max_length=64)]
        column: Annotated[str, Field(max_length=64)]
        winner: MessageId
        """Against which, as the caller has seen it."""

    @staticmethod
    async def resolve(request: "Undo.Request", origin: Origin) -> UndoArgs:
        if origin.actor != "sys":
            raise Forbidden("only an operator may do this")
        place, lost = (request.table, request.column), int(request.event)
        if place not in UNDONE:
            why = KEPT.get(place, "there is no such field, or nothing of it is ever lost")
            raise Conflict(f"{request.table}.{request.column} can not be undone: {why}")
        event = await origin.view.event(lost)
        if event is None:
            raise NotFound(f"event {lost} is not applied here, or can not be read any more")
        row = _row(event, *place)
        found = standing_of(await origin.view.writes_of(request.table, row, request.column), lost)
        if found is None:
            raise NotFound(f"what {lost} wrote to {request.table}.{request.column} is forgotten")
        if found.state != "lost":
            raise Conflict(_NOT_LOST[found.state].format(winner=found.winner.stamp))
        if found.winner.stamp != int(request.winner):
            raise Conflict(f"the present value is another one meanwhile, of event {found.winner.stamp}: look again")
        args = UndoArgs(
            of=lost,
            table=request.table,
            row=row,
            column=request.column,
            value=canonical(found.write.value).decode(),
            basis=found.winner.stamp,
        )
        return await _allowed(origin.view, args, event.actor, found.write.value)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: UndoArgs = event.args
        value = msgspec.json.decode(args.value)
        return (Effect(args.table, tuple(args.row), {args.column: value}, {args.column: args.basis}),)

    @staticmethod
    def audience(event: Event) -> Audience:
        args: UndoArgs = event.args
        if _of_a_chat(args.table):
            return audience_of(args.row[0], args.to, args.knew)
        return Audience(users=(args.row[0],))

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        args: UndoArgs = event.args
        kind = UNDONE[args.table, args.column]
        ref = tuple(args.row[1:]) if kind == "dialog" else tuple(args.row)
        owner = msgspec.json.decode(args.value) if args.column == "owner" else ""
        return (Touch(kind, ref), *((Touch("member", (args.row[0], owner)),) if owner else ()))


_NOT_LOST = {
    "shown": "nothing to undo: it is the present value",
    "equal": "nothing to undo: the present value is the same, of event {winner}",
    "replaced": "it did not lose: event {winner} is later, and knew it",
}


def _of_a_chat(table: str) -> bool:
    return table in ("chats", "members")


def _row(event: Event, table: str, column: str) -> list[str]:
    """The key of the row in which the event wrote the column."""
    effects = action.registry()[event.action].effects(event)
    rows = [effect.key for effect in effects if effect.table == table and column in effect.columns]
    if len(rows) != 1:
        raise NotFound(f"event {event.id} ({event.action}) did not write {table}.{column}")
    return [str(part) for part in rows[0]]


async def _allowed(view: View, args: UndoArgs, author: str, value: Any) -> UndoArgs:
    """With the recipients, in a chat. Forbidden or Gone where whoever wrote the value could not do so now."""
    if not _of_a_chat(args.table):
        await require_users(view, args.row[:1])
        return args
    chat = await live_chat(view, args.row[0])
    own = args.column == "owner"
    if author != "sys" and await standing(view, chat, author) not in (("owner",) if own else ("owner", "admin")):
        raise Forbidden(f"{author}, who wrote it, may not do so any more")
    member = str(value) if own else args.row[-1]
    if args.table == "members" or own:
        if not (await view.membership(chat.chat, member)).present:
            raise Conflict(f"{member} is no member of {chat.chat} any more")
        if not own and await owner_in_force(view, chat) == member:
            raise Conflict(f"{member} owns {chat.chat}: the owner has no other role")
    reach = await reach_of(view, chat.chat)
    return msgspec.structs.replace(args, to=reach.to, knew=reach.knew)


def listed_columns() -> set[tuple[str, str]]:
    """Every lww column of rows that two datacenters may write."""
    return {
        (name, column)
        for name, table in TABLES.items()
        for column, shape in table.columns.items()
        if shape.law is Law.LWW and all(kind is Kind.TEXT for kind in table.key.values())
    }
