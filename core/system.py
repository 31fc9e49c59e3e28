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


CLOCK_OFFSET_FILE = os.environ.get("PLANB_CLOCK_OFFSET_FILE", "")
"""For tests only: a file with the milliseconds by which this process's wall clock is moved, read at every reading.
It is opened once: a process that has no file descriptors left still has a clock."""


def _machine_ms() -> int:
    return time.time_ns() // 1_000_000


_moved = os.open(CLOCK_OFFSET_FILE, os.O_RDONLY) if CLOCK_OFFSET_FILE else -1


def _moved_ms() -> int:
    return _machine_ms() + int(os.pread(_moved, 32, 0))


wall_clock_ms: Clock = _moved_ms if CLOCK_OFFSET_FILE else _machine_ms
"""Milliseconds since 1970-01-01 UTC, as this machine believes."""


def steady_clock_ms() -> int:
    """Milliseconds from anywhere, that nobody sets; they go on while the machine sleeps, where it can tell."""
    return time.clock_gettime_ns(_STEADY) // 1_000_000


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def entropy(n: int) -> bytes:
    """`n` bytes from the operating system's generator."""
    return os.urandom(n)
