"""CPU time of processes, from /proc: user and system, all threads, those that ended too."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")

CpuS = dict[str, float]
"""What -> CPU seconds."""


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has used, in steps of 10 ms. ProcessLookupError when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} has ended") from None
    # The name in parentheses may hold anything; utime and stime are fields 14 and 15.
    fields = text[text.rindex(b")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def read(pids: Mapping[str, int]) -> CpuS:
    """All of them, at about one time."""
    return {name: cpu_s(pid) for name, pid in pids.items()}


def spent(before: CpuS, after: CpuS) -> CpuS:
    """What was used between two readings."""
    return {name: after[name] - before[name] for name in before}


def total(parts: Mapping[str, float], names: Sequence[str]) -> float:
    """The sum of some."""
    return sum(parts[name] for name in names)
