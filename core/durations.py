"""How long something took, as counts by length since the start. Whoever looks twice knows what happened in between."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Durations:
    """Noting one is an addition and a search among few; made for paths that count every microsecond."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        """How many were at most so long, by BOUNDS_S, and how many were longer."""
        self.seconds = 0.0
        """Of all of them together."""

    def note(self, seconds: float, count: int = 1) -> None:
        """`count` took so long each."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += count
        self.seconds += seconds * count

    def cumulated(self) -> Iterator[tuple[str, int]]:
        """(bound in seconds or "+Inf", how many were at most so long), as Prometheus counts."""
        total = 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self.counts, strict=True):
            total += count
            yield bound, total


def percentile_s(counts: Sequence[int], percent: int) -> float:
    """Estimated from counts as of Durations, evenly spread between two bounds; 0 for none. What was longer than the
    last bound counts as that: no figure is made up for it."""
    wanted, below = sum(counts) * percent / 100, 0
    for place, count in enumerate(counts):
        if count and below + count >= wanted:
            if place == len(BOUNDS_S):
                return BOUNDS_S[-1]
            low = BOUNDS_S[place - 1] if place else 0.0
            return low + (BOUNDS_S[place] - low) * (wanted - below) / count
        below += count
    return 0.0
