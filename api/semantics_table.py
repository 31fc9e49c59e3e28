"""The page docs/semantics.md, made from the registry of actions. `python -m api.semantics_table` writes it.

What an event changes, whom it concerns and what it shows them is not written down a second time: each action is asked,
with a specimen event whose values are named after the fields that they stand in.
"""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from api import openapi
from api.operations import path_names
from core import ids
from core.action import Action, registry
from core.actions.undo import UNDONE
from core.errors import PlanBError
from core.event import Event
from core.tables import ALL_TABLES, MESSAGE_ROWS, TABLES, Kind, Law

_HEAD = """# What each write does

The write primitives ("actions"). This page is made from their classes in `core/actions/` by
`.venv/bin/python -m api.semantics_table`; the notes are also in `GET /openapi.json`, as `x-consistency`. Where they
differ from the first design, and what is not there yet:
[decisions/0007](decisions/0007-actions-and-the-first-design.md).

A write is decided once, in the datacenter that takes it (its *origin*): there it is validated, authorised and turned
into arguments that need no further decision. Everywhere else it is only merged. "Knew", "had seen" and "applied" below
mean: applied at the origin.

## Rules for all

- The **stamp** of a write is the id of its event. The greater one is the later one, in every datacenter.
- A write that was accepted is never thrown away because of a concurrent kick or dissolve: it was allowed where it was
  accepted.
- A limit over several rows (20 members of a group; reactions and revisions of a message) is checked at the origin. In
  one datacenter it holds, however many come at once. Two datacenters may overshoot together; the overshoot stays and
  blocks further adds. So may requests that come at once under different ids of one message that has copies: each id is
  a row of its own to wait in, so as many pass as it has ids.
- A lww write that lost against one which did not know it is listed as a conflict for 30 days, alike in every
  datacenter (`GET /sys/v1/conflicts`). Passwords are not listed.
- An `Idempotency-Key` with its request names one intention of one user, for ever. Its answer is kept for 24 h in every
  datacenter that has applied the event, or until the user has written 1,024 times more under keys; meanwhile
  another request under the key is refused there. In a datacenter that has not, or later, the same call makes a second
  event: two messages are then shown as one, two creations in two datacenters are one thing, and what is known to be
  made is not made again (`conflict`). Another request under the key is something else: nothing is folded into it.
- A former member still reads what was addressed to him, what he wrote, and what the origin of the leave or kick that
  ended his membership had applied. He sees all of it as it was then: no later edit, reaction, title, picture or member,
  nor how much is written since. Two things that happened later reach him: a recall takes away what he was shown, and a
  chat is shown as dissolved.
- What happens to a chat and who is in it is [a line in its history](client-protocol.md#lines-about-a-chat) too, under
  the id of the event that does it: one in every datacenter, whatever comes twice. It tells what was done, also where a
  concurrent write undoes that. A former member is shown those that his end knew.

## Laws of merging

Each column has one. All are commutative, associative and idempotent, so order and repetition do not matter.

| law | |
|---|---|
"""

_LAWS = {
    Law.LWW: "the greater stamp wins; the value is kept with its stamp",
    Law.MAX: "the greater value wins. With `lane` in the key this makes a vector: one value per lane",
    Law.MIN: "the smaller value wins",
    Law.ONCE: "set, and never unset",
    Law.INSERT: "written with the row and never changed",
}

_CONCERNS = """
## Whom it concerns

Who is concerned gets an update in his own list (`POST /v1/updates`, the websocket), in each datacenter when it applies
the event.

- **nobody**: it is between the operators of the datacenters, or the caller has it in the answer.
- **the caller**, and nobody else.
- **the user** that the write is about, and nobody else.
- **managers**: the owner and admins of a chat that the origin knew (50 of them at most), the caller, and the one that
  the write is about.
- **both users**: the caller and the one that the write is about.
- **recipients**: both users of a direct conversation. In a group the members that the origin knew, whoever was added,
  removed or has left with this event, and those members of whom the origin had not heard yet (once the datacenter has
  applied all that the origin knew). A supergroup has a list of its own instead, which its members read; there, too,
  whoever was added, removed or has left is told in his own list.

The `update` named with it tells a client what to look at; its shape is in [client-protocol.md](client-protocol.md).

## Errors that any write may meet

"""

