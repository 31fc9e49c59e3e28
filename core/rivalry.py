"""Which concurrent lww writes lost: those that are not on the winner's chain of bases, and whose value is another.

Every write of a column names its basis, the stamp of the value that its origin overwrote, so the writes form a tree.
What the winner (the greatest stamp) had seen is its path to the root; all other writes were never seen by it, and
lost. A set of rows has one such answer, whatever the order in which it grew. Noting pairs as they meet ("this
overwrote that") depends on that order: DCs list different pairs.

Writes may be forgotten from the oldest stamp on without changing which later ones lost: a basis is smaller than its
stamp, so a path that ends early ends below all that is left. Any other order of forgetting would cut a path in its
middle, and what lies below the cut would be listed as lost.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from core import ids


class Write(NamedTuple):
    """One row of `overwrites`."""

    table: str
    key: str
    column: str
    stamp: int
    basis: int
    value: Any


def losers(bases: dict[int, int]) -> set[int]:
    """The stamps that are not on the winner's chain, of all writes of one column {stamp: basis}."""
    return bases.keys() - _chain(bases, max(bases, default=0))


def _chain(bases: Mapping[int, int], at: int) -> set[int]:
    """A write and all that it knew."""
    path: set[int] = set()
    # A basis is smaller than its stamp; the second test ends a chain that a damaged row closed to a ring.
    while at in bases and at not in path:
        path.add(at)
        at = bases[at]
    return path


class Standing(NamedTuple):
    """How one write of a column stands among all that are kept of it."""

    write: Write
    state: str
    """ "shown": the present value. "equal": another write of the same value is the present one. "lost": the present
    one did not know it. "replaced": the present one knew it, or something that did."""
    winner: Write
    won_against: tuple[Write, ...]
    """Older writes of other values that it did not know, the oldest first."""
    lost_against: tuple[Write, ...]
    """Later ones of other values that did not know it, nor it them."""


def standing_of(writes: Iterable[Write], stamp: int) -> Standing | None:
    """Of one column's writes. None where the write is not among them: it never was, or is forgotten."""
    rows = {write.stamp: write for write in writes}
    mine = rows.get(stamp)
    if mine is None:
        return None
    bases = {other: write.basis for other, write in rows.items()}
    winner = rows[max(rows)]
    if stamp == winner.stamp:
        state = "shown"
    elif stamp not in losers(bases):
        state = "replaced"
    else:
        state = "equal" if mine.value == winner.value else "lost"
    known = _chain(bases, stamp)
    rivals = [
        row
        for other, row in sorted(rows.items())
        if other not in known and row.value != mine.value and stamp not in _chain(bases, other)
    ]
    return Standing(
        mine,
        state,
        winner,
        tuple(row for row in rivals if row.stamp < stamp),
        tuple(row for row in rivals if row.stamp > stamp),
    )


def conflicts(writes: Iterable[Write], since_id: int = 0) -> Iterator[dict[str, Any]]:
    """The conflicts among writes that come in order (table, key, column, stamp); in that order. Those with smaller
    stamps than `since_id` are left out."""
    for (table, key, column), group in groupby(writes, key=lambda write: write[:3]):
        rows = {write.stamp: write for write in group}
        lost = losers({stamp: write.basis for stamp, write in rows.items()})
        winner = rows[max(rows)]
        # Two writes of one value (one creation, retried through another DC) lost nothing.
        for stamp in sorted(stamp for stamp in lost if stamp >= since_id and rows[stamp].value != winner.value):
            yield {
                "table": table,
                "key": msgspec.json.decode(key),
                "column": column,
                "stamp": stamp,
                "value": rows[stamp].value,
                "winner_stamp": winner.stamp,
                "winner_value": winner.value,
            }


def collectable(stamps: Iterable[int], through: Mapping[int, int], before_id: int) -> int:
    """The greatest of the ascending stamps through which all may be forgotten; 0 for none."""
    last = 0
    for stamp in stamps:
        if stamp >= before_id or stamp > through.get(ids.lane_of(stamp), 0):
            break
        last = stamp
    return last
