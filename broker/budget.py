"""The bytes that wait for all connections of a process together."""

from collections.abc import Callable


class Budget:
    """Who adds beyond the bound makes `over` be called: it is to drop some."""

    def __init__(self, bytes_max: int, over: Callable[[], None]) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        self._over = over

    def move(self, more: int) -> None:
        """`more` may be negative."""
        self.bytes += more
        if more > 0 and self.bytes > self.bytes_max:
            self._over()
