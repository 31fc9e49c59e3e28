"""A page of the conflicts of this datacenter, the newest first: which are wanted, and how they are told."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from api.decoding import refused
from core import ids, limits
from core.actions.fields import is_id
from core.event import Event
from stores.lost_writes import Conflict, LostWrites
from stores.ports import RelationalStore

FindEvent = Callable[[int], Awaitable[Event | None]]

_LAST_MS = ids.time_ms_of(ids.ID_MAX)
PARAMETERS = frozenset({"table", "of", "actor", "since_ms", "until_ms", "before", "limit"})


class Wanted(NamedTuple):
    """What was asked for. All that is not empty has to fit."""

    since: int
    """The smallest stamp."""
    before: int
    """Only smaller stamps: where the page before ended."""
    table: str
    of: str
    """An id that is part of the row's key: a user, a chat, a conversation."""
    actor: str
    """Who wrote what lost."""
    limit: int

    async def page(self, relational: RelationalStore, event: FindEvent) -> dict[str, Any]:
        """`more`: the `before` of the next page, null at the end. A page may have fewer than there are, and none, and
        go on all the same: what one request looks at is bounded (stores/lost_writes.py)."""

        async def fits(one: Conflict) -> bool:
            if self.table not in ("", one["table"]) or (self.of and self.of not in one["key"]):
                return False
            if not self.actor:
                return True
            found = await event(one["stamp"])
            return found is not None and found.actor == self.actor

        page = await LostWrites(relational, self.since, self.before, fits).page(self.limit)
        more = str(page.more) if page.more else None
        return {"conflicts": [_digits(one) for one in page.conflicts], "more": more}


def wanted_of(query: Mapping[str, str], oldest: int) -> Wanted:
    """Of the query parameters; Invalid names the one that is wrong. `oldest`: nothing before it is listed."""
    since_ms = _number(query, "since_ms", 0, 0, (1 << 53) - 1)
    limit = _number(query, "limit", limits.PAGE_MAX, 1, limits.PAGE_MAX)
    before = id_of(query["before"], "before") if "before" in query else ids.ID_MAX + 1
    if "until_ms" in query:
        until_ms = _number(query, "until_ms", 0, ids.EPOCH_MS, (1 << 53) - 1)
        before = min(before, ids.make_id(ids.tick_at(min(until_ms, _LAST_MS)), 0))
    since = max(oldest, ids.make_id(ids.tick_at(since_ms), 0) if since_ms else 0)
    return Wanted(since, before, query.get("table", ""), query.get("of", ""), query.get("actor", ""), limit)


def id_of(text: str, name: str) -> int:
    """An event's id. Invalid for anything else."""
    if not is_id(text):
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
