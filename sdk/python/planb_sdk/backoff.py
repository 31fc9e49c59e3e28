"""Pauses between tries: they double, are bounded, and are drawn, so that clients that failed together don't return
together. "Exponential Backoff And Jitter" (Brooker, AWS Architecture Blog 2015), the variant with half of it fixed.
"""

from random import Random


class Backoff:
    """One series of tries."""

    def __init__(self, first_s: float, max_s: float, rng: Random) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._rng = rng
        self.tries = 0

    def pause_s(self, at_least_s: float = 0.0) -> float:
        """How long to wait before the next try; never less than the server asked for."""
        whole = min(self._max_s, self._first_s * 2 ** min(self.tries, 30))
        self.tries += 1
        drawn = whole / 2 + self._rng.uniform(0, whole / 2)
        return at_least_s + self._rng.uniform(0, self._first_s) if at_least_s > drawn else drawn

    def reset(self) -> None:
        self.tries = 0
