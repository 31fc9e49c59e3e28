"""What a batch of events does to each store, worked out before the first write. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from core.action import Action, Audience, Touch
from core.event import Event
from core.messages import Row
from core.tables import MESSAGE_ROWS, TABLES, Effect, Law, canonical
from events.record import Entry
from stores.ports import Change, Recent, Result, Stamped


class Planned(msgspec.Struct, frozen=True, gc=False):
    """One event with everything that follows from it."""

    entry: Entry
    event: Event
    effects: tuple[Effect, ...]
    rows: tuple[Row, ...]
    audience: Audience
    touches: tuple[Touch, ...]
    result: Result | None


def plan(entry: Entry, event: Event, action: type[Action]) -> Planned:
    """Raises whatever the action raises: the caller parks the event."""
    effects: list[Effect] = []
    rows: list[Row] = []
    for effect in action.effects(event):
        if effect.table == MESSAGE_ROWS:
            columns = effect.columns
            rows.append(
                Row(
                    int(effect.key[0]),
                    columns["conversation"],
                    columns["message"],
                    columns["kind"],
                    columns["actor"],
                    columns["class_"],
                    columns["body"],
                )
            )
        else:
            effects.append(effect)
    result = None
    if event.key:
        answer = {"id": str(event.id), **action.result(event)}
        result = Result(event.actor, event.key, event.id, event.action, event.fingerprint, answer)
    return Planned(
        entry,
        event,
        tuple(effects),
        tuple(rows),
        action.audience(event),
        action.touches(event),
        result,
    )


def stamped(planned: Iterable[Planned]) -> list[Stamped]:
    return [Stamped(item.event.id, effect) for item in planned for effect in item.effects]


def relational_results(planned: Iterable[Planned]) -> list[Result]:
    """The results that message rows do not already carry (a send row holds sender, key and fingerprint)."""
    return [item.result for item in planned if item.result is not None and item.event.action != "message.send"]


_LWW = {
    name: frozenset(column for column, kind in table.columns.items() if kind.law is Law.LWW)
    for name, table in TABLES.items()
}


def changes(effects: Iterable[Stamped]) -> list[Change]:
    """The lww columns among the effects, for the CRDT metadata."""
    found = []
    for stamp, effect in effects:
        columns = _LWW[effect.table]
        for column in effect.columns if columns else ():
            if column in columns:
                found.append(Change(effect.table, canonical(list(effect.key)).decode(), column, stamp))
    return found


class HotChanges(NamedTuple):
    """The parts of a HotBatch that follow from effects alone."""

    tops: list[tuple[str, str, int]]
    channel_tops: list[tuple[str, int]]
    recents: list[Recent]
    recalls: list[tuple[str, int]]
    hides: list[tuple[str, str, int]]
    marks: list[tuple[str, str, int, int]]
    results: list[Result]


def hot_changes(planned: Sequence[Planned]) -> HotChanges:
    found = HotChanges([], [], [], [], [], [], [])
    for item in planned:
        if item.result is not None:
            found.results.append(item.result)
        for row in item.rows:
            _of_row(found, row)
        for effect in item.effects:
            _of_effect(found, item.event.id, effect)
    return found


def _of_row(found: HotChanges, row: Row) -> None:
    if row.kind == "recall":
        found.recalls.append((row.conversation, row.message))
    if row.kind != "send":
        return
    counts = not row.body.get("system", False)
    found.recents.append(Recent(row.conversation, row.message, row.actor, row.class_, counts))
    if row.conversation.startswith("C"):
        found.channel_tops.append((row.conversation, row.message))


def _of_effect(found: HotChanges, stamp: int, effect: Effect) -> None:
    table, key = effect.table, effect.key
    if table == "member_adds":
        # The dialog of a group appears with the membership; a supergroup's by its own top.
        chat = str(key[0])
        if chat.startswith("C"):
            found.channel_tops.append((chat, stamp))
        else:
            found.tops.append((str(key[1]), chat, stamp))
    elif table in ("read_marks", "clear_marks"):  # what is cleared is not unread either
        found.marks.append((str(key[0]), str(key[1]), int(key[2]), effect.columns["mark"]))
    elif table == "hidden":
        found.hides.append((str(key[0]), effect.columns["conversation"], int(key[1])))
