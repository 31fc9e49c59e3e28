"""Conflicts and explained events as text."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from cli.tables import table

Answer = dict[str, Any]
_VALUE_CHARS_MAX = 40
"""Of a value in a table; `show` has it whole."""


def at(ms: int) -> str:
    """A time, UTC, as exactly as an id has it."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-4]


def value(any: Any) -> str:
    """Text in quotes, everything else as JSON: an empty one is seen, and no control character gets to a terminal."""
    return json.dumps(any, ensure_ascii=False)


def _short(any: Any) -> str:
    text = value(any)
    return text if len(text) <= _VALUE_CHARS_MAX else text[: _VALUE_CHARS_MAX - 1] + "…"


def _written(one: Answer) -> str:
    by = f" by {one['actor']} ({one['action']})" if one.get("actor") else ""
    return f"{value(one['value'])}, written in {one['dc']} at {at(one['time_ms'])} UTC{by}, event {one['id']}"


# -- conflicts


def listed(answer: Answer) -> list[str]:
    """The table of conflicts."""
    if not answer["conflicts"]:
        return ["no conflict: nothing that was written is lost"]
    rows = [
        (one["event"], at(one["lost"]["time_ms"]), one["field"], " ".join(map(str, one["of"])),
         one["lost"]["dc"], _short(one["lost"]["value"]), one["kept"]["dc"], _short(one["kept"]["value"]))
        for one in answer["conflicts"]
    ]  # fmt: skip
    more = [f"more: --before {answer['more']}"] if answer["more"] else []
    return [*table(("event", "written (UTC)", "field", "of", "in", "lost", "in", "kept"), rows), *more]


def shown(answer: Answer) -> list[str]:
    """Each field in which an event lost."""
    return [line for one in answer["conflicts"] for line in _conflict(one)]


def _conflict(one: Answer) -> Iterator[str]:
    yield f"{one['field']} of {' '.join(map(str, one['of']))}"
    yield f"  lost  {_written(one['lost'])}"
    yield f"  kept  {_written(one['kept'])}"
    yield f"  rule  {one['rule']}"


def undone(answer: Answer) -> list[str]:
    """What an undo did, or would do."""
    by = answer.get("by", {})
    if "why" in answer:
        return [f"nothing to undo: {answer['why']} ({answer['field']}, event {by['id']} of {by['dc']})"]
    head = "would write" if answer["dry_run"] else "wrote"
    lines = [
        f"{head} {value(answer['lost']['value'])} to {answer['field']} of {' '.join(map(str, answer['of']))} again"
    ]
    lines += [f"  lost      {_written(answer['lost'])}", f"  replaces  {_written(answer['kept'])}"]
    return lines if answer["dry_run"] else [*lines, f"  as event {by['id']} of {by['dc']}: planb explain {by['id']}"]


# -- one event


def explained(answer: Answer) -> list[str]:
    """Its origin, what it did, where it stands; then what is not known."""
    event = answer["event"]
    kind = f"{event['action']} by {event['actor']}" if event else "not an event that is known"
    lines = [
        f"{answer['id']}: {kind}",
        f"  written {at(answer['time_ms'])} UTC in {answer['dc']}, process {answer['process']},"
        f" lane {answer['lane']}" + (f" seq {event['seq']}" if event else ""),
    ]
    if event:
        lines += [f"  {name} = {value(one)}" for name, one in event["args"].items()]
        lines += [
            f"  follows {cause['of']}: event {cause['id']} of {cause['dc']}, {at(cause['time_ms'])}"
            for cause in event["causes"]
        ]
    lines += ["", *table(("datacenter", "state", ""), (_state(*item) for item in answer["datacenters"].items()))]
    lines += _outcomes(answer)
    return [*lines, *(f"  ✗ {line}" for line in answer["not_known"])]


_STATES = {
    "held": "in its log, not applied yet",
    "ahead": "has not got so far",
    "nothing": "no such event",
    "unreadable": "can not be read any more",
}


def _state(name: str, one: Answer) -> tuple[str, str, str]:
    if "error" in one:
        return name, "not reached", one["error"]
    agreed = one.get("agreed_to_drop")
    drop = f"agreed to drop it: {', '.join(agreed)}" if agreed else ""
    if one["state"] == "parked":
        return name, "parked", " ".join(filter(None, (one["reason"], drop)))
    if one["state"] == "applied":
        return name, "applied", _when(one)
    return name, one["state"], _STATES.get(one["state"], drop)


def _when(one: Answer) -> str:
    after, by = one["applied_after_ms"], one["applied_by_ms"]
    if by is None:
        return "at a time that is not kept"
    if after is None:
        return f"before {at(by)} UTC, when its process began"
    return f"{at(by)} UTC" if by - after < 1_000 else f"between {at(after)} and {at(by)} UTC"


def _outcomes(answer: Answer) -> Iterator[str]:
    """What it won or lost against, as those say that applied it. Where all say the same, once."""
    told: dict[str, list[str]] = {}
    for name, one in answer["datacenters"].items():
        if one.get("state") == "applied":
            told.setdefault("\n".join(_outcome(one)), []).append(name)
    for text, names in told.items():
        if text:
            yield from ("", f"as {', '.join(names)} see{'s' if len(names) == 1 else ''} it:", *text.split("\n"))


def _outcome(one: Answer) -> Iterator[str]:
    for field in one.get("fields", ()):
        where = f"  {field['table']}.{field['column']} of {' '.join(map(str, field['key']))}"
        match field["state"]:
            case "secret":
                yield f"{where}: a secret"
                continue
            case "forgotten":
                yield f"{where}: forgotten"
                continue
            case "shown":
                yield f"{where}: {value(field['value'])} is the present value"
            case "equal":
                yield f"{where}: the present value is the same, of event {field['winner']}"
            case "lost":
                yield f"{where}: LOST; the present value is {value(field['winner_value'])}, of event {field['winner']}"
            case "replaced":
                yield f"{where}: replaced, knowingly; now {value(field['winner_value'])}, of {field['winner']}"
        yield from (f"    won against {value(rival['value'])}, event {rival['id']}" for rival in field["won_against"])
        yield from (f"    lost against {value(rival['value'])}, event {rival['id']}" for rival in field["lost_against"])
    yield from (f"  {verdict['of']}: {verdict['says']}" for verdict in one.get("verdicts", ()))
    for message in one.get("messages", ()):
        yield f"  message {message['message']}: {message['shown']}"
        yield from (f"    a copy of it: {copy}" for copy in message["copies"])
        yield from (f"    {row['kind']} by {row['actor']}, event {row['id']}" for row in message["events"])
