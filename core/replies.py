"""How many replies a message has for one reader: derived from the rows of its thread, never a counter.

A reply has one row however many copies it has, by its smallest id; a recall is set in the row, also before the reply
comes. So datacenters that have applied the same count the same, and a late reply counts wherever its id stands.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from core.ids import lane_of


class Row(NamedTuple):
    """One row of the table `replies`."""

    message: int
    recalled: bool


class Replies(NamedTuple):
    number: int
    more: bool
    """There are older ones than were counted."""
    newest: int
    """Of those that were counted; 0: there are none."""

    def shown(self) -> dict[str, object]:
        return {"count": self.number, "more": self.more, "newest": str(self.newest) if self.newest else None}


def counted(newest: Sequence[Row], most: int, cleared: Mapping[int, int], hidden: Collection[int]) -> Replies | None:
    """Of one thread's rows, the newest first, one more than `most` where there are so many: what was recalled, cleared
    (lane -> id) or hidden by the reader counts no more. None where there is nothing to tell."""
    ids = [
        row.message
        for row in newest[:most]
        if not row.recalled and row.message > cleared.get(lane_of(row.message), 0) and row.message not in hidden
    ]
    more = len(newest) > most
    return Replies(len(ids), more, max(ids, default=0)) if ids or more else None
