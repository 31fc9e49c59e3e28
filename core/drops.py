"""When a parked event is dropped: an event that some datacenters can never apply is given up by all of them together.

Each datacenter gives its word once, by an event of its own: "agreed" where the event is parked (from then on it does
not apply it any more), "applied" where it has applied it. The event is dropped when every datacenter that is named by
those who agreed has agreed. So where it was applied anywhere it is never dropped anywhere: the one that applied it did
not agree before, and can't afterwards; those that did agree may apply it again, once they know of that.
"""

from collections.abc import Iterable, Mapping
from typing import Any


def dropped(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Is the event dropped? `rows`: those of table `drops` for its place. Once true it stays so."""
    agreed = {row["dc"]: row["dcs"] or [] for row in rows if row["agreed"]}
    named = {dc for dcs in agreed.values() for dc in dcs}
    return bool(agreed) and named <= agreed.keys()


def given(rows: Iterable[Mapping[str, Any]], dc: int) -> bool:
    """Has this datacenter agreed, so that it may not apply the event? Not if another one has applied it."""
    rows = list(rows)
    named = {other for row in rows if row["dc"] == dc and row["agreed"] for other in row["dcs"] or []}
    return bool(named) and not any(row["applied"] and row["dc"] in named for row in rows)
