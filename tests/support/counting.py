"""What a request makes a datacenter's stores read."""

from collections import Counter
from typing import Any

from core.tables import canonical
from tests.support.dc import OneDc

_READS = {
    "messages": ("page", "rows_of"),
    "relational": ("rows", "some", "page"),
    "hot": ("dialogs", "tops", "unread"),
}


class Reads(Counter[str]):
    """Of each store: `<store>` calls, `<store>.rows` rows or ids that came, `<store>.bytes` of their bodies."""

    def __init__(self, dc: OneDc) -> None:
        super().__init__()
        for store, names in _READS.items():
            for name in names:
                self._count(getattr(dc, store), store, name)

    def _count(self, store: Any, label: str, name: str) -> None:
        read = getattr(store, name)

        async def counted(*args: Any, **named: Any) -> Any:
            found = await read(*args, **named)
            self[label] += 1
            self[f"{label}.rows"] += len(found)
            self[f"{label}.bytes"] += sum(len(canonical(row)) for row in found)
            return found

        setattr(store, name, counted)
