"""Who is named by a message, and which of those messages he has not read: derived from rows, never a counter.

A row per (user, message) says that the message mentions him, and whether it was recalled; one under `all` stands for
everybody who was in the group by then. The copies of a message have rows each, of the same names, for those are part of
the request; they are one mention, which is read, recalled or hidden if one of them is.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from core.ids import lane_of

ALL = "all"
"""In place of a user: everybody in the group."""


class Row(NamedTuple):
    """One row of the table `mentions`, of one user or of all in one conversation."""

    message: int
    class_: int
    sender: str
    recalled: bool


def unread(rows: Iterable[Row], user: str, marks: Sequence[Mapping[int, int]], joined_at: int) -> list[list[int]]:
    """Of each mention that is not his own, beyond the marks (lane -> id; read or cleared), after he joined and not
    recalled, all ids that are known; ascending."""
    classes: dict[int, set[int]] = {}
    over: set[int] = set()
    for row in rows:
        classes.setdefault(row.class_, set()).add(row.message)
        lane = lane_of(row.message)
        read = any(row.message <= mark.get(lane, 0) for mark in marks)
        if read or row.recalled or row.sender == user or row.message <= joined_at:
            over.add(row.class_)
    return sorted(sorted(ids) for class_, ids in classes.items() if class_ not in over)


def seen(found: Iterable[Sequence[int]], hidden: Collection[int]) -> list[int]:
    """The canonical ids of those of which none is hidden."""
    return [ids[0] for ids in found if not any(id in hidden for id in ids)]
