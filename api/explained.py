"""What this datacenter knows of one event: where it stands, when it was applied here, what it won or lost against.

Secrets are not shown: whatever an event writes into a column that is not listed (core.tables.Column) is taken out of
its arguments, wherever it stands in them.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from core import ids, verdicts
from core.action import Action
from core.contacts import Asking
from core.drops import dropped
from core.event import Event
from core.messages import Row, fold
from core.rivalry import Standing, standing_of
from core.tables import MESSAGE_ROWS, TABLES, Effect, Law
from events.record import KIND_OPEN, Record
from replicator.names import DcNames
from stores.apply import Applier
from stores.ports import RelationalStore
from stores.progress import NOWHERE
from stores.view import StoreView

HIDDEN = "(hidden)"
_SECRETS = frozenset({"password", "token", "secret"})
"""Arguments that are hidden by their names, whatever they are written to."""
_EXACT_MAX = 1 << 53
"""Whole numbers beyond it are ids, and travel as digits: JSON has no more exact ones."""
_RIVALS_SHOWN_MAX = 20


class Explainer:
    """One per process that applies."""

    def __init__(
        self,
        names: DcNames,
        applier: Applier,
        relational: RelationalStore,
        view: StoreView,
        actions: Mapping[str, type[Action]],
    ) -> None:
        self._names = names
        self._applier = applier
        self._relational = relational
        self._view = view
        self._actions = actions

    async def explain(self, id: int) -> dict[str, Any]:
        """JSON-able. `state`: "applied", "parked", "dropped", "held" (not applied yet), "opened" (it is no event: a
        process began to write the lane), or that of `stores.event_finder.Found` where there is no record of it."""
        found = await self._applier.finder.find(id)
        known: dict[str, Any] = {
            "id": str(id),
            "lane": self._names.lane(ids.lane_of(id)),
            "lane_end": {"seq": found.end.seq, "id": str(found.end.id)},
            "state": found.state,
        }
        if found.record is None:
            return known
        return known | await self._of_record(found.record)

    async def _of_record(self, record: Record) -> dict[str, Any]:
        event, problem = self._applier.finder.event_of(record)
        moment = self._applier.timeline.of(record.lane, record.seq)
        state, told = await self._state(record)
        known: dict[str, Any] = {
            "seq": record.seq,
            "state": state,
            "applied_after_ms": moment.after_ms if state == "applied" else None,
            "applied_by_ms": moment.by_ms if state == "applied" else None,
            **told,
        }
        if event is None:
            return known | ({"problem": problem} if problem else {})
        effects = list(self._actions[event.action].effects(event))
        known["event"] = shown(event, effects)
        if state == "applied":
            known["fields"] = [field async for field in self._fields(event, effects)]
            known["verdicts"] = [one async for one in self._verdicts(event, effects)]
            known["messages"] = [one async for one in self._messages(event, effects)]
        return known

    async def _state(self, record: Record) -> tuple[str, dict[str, Any]]:
        place = {"lane": record.lane, "seq": record.seq}
        progress = self._applier.progress
        if progress.applied.get(record.lane, NOWHERE).seq < record.seq:
            return "held", {}
        rows = await self._relational.rows("drops", place)
        agreed = {"agreed_to_drop": [self._names.name(row["dc"]) for row in rows if row["agreed"]]} if rows else {}
        if dropped(rows):
            return "dropped", agreed
        if progress.is_parked(record.lane, record.seq):
            parked = await self._relational.parked()
            reasons = [one.reason for one in parked if (one.lane, one.seq) == (record.lane, record.seq)]
            return "parked", agreed | {"reason": "".join(reasons)}
        return "opened" if record.kind == KIND_OPEN else "applied", agreed

    async def _fields(self, event: Event, effects: Iterable[Effect]) -> AsyncIterator[dict[str, Any]]:
        """How what it wrote to lww columns stands now."""
        for effect in effects:
            table = TABLES.get(effect.table)
            for name in effect.columns if table is not None and "lane" not in table.key else ():
                column = table.columns[name] if table is not None else None
                if column is None or column.law is not Law.LWW:
                    continue
                place = {"table": effect.table, "key": list(effect.key), "column": name}
                if not column.listed:
                    yield place | {"state": "secret"}
                    continue
                writes = await self._view.writes_of(effect.table, effect.key, name)
                standing = standing_of(writes, event.id)
                yield place | (_standing(standing) if standing else {"state": "forgotten"})

    async def _verdicts(self, event: Event, effects: Iterable[Effect]) -> AsyncIterator[dict[str, str]]:
        """What it came to where several events decide together: members, contacts, handles."""
        told: set[tuple[str, ...]] = set()
        for effect in effects:
            says = await self._verdict(event, effect)
            of = tuple(str(part) for part in effect.key[:2]) if effect.table != "handles" else (str(effect.key[0]),)
            if says and (effect.table, *of) not in told:
                told.add((effect.table, *of))
                yield {"of": " ".join(of), "table": effect.table, "says": says}

    async def _verdict(self, event: Event, effect: Effect) -> str:
        """Empty for what is told otherwise."""
        key, lane = effect.key, ids.lane_of(event.id)
        first, second = str(key[0]), str(key[1]) if len(key) > 1 else ""
        if effect.table == "handles":
            return verdicts.of_handle(await self._view.handle(first), first, event.id)
        if effect.table == "contacts":
            mine, his = await self._asking(first, second), await self._asking(second, first)
            if "asked" in effect.columns:
                return verdicts.of_request(mine, his, first, second, lane, event.id)
            return verdicts.of_deletion(mine, first, second)
        if effect.table == "member_adds":
            return verdicts.of_add(await self._view.membership(first, second), first, second, lane, event.id)
        if effect.table == "member_kicked":
            return verdicts.of_kick(await self._view.membership(first, second), first, second, lane, event.id)
        if effect.table == "members" and "left_at" in effect.columns:
            return verdicts.of_leave(await self._view.membership(first, second), first, second)
        return ""

    async def _asking(self, user: str, peer: str) -> Asking:
        """One way, with what has ended."""
        rows = await self._relational.rows("contacts", {"user": user, "peer": peer})
        return Asking(
            {row["lane"]: row["asked"] for row in rows if row["asked"]},
            {row["lane"]: row["ended"] for row in rows if row["ended"]},
        )

    async def _messages(self, event: Event, effects: Iterable[Effect]) -> AsyncIterator[dict[str, Any]]:
        """What became of the messages that it is about."""
        for id in sorted({effect.columns["message"] for effect in effects if effect.table == MESSAGE_ROWS}):
            rows = await self._view.rows_about([id])
            message = fold(rows)
            yield {
                "message": str(id),
                "canonical": str(message.id) if message else None,
                "copies": [str(other) for other in message.ids if other != message.id] if message else [],
                "shown": _outcome(event.id, rows),
                "events": [{"id": str(row.event), "kind": row.kind, "actor": row.actor} for row in _newest(rows)],
            }


def plain_args(args: Any, secrets: Iterable[str] = ()) -> dict[str, Any]:
    """The arguments of an event as JSON has them: ids as digits, without these texts."""
    found = msgspec.to_builtins(args, str_keys=True)
    return {name: HIDDEN if name in _SECRETS else _plain(value, set(secrets)) for name, value in found.items()}


def _newest(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.event)[-_RIVALS_SHOWN_MAX:]


def _outcome(id: int, rows: list[Row]) -> str:
    """What of this event is seen in the message: the rule of core.messages.fold, in words."""
    mine = next((row for row in rows if row.event == id), None)
    recalls = sorted(row.event for row in rows if row.kind == "recall")
    sends = sorted(row.event for row in rows if row.kind == "send")
    edits = sorted(row.event for row in rows if row.kind == "edit")
    if mine is None:
        return "unknown"
    if not sends:
        return "waits for its message"
    if mine.kind == "recall":
        return "recalled"
    if recalls:
        return f"lost: recalled by {recalls[0]}; a recall beats everything"
    if mine.kind == "send":
        if id != sends[0]:
            return f"a copy of {sends[0]}: one request under one key is one message"
        return f"its text was changed by {edits[-1]}" if edits else "shown"
    if mine.kind == "edit":
        return "shown" if id == edits[-1] else f"lost: {edits[-1]} is a later revision"
    same = [row.event for row in rows if row.kind == "react" and _vote(row) == _vote(mine)]
    return "shown" if id == max(same) else f"lost: {max(same)} is later, of the same user and emoji"


def _vote(row: Row) -> tuple[str, str]:
    return row.actor, str(row.body.get("emoji", ""))


def _standing(found: Standing) -> dict[str, Any]:
    return {
        "state": found.state,
        "value": found.write.value,
        "basis": str(found.write.basis),
        "winner": str(found.winner.stamp),
        "winner_value": found.winner.value,
        "won_against": [_write(one) for one in found.won_against[-_RIVALS_SHOWN_MAX:]],
        "lost_against": [_write(one) for one in found.lost_against[-_RIVALS_SHOWN_MAX:]],
    }


def _write(one: Any) -> dict[str, Any]:
    return {"id": str(one.stamp), "value": one.value}


# -- an event, for people


def shown(event: Event, effects: Iterable[Effect]) -> dict[str, Any]:
    """Without its secrets; ids as digits, `causes`: the events that its arguments name."""
    args = msgspec.to_builtins(event.args, str_keys=True)
    return {
        "action": event.action,
        "version": event.version,
        "actor": event.actor,
        "key": event.key,
        "args": plain_args(event.args, set(_secrets(effects)) - _names(event, effects)),
        "causes": [
            {"of": path, "id": str(id)}
            for name, value in args.items()
            if name not in ("knew", "seen")  # all that its origin had applied: no cause, but a frontier
            for path, id in _causes(name, value, event.id)
        ],
    }


def _secrets(effects: Iterable[Effect]) -> Iterator[str]:
    for effect in effects:
        columns = TABLES[effect.table].columns if effect.table in TABLES else {}
        for name, value in effect.columns.items():
            if name in columns and not columns[name].listed:
                yield from _texts(value)


def _names(event: Event, effects: Iterable[Effect]) -> set[str]:
    """What rows are named by: no secret, though it may stand beside one."""
    return {event.actor, *(part for effect in effects for part in effect.key if isinstance(part, str))}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)


def _plain(value: Any, secrets: set[str]) -> Any:
    if isinstance(value, str):
        return HIDDEN if value in secrets else value
    if isinstance(value, bytes):
        return HIDDEN
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _EXACT_MAX:
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): HIDDEN if name in _SECRETS else _plain(one, secrets) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, secrets) for one in value]
    return value


def _causes(path: str, value: Any, id: int) -> Iterator[tuple[str, int]]:
    """Ids among the arguments, which are those of earlier events."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _causes(f"{path}.{name}", one, id)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _causes(path, one, id)
    elif isinstance(value, int) and _EXACT_MAX <= value < id:
        yield path, value
