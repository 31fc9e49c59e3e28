"""Message rows in memory with their lookups: the memory adapter's state, and the unwritten rows of the others.

A message is the class of its copies; the copy with the smallest id is canonical. A page counts messages, so a copy
that is not canonical is not one of its entries; its rows come with the canonical one.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from core.errors import Undecodable
from core.ids import lane_of
from core.messages import Row
from core.tables import MESSAGE_TABLE, Cell, Kind, canonical, merge
from stores.adapters.cells import INT_MAX, plain
from stores.ports import Sent

Encoded = tuple[int, str, int, str, str, int, str]
"""A Row with its body as text."""


def checked(row: Row) -> Row:
    """The row, or Undecodable: what no adapter could store must not get into a queue that is retried for ever."""
    for value in (row.event, row.message, row.class_):
        if not 0 <= value <= INT_MAX:
            raise Undecodable(f"{value} is not an id")
    return row


def as_read(row: Row) -> Row:
    """The row as every adapter gives it back: its body once through JSON."""
    return replace(row, body=plain(Kind.JSON, row.body, "message_rows.body"))


def encoded(row: Row) -> Encoded:
    """The row as databases take it: its body as canonical JSON text. Undecodable for a body that is not JSON."""
    try:
        body = canonical(row.body).decode()
    except (TypeError, ValueError):  # e.g. a dict with keys that are no strings: still JSON, once through it
        body = canonical(as_read(row).body).decode()
    return row.event, row.conversation, row.message, row.kind, row.actor, row.class_, body


def decoded(values: Sequence[Any]) -> Row:
    """What `encoded` gave -> a Row."""
    event, conversation, message, kind, actor, class_, body = values
    return Row(event, conversation, message, kind, actor, class_, msgspec.json.decode(body))


def without_text(row: Row) -> Row:
    """What hot state needs of a row."""
    return replace(row, body={name: value for name, value in row.body.items() if name not in ("text", "content")})


def sent(row: Row) -> Sent:
    """Of a "send" row under a key."""
    return Sent(row.event, row.conversation, row.actor, row.body["key"], bytes.fromhex(row.body["fingerprint"]))


def merged(old: Row, new: Row) -> Row:
    """Two writes of one row by the insert law. They are equal, but for a fault somewhere."""
    values = {
        name: merge(column.law, Cell(getattr(old, name), 0), Cell(getattr(new, name), 0)).value
        for name, column in MESSAGE_TABLE.columns.items()
    }
    return Row(event=old.event, **values)


def shown(rows: Iterable[Row], known: Mapping[int, int] | None = None) -> list[Row]:
    """What `rows_of` gives of all rows about some messages, in their order: see stores/ports.py."""
    if known is not None:
        rows = [row for row in rows if row.kind in ("send", "recall") or row.event <= known.get(lane_of(row.event), 0)]
    else:
        rows = list(rows)
    newest: dict[int, int] = {}
    for row in rows:
        if row.kind == "edit":
            newest[row.message] = max(row.event, newest.get(row.message, 0))
    if not newest:
        return rows
    return [replace(row, body={}) if row.kind == "edit" and row.event < newest[row.message] else row for row in rows]


class MessageRows:
    """Grow-only. Every lookup costs what it returns, but for a sorted insert per message."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.about: dict[int, set[int]] = {}
        """message id -> events of its rows."""
        self.classes: dict[int, set[int]] = {}
        """class -> message ids."""
        self.sends: dict[str, list[int]] = {}
        """conversation -> message ids, ascending."""
        self.recalls: dict[str, list[tuple[int, int]]] = {}
        """conversation -> (recalled message id, event), ascending."""
        self.conversations: set[str] = set()
        """Those that any row is of."""

    def add(self, row: Row) -> None:
        """Again and in any order, to the same end."""
        old = self.rows.get(row.event)
        if old is not None:
            if old == row:
                return
            row = merged(as_read(old), as_read(row))
            self._remove(old)
        self.rows[row.event] = row
        self.conversations.add(row.conversation)
        self.about.setdefault(row.message, set()).add(row.event)
        if row.kind == "send":
            self.classes.setdefault(row.class_, set()).add(row.event)
            insort(self.sends.setdefault(row.conversation, []), row.event)
        elif row.kind == "recall":
            insort(self.recalls.setdefault(row.conversation, []), (row.message, row.event))

    def _remove(self, row: Row) -> None:
        del self.rows[row.event]
        self.about[row.message].discard(row.event)
        if row.kind == "send":
            self.classes[row.class_].discard(row.event)
            self.sends[row.conversation].remove(row.event)
        elif row.kind == "recall":
            self.recalls[row.conversation].remove((row.message, row.event))

    def messages(
        self, conversation: str, low: int, high: int, newest_first: bool, known: Mapping[int, int] | None = None
    ) -> Iterator[int]:
        """The canonical ids in [low, high]; with `known` those at or below known[their lane]."""
        sends = self.sends.get(conversation, [])
        begin, end = bisect_left(sends, low), bisect_left(sends, high + 1)
        for at in range(end - 1, begin - 1, -1) if newest_first else range(begin, end):
            id = sends[at]
            if known is not None and id > known.get(lane_of(id), 0):
                continue
            if min(self.classes[self.rows[id].class_]) == id:
                yield id

    def ids_of(self, messages: Iterable[int]) -> set[int]:
        """These ids, and the other ids of their classes."""
        found = set(messages)
        for message in tuple(found):
            send = self.rows.get(message)
            if send is not None and send.kind == "send":
                found |= self.classes[send.class_]
        return found

    def rows_of(self, messages: Iterable[int]) -> list[Row]:
        """All rows about these ids and about the other ids of their classes, ascending by event."""
        events = {event for message in self.ids_of(messages) for event in self.about.get(message, ())}
        return [self.rows[event] for event in sorted(events)]

    def recalls_between(self, conversation: str, low: int, high: int) -> list[Row]:
        """The recalls of messages with ids in [low, high], whether those are here or not."""
        recalls = self.recalls.get(conversation, [])
        begin, end = bisect_left(recalls, (low, 0)), bisect_left(recalls, (high + 1, 0))
        return [self.rows[event] for _, event in recalls[begin:end]]
