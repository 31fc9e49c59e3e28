"""Damaged objects as an operator is told of them: each once, lanes by name, what it costs, and what to do next."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from replicator.names import DcNames
from snapshot.chunks import PREFIX as CHUNKS
from snapshot.damage import Damaged
from snapshot.segment import Span, lane_folder, lane_of

SHOWN = 10
"""So many are listed as text; JSON has all."""
REASONS_SHOWN = 3
CHUNK_NEXT = "if the datacenter lives, `planb snapshot create` writes it anew where its rows are still the same"
SEGMENT_NEXT = (
    "move this one away, then copy this lane's segments of seqs {} to {} from another datacenter's objects into {},"
    " under their own names"
)
"""In this order: the other's segment often has the same name."""
FOLDER_NEXT = "copy what is missing here from this folder of another datacenter's objects"
MANIFEST_NEXT = "delete its folder: other snapshots do not need it"


def described(damaged: Iterable[Damaged], names: DcNames) -> list[dict[str, Any]]:
    """JSON-able. `lane` is "" where the object belongs to none."""
    return [
        {
            "object": one.object,
            "lane": "" if (lane := lane_of(one.object)) is None else names.lane(lane),
            "reasons": one.reasons,
            "snapshots": one.snapshots,
            "next": _next(one),
        }
        for one in damaged
    ]


def _next(one: Damaged) -> str:
    if one.object.startswith(CHUNKS):
        return CHUNK_NEXT
    span = Span.of(one.object)
    if span is not None:
        return SEGMENT_NEXT.format(f"{span.first:,}", f"{span.last:,}", lane_folder(span.lane))
    return MANIFEST_NEXT if lane_of(one.object) is None else FOLDER_NEXT


def lines(damages: Sequence[Mapping[str, Any]]) -> list[str]:
    """As text, at most SHOWN of them."""
    shown = []
    for one in damages[:SHOWN]:
        lane = f" (lane {one['lane']})" if one["lane"] else ""
        reasons = "; ".join(one["reasons"][:REASONS_SHOWN])
        more = len(one["reasons"]) - REASONS_SHOWN
        shown += [
            f"  ✗ {one['object']}{lane}: {reasons}{f'; and {more:,} more reasons' if more > 0 else ''}",
            f"    without it {_snapshots(one['snapshots'])} can't be restored",
            f"    next: {one['next']}",
        ]
    rest = len(damages) - SHOWN
    return [*shown, *([f"  and {rest:,} more objects; --json lists all"] if rest > 0 else [])]


def _snapshots(ids: Sequence[str]) -> str:
    return f"snapshot {ids[0]}" if len(ids) == 1 else f"{len(ids)} snapshots ({ids[0]} … {ids[-1]})"
