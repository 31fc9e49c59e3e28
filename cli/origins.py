"""What an event's id says by itself: when it was written, in which datacenter, by which of its processes."""

from typing import Any

from core import ids
from core.errors import Invalid
from replicator.names import DcNames


def event_id(text: str) -> int:
    """Of a person. Invalid for anything else."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 19) or not 0 < int(text) <= ids.ID_MAX:
        raise Invalid(f"{text[:64]}: an event's or message's id has 1 to 19 digits, as lists and answers show it")
    return int(text)


def origin_of(id: int, names: DcNames) -> dict[str, Any]:
    """JSON-able: `time_ms`, `dc`, `incarnation`, `process` (its worker number), `lane`."""
    lane = ids.Lane.of(ids.lane_of(id))
    return {
        "id": str(id),
        "time_ms": ids.time_ms_of(id),
        "dc": names.name(lane.dc),
        "incarnation": lane.incarnation,
        "process": lane.worker,
        "lane": names.lane(lane.number),
    }
