"""A page of the conflicts of this datacenter, the newest first: which are wanted, and how they are told."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from api.decoding import refused
from core import ids, limits

PARAMETERS = frozenset({"table", "of", "since_ms", "before", "limit"})


class Wanted(NamedTuple):
    """What was asked for. All that is not empty has to fit."""

    since: int
    """The smallest stamp."""
    before: int
    """Only smaller stamps: where the page before ended."""
    table: str
    of: str
    """An id that is part of the row's key: a user, a chat, a conversation."""
    limit: int

    def page(self, conflicts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """`more`: the `before` of the next page, null at the end. The conflicts of one event are never parted."""
        found = sorted(filter(self._fits, conflicts), key=lambda one: (-one["stamp"], one["table"], one["column"]))
        end = min(self.limit, len(found))
        while 0 < end < len(found) and found[end]["stamp"] == found[end - 1]["stamp"]:
            end += 1
        more = str(found[end - 1]["stamp"]) if end < len(found) else None
        return {"conflicts": [_digits(one) for one in found[:end]], "more": more}

    def _fits(self, one: Mapping[str, Any]) -> bool:
        return (
            one["stamp"] < self.before and self.table in ("", one["table"]) and (not self.of or self.of in one["key"])
        )


def wanted_of(query: Mapping[str, str], oldest: int) -> Wanted:
    """Of the query parameters; Invalid names the one that is wrong. `oldest`: nothing before it is listed."""
    since_ms = _number(query, "since_ms", 0, 0, (1 << 53) - 1)
    limit = _number(query, "limit", limits.PAGE_MAX, 1, limits.PAGE_MAX)
    before = id_of(query["before"], "before") if "before" in query else ids.ID_MAX + 1
    since = max(oldest, ids.make_id(ids.tick_at(since_ms), 0) if since_ms else 0)
    return Wanted(since, before, query.get("table", ""), query.get("of", ""), limit)


def id_of(text: str, name: str) -> int:
    """An event's id. Invalid for anything else."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 19) or not 0 < int(text) <= ids.ID_MAX:
        raise refused("must be an event's id, 1 to 19 digits", name)
    return int(text)


def _number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 16) or not least <= int(text) <= most:
        raise refused(f"must be a whole number, {least} to {most}", name)
    return int(text)


def _digits(conflict: Mapping[str, Any]) -> dict[str, Any]:
    """Ids are beyond 2^53: as digits."""
    return {
        name: str(value) if isinstance(value, int) and name.endswith("stamp") else value
        for name, value in conflict.items()
    }
