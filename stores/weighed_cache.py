"""A cache that is bounded by what its entries weigh, beside their number: one may hold a thousand times another."""

from collections import OrderedDict
from typing import Any

from core.membership import Membership

Key = tuple[str, ...]
_ENTRY = 200
"""Bytes of an entry with its key, in round figures; so are those below."""


class WeighedCache(OrderedDict[Key, Any]):
    """The least recently used go first. Its user moves an entry to the end when it is used."""

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        super().__init__()
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._weights: dict[Key, int] = {}
        self.bytes = 0

    def keep(self, key: Key, value: Any) -> None:
        """As the newest. What weighs more than all may is not kept."""
        self.pop(key, None)
        found = _ENTRY + weight(value)
        if found > self._bytes_max:
            return
        self[key] = value
        self._weights[key] = found
        self.bytes += found
        while self.bytes > self._bytes_max or len(self) > self._entries_max:
            self.pop(next(iter(self)))

    def pop(self, key: Key, *default: Any) -> Any:
        self.bytes -= self._weights.pop(key, 0)
        return super().pop(key, *default)

    def clear(self) -> None:
        super().clear()
        self._weights.clear()
        self.bytes = 0


def weight(value: Any) -> int:
    """Bytes that a value of the view takes in memory, roughly."""
    if isinstance(value, Membership):
        adds = sum(250 + 100 * len(add.knew) for add in value.adds.values())
        return 500 + adds + 100 * (len(value.left) + len(value.kicked) + len(value.seen))
    if isinstance(value, str):
        return 60 + len(value)
    if isinstance(value, dict):
        return 100 + sum(100 + weight(one) for one in value.values())
    if isinstance(value, tuple):
        return 80 + sum(map(weight, value))
    return 40
