"""Which concurrent writes lost, a page at a time, the newest first: with the rule of core/rivalry.py on the way down.

Writes are read by the index of their stamps, from a page's begin towards older ones. Of each field that is met the
winner and the next stamp of its chain are kept: a write that is not that one lost. What lies above the page's begin is
asked for where a field is met first. So a page costs what it looks at, which is bounded, and no list of all is made.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from core import ids, limits
from stores.ports import RelationalStore, Scan

Row = Mapping[str, Any]
Conflict = dict[str, Any]
Place = tuple[str, str, str]
Fits = Callable[[Conflict], Awaitable[bool]]


class Page(NamedTuple):
    conflicts: list[Conflict]
    """As `RelationalStore.conflicts` has them, the newest first. Those of one event are never parted."""
    more: int
    """Go on before this stamp; 0 at the end. There may be none any more."""


class _Field:
    """One column of a row, as far as it was walked down."""

    __slots__ = ("next", "stamp", "value")

    def __init__(self, winner: Row) -> None:
        self.stamp: int = winner["stamp"]
        self.value = winner["value"]
        self.next: int = winner["basis"]

    def lost(self, row: Row) -> bool:
        """Of the next older write: is it not on the winner's chain, and another value?"""
        if row["stamp"] == self.next:
            self.next = row["basis"]
            return False
        return bool(row["value"] != self.value)


class LostWrites:
    """One walk, good for one page."""

    def __init__(self, relational: RelationalStore, since: int, before: int, fits: Fits) -> None:
        """Stamps from `since` on, and below `before`, which may be beyond all ids."""
        self._relational = relational
        self._since = since
        self._before = before if before <= ids.ID_MAX else None
        self._fits = fits
        self._fields: dict[Place, _Field] = {}
        self._asked = 0

    async def page(self, limit: int) -> Page:
        """Up to `limit` that fit. It ends early after LOST_LOOKS_MAX writes, or LOST_ASKED_MAX that lost."""
        found: list[Conflict] = []
        at, looks = self._before, limits.LOST_LOOKS_MAX
        while True:
            rows, ended = await self._read(at, min(looks, limits.LOST_READ_TOGETHER))
            looks -= len(rows)
            await self._know(rows)
            for stamp, together in groupby(rows, key=_stamp):
                found += await self._lost(together)
                at = stamp
                if len(found) > limit and found[limit - 1]["stamp"] != stamp:
                    kept = [one for one in found if one["stamp"] != stamp]
                    return Page(kept, kept[-1]["stamp"])
                if self._asked >= limits.LOST_ASKED_MAX:
                    return Page(found, at)
            if ended:
                return Page(found, 0)
            if looks <= 0:
                return Page(found, at or 0)

    async def _read(self, below: int | None, size: int) -> tuple[list[Row], bool]:
        """The next ones, all of an event or none; and whether there are no more."""
        while True:
            scan = Scan("stamp", size, beyond=self._since - 1, below=below, newest_first=True)
            rows: list[Row] = list(await self._relational.page("overwrites", {}, scan))
            if len(rows) < size:
                return rows, True
            whole = [row for row in rows if row["stamp"] != rows[-1]["stamp"]]
            if whole:
                return whole, False
            size *= 2

    async def _know(self, rows: Iterable[Row]) -> None:
        """What was written above the page's begin to the fields of these that are new to it."""
        if self._before is None:
            return
        new = list(dict.fromkeys(place for row in rows if (place := _place(row)) not in self._fields))
        scan = Scan("stamp", limits.PAGE_MAX, beyond=self._before - 1, newest_first=True)
        for begin in range(0, len(new), limits.PAGE_MAX):
            part = new[begin : begin + limits.PAGE_MAX]
            pages = await self._relational.pages("overwrites", [_where(place) for place in part], scan)
            for place, above in zip(part, pages, strict=True):
                await self._walk(place, above, scan)

    async def _walk(self, place: Place, above: Sequence[Row], scan: Scan) -> None:
        while above:
            for row in above:
                self._next(row)
            if len(above) < scan.limit:
                return
            older = scan._replace(below=above[-1]["stamp"])
            above = await self._relational.page("overwrites", _where(place), older)

    async def _lost(self, rows: Iterable[Row]) -> list[Conflict]:
        lost = sorted(
            filter(None, map(self._next, rows)), key=lambda one: (one["table"], one["column"], str(one["key"]))
        )
        self._asked += len(lost)
        return [one for one in lost if await self._fits(one)]

    def _next(self, row: Row) -> Conflict | None:
        field = self._fields.get(_place(row))
        if field is None:
            self._fields[_place(row)] = _Field(row)
            return None
        if not field.lost(row):
            return None
        return {
            "table": row["table"],
            "key": msgspec.json.decode(row["key"]),
            "column": row["column"],
            "stamp": row["stamp"],
            "value": row["value"],
            "winner_stamp": field.stamp,
            "winner_value": field.value,
        }


def _stamp(row: Row) -> int:
    return int(row["stamp"])


def _place(row: Row) -> Place:
    return row["table"], row["key"], row["column"]


def _where(place: Place) -> dict[str, str]:
    return dict(zip(("table", "key", "column"), place, strict=True))
