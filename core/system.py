"""The only place where wall time and randomness enter the program.

Everything else is handed a `Clock` or an `Entropy`, so a test or a simulation can replace both.
"""

import os
import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Wall clock: milliseconds since 1970-01-01 UTC."""

Entropy = Callable[[int], bytes]
"""`n` unpredictable bytes."""


def wall_clock_ms() -> int:
    """Milliseconds since 1970-01-01 UTC, as this machine believes."""
    return time.time_ns() // 1_000_000


def entropy(n: int) -> bytes:
    """`n` bytes from the operating system's generator."""
    return os.urandom(n)