_ID = 7 << ids.LANE_BITS


class _Specimen(NamedTuple):
    """What an action says of an event of its own."""

    changes: dict[str, list[str]]
    """table -> columns; of message rows, the kinds of rows that are added."""
    concerns: str
    updates: tuple[str, ...]


def page() -> str:
    """The whole page."""
    actions = registry()
    parts = [_HEAD, *(f"| `{law}` | {text} |\n" for law, text in _LAWS.items() if law in _laws_used())]
    parts += ["\n", *_tables(), _CONCERNS, _common(actions), *_overview(actions)]
    common = _codes_of_all_writes(actions)
    for action in actions.values():
        parts += _section(action, common)
    return "".join(parts)


def _laws_used() -> set[Law]:
    return {column.law for table in ALL_TABLES.values() for column in table.columns.values()}


def _tables() -> Iterator[str]:
    yield "| table | key | columns |\n|---|---|---|\n"
    for name, table in ALL_TABLES.items():
        columns = ", ".join(f"`{column}` {table.columns[column].law}" for column in table.columns)
        yield f"| `{name}` | {', '.join(f'`{part}`' for part in table.key)} | {columns} |\n"


def _common(actions: dict[str, type[Action]]) -> str:
    codes = sorted(_codes_of_all_writes(actions))
    return _paragraph(
        f"{', '.join(f'`{code}`' for code in codes)}. A client that has seen more than this datacenter has applied is "
        "answered `not_yet_here` where others are answered `not_found` or `forbidden`. All of them are explained in "
        "[errors.md](errors.md)."
    )


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n\n"


def _codes_of_all_writes(actions: dict[str, type[Action]]) -> set[str]:
    found: list[set[str]] = []
    single = [action for action in actions.values() if action.route.listener == "public"]
    for action in single:
        document = openapi.document([action], ())
        operation = document["paths"][action.route.path][action.route.method.lower()]
        found.append({code for answer in operation["responses"].values() for code in answer.get("x-codes", ())})
    return set.intersection(*found)


def _overview(actions: dict[str, type[Action]]) -> Iterator[str]:
    yield "## All actions\n\n| action | call | concerns | update | answered when durable |\n|---|---|---|---|---|\n"
    for name, action in actions.items():
        specimen = _specimen(action)
        yield (
            f"| [`{name}`](#{_anchor(name)}) | `{_call(action)}` | {specimen.concerns} | "
            f"{', '.join(f'`{update}`' for update in specimen.updates)} | {_DURABLE[action.durability]} |\n"
        )


_DURABLE = {"local": "here", "remote": "in another datacenter, if one is reachable"}


def _anchor(name: str) -> str:
    """As GitHub makes it of a heading."""
    return name.replace(".", "").lower()


def _call(action: type[Action]) -> str:
    query = [f"{name}={value}" for name, value in action.route.when if name in action.route.query]
    return f"{action.route.method} {action.route.path}" + (f"?{'&'.join(query)}" if query else "")


def _section(action: type[Action], common: set[str]) -> Iterator[str]:
    specimen = _specimen(action)
    body = [f'`"{name}": "{value}"`' for name, value in action.route.when if name not in action.route.query]
    where = ", on the internal listener" if action.route.listener == "sys" else ""
    yield f"\n### {action.name}\n\n"
    yield f"{action.summary}: `{_call(action)}`{' with ' + ', '.join(body) if body else ''}{where}.\n\n"
    yield _paragraph(action.consistency)
    for table, columns in specimen.changes.items():
        if table == MESSAGE_ROWS:
            yield f"- adds a row of kind `{columns[0]}` to `{table}` (insert)\n"
            continue
        laws = ", ".join(f"`{column}` ({ALL_TABLES[table].columns[column].law})" for column in columns)
        yield f"- changes `{table}`: {laws}\n"
    yield f"- in the log, version {action.version}: {_fields(action)}\n"
    codes = sorted({error.code for error in action.errors if issubclass(error, PlanBError)} - common)
    if codes:
        yield f"- may be refused with {', '.join(f'`{code}`' for code in codes)}\n"
    if action.needs_position:
        yield "- wants the client's `cursor` in its body\n"


