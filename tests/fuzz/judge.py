"""What one input may do to a target: a value or a documented error, in time and memory that follow from its size."""

import contextlib
import time
import tracemalloc

from tests.fuzz.targets import Target

CPU_S_MAX = 0.05
CPU_S_OF_BYTE = 20e-6
MEMORY_OF_BYTE = 256


def judge(target: Target, data: bytes) -> None:
    """AssertionError, or whatever undocumented error came."""
    with contextlib.suppress(*target.errors):
        target.run(data)


def judge_cost(target: Target, data: bytes) -> None:
    """As `judge`; AssertionError also for what costs too much."""
    most_s = CPU_S_MAX + CPU_S_OF_BYTE * len(data)
    took_s = min(_cpu_s(target, data) for _ in range(3))
    assert took_s < most_s, f"{took_s:.3f} s for {len(data)} bytes"
    tracemalloc.start()
    try:
        judge(target, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    most = target.memory_bytes + MEMORY_OF_BYTE * len(data)
    assert peak < most, f"{peak} bytes of memory for an input of {len(data)}"


def _cpu_s(target: Target, data: bytes) -> float:
    begun = time.thread_time()
    judge(target, data)
    return time.thread_time() - begun
