"""Bugs planted in the Lua functions and in the SQL, each of which a history on real engines has to notice.

Each is a change to the text that the server or SQLite is given, made for one run; a text that is no longer there fails
loudly. `python -m tests.simulation.real_engines --plant all`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import events.adapters.valkey as valkey_log
import stores.adapters.hot_library as hot_library
import stores.adapters.sql_statements as sql
import stores.adapters.sqlite_message_sql as message_sql
from tests.simulation.plan import Plan, plan_of

Edit = Callable[[str], str]


class PlantingError(Exception):
    """The text is not there any more: production has changed, and the bug is to be planted anew."""


@dataclass(frozen=True)
class EngineBug:
    """`where`: "hot" or "log" (the Lua libraries), "upsert", or what the names of statements of sqlite_message_sql
    begin with."""

    name: str
    where: str
    old: str
    new: str
    seeds: int = 12
    """How many histories it may take."""
    changes: dict[str, Any] = field(default_factory=dict)

    def plan(self, seed: str) -> Plan:
        return plan_of(seed).smaller(**self.changes)


RESTLESS: dict[str, Any] = {"restless": 0.2, "acts": 80}
"""People who change regions all the time: the same thing is written in two of them."""

BUGS = (
    EngineBug(
        "hot: what was written is written again",
        "hot",
        "~= moves[i + 1] then return true",
        "== '' then return true",
    ),
    EngineBug("hot: the first mark stays", "hot", "if not old or old < id then", "if not old then"),
    EngineBug("hot: the last message is the top", "hot", "place.top > top then", "place.top ~= top then"),
    EngineBug(
        "hot: of what is trimmed the first id is remembered",
        "hot",
        "if id > (greatest[lane] or ZERO) then",
        "if not greatest[lane] then",
        changes={"updates_kept": 5},
    ),
    EngineBug(
        "hot: a recall counts as unread", "hot", "keep_newest(key(flat[i], 'x')", "keep_newest(key(flat[i], 'y')"
    ),
    EngineBug(
        "hot: the later of two results is kept",
        "hot",
        "sub(value, 1, 19) < sub(old, 1, 19)",
        "sub(value, 1, 19) > sub(old, 1, 19)",
        changes=RESTLESS,
    ),
    EngineBug("log: an end stays where it was", "log", "redis.call('HSET', tops, lane, top)\n", "do end\n"),
    EngineBug("log: a repetition is written again", "log", "math.max(first, have + 1)", "first"),
    EngineBug("SQL: the older stamp wins", "upsert", "_at > ", "_at < "),
    EngineBug("SQL: the later arrival wins", "upsert", "_at > ", "_at <> "),
    EngineBug("SQL: the first value stays", "upsert", "IS NULL OR ", "IS NULL AND "),
    EngineBug(
        "SQL: the greatest id of a class is its message",
        "MESSAGES",
        "other.event < this.event",
        "other.event > this.event",
        changes=RESTLESS,
    ),
    EngineBug(
        "SQL: copies are not found",
        "ABOUT",
        "ON rows.class_ = class.id",
        "ON rows.event = class.id",
        changes=RESTLESS,
    ),
    EngineBug("SQL: what is about a message is found for sends alone", "ABOUT", "kind <> 'send'", "kind = 'none'"),
)
BY_NAME = {bug.name: bug for bug in BUGS}


@contextmanager
def planted(bug: EngineBug) -> Iterator[None]:
    """Engines with this bug in them."""
    seen: list[bool] = []

    def edited(text: str) -> str:
        if bug.old in text:
            seen.append(True)
        return text.replace(bug.old, bug.new)

    with _patched(bug.where, edited):
        yield
    if not seen:
        raise PlantingError(f"{bug.name}: there is no {bug.old!r} any more")


@contextmanager
def _patched(where: str, edited: Edit) -> Iterator[None]:
    if where == "hot":
        source = hot_library.source()
        with patch.object(hot_library, "source", lambda: edited(source)):
            yield
    elif where == "log":
        text = valkey_log._source()
        with patch.object(valkey_log, "_source", lambda: edited(text)):
            yield
    elif where == "upsert":
        upsert = sql.upsert
        with patch.object(sql, "upsert", lambda *of: edited(upsert(*of))):
            yield
    else:
        with ExitStack() as stack:
            for name, text in statements(where).items():
                changed = edited(text) if isinstance(text, str) else {way: edited(one) for way, one in text.items()}
                stack.enter_context(patch.object(message_sql, name, changed))
            yield


def statements(begin: str) -> dict[str, str | dict[bool, str]]:
    """Those with such names; one for each direction, where it has two."""
    return {name: text for name, text in vars(message_sql).items() if name.startswith(begin)}
