"""Can the stores hold what an event amounts to? Asked only after a batch failed, to find the event to be parked.

An event is refused for what it is, never for how a store fares today: these are the pure halves of the adapters, so the
answer is the same in every DC.
"""

from core.errors import Undecodable
from stores import render
from stores.adapters import hot_wire
from stores.adapters.cells import Fold
from stores.adapters.message_rows import as_read, checked
from stores.plan import Planned, hot_changes, stamped
from stores.ports import Feed, HotBatch


def refusal(item: Planned) -> str:
    """Why no store could ever hold this event; "" if all can."""
    try:
        Fold().effects(stamped([item]))
        for row in item.rows:
            as_read(checked(row))
        entries = [render.encode(item.event.id, touch) for touch in item.touches]
        feeds = [Feed("U", item.event.id, entry) for entry in entries]
        hot_wire.pack_batch(HotBatch(1, {}, feeds, **hot_changes([item])._asdict()))
    except Undecodable as error:
        return error.detail
    except Exception as error:  # pure code over this one event: whatever it raises, the event is the cause
        return reason_of(error)
    return ""


def reason_of(error: Exception) -> str:
    """What the operator is shown of an unexpected error."""
    return f"{type(error).__name__}: {error}"[:500]