def _fields(action: type[Action]) -> str:
    """What `Args` holds, in the order of the log, with MessagePack types."""
    hints = get_type_hints(action.Args)
    return ", ".join(f"`{name}` {_type(hints[name])}" for name in action.Args.__struct_fields__)


def _type(hint: Any) -> str:
    plain = {str: "text", int: "int", bool: "bool", Any: "any"}.get(hint)
    if plain is not None:
        return plain
    if get_origin(hint) in (tuple, list):
        return f"[{_type(get_args(hint)[0])}]"
    key, value = get_args(hint)
    return f"{{{_type(key)}: {_type(value)}}}"


# -- specimens


def _specimen(action: type[Action]) -> _Specimen:
    changes: dict[str, list[str]] = {}
    concerns: set[str] = set()
    updates: tuple[str, ...] = ()
    for event in _events(action):
        for effect in action.effects(event):
            columns = changes.setdefault(effect.table, [])
            named = [effect.columns["kind"]] if effect.table == MESSAGE_ROWS else effect.columns
            columns += [column for column in named if column not in columns]
        audience = action.audience(event)
        concerns.add(_whom(action, event, set(audience.users), audience.channel))
        updates = tuple(dict.fromkeys((*updates, *(touch.type for touch in action.touches(event)))))
    if "table" not in action.Args.__struct_fields__:
        assert len(concerns) == 1, f"{action.name} concerns different people by the kind of chat: {concerns}"
    return _Specimen(changes, " or ".join(sorted(concerns)), updates)


def _whom(action: type[Action], event: Event, users: set[str], channel: str | None) -> str:
    if channel or users & {"to", "users"}:
        return "recipients"
    if not users:
        return "nobody"
    if "managers" in users:
        return "managers"
    if users == {event.actor}:
        return "the caller"
    if users == {event.actor, "user"}:
        return "both users"
    assert users == {"user"}, f"{action.name} concerns {users}: say in words whom"
    return "the user"


def _events(action: type[Action]) -> Iterator[Event]:
    """One per kind of conversation that the action may be about."""
    hints = get_type_hints(action.Args)
    kinds = {"group": "G", "supergroup": "C"}
    prefixes = "DGC" if "conversation" in hints else "GC" if "chat" in hints else "-"
    prefixes = kinds.get(dict(action.route.when).get("kind", ""), prefixes)
    if "table" in hints and "column" in hints:
        yield from _events_of_any_field(action)
        return
    for prefix in prefixes:
        place = {"conversation": f"{prefix}1", "chat": f"{prefix}1"}
        values = {name: place.get(name, _value(action, name, hint)) for name, hint in hints.items()}
        yield Event(_ID, action.name, action.version, "caller", "key", bytes(8), action.Args(**values))


def _events_of_any_field(action: type[Action]) -> Iterator[Event]:
    """Of an action whose arguments name a table and a column: one for each that it may write."""
    for table, column in UNDONE:
        row = ["G1" if part == "chat" else part for part in TABLES[table].key]
        values = {"table": table, "row": row, "column": column, "value": '"x"', "to": ("to",), "knew": {}}
        args = action.Args(**values, of=_ID, basis=_ID)
        yield Event(_ID, action.name, action.version, "sys", "key", bytes(8), args)


def _value(action: type[Action], name: str, hint: Any) -> Any:
    """A value of this type, named after its field."""
    if hint is str:
        return name
    if hint is int:
        return _ID
    if hint is bool:
        return True
    if get_origin(hint) is tuple:
        return (name,)
    if get_origin(hint) is list:
        return []
    key, value = get_args(hint)
    if key is int:
        return {1: _ID}
    if get_origin(value) is dict:
        return {name: {1: _ID}}
    # Values of fields that a request names: a profile, a chat.
    return {field: field if value is str else 0 for field in _named(action)}


def _named(action: type[Action]) -> list[str]:
    columns = {
        name for table in ALL_TABLES.values() for name, column in table.columns.items() if column.kind is Kind.TEXT
    }
    return [name for name in action.Request.model_fields if name in columns - path_names(action.route.path)]


if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs" / "semantics.md").write_text(page())
