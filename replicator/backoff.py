"""How long to wait before a failed thing is tried again: doubling, bounded, with full jitter.

Full jitter (Brooker, "Exponential Backoff And Jitter", 2015): many that failed together do not return together.
"""

import asyncio

from core import limits
from core.system import Entropy


class Backoff:
    """Not shared between tasks."""

    def __init__(
        self, entropy: Entropy, first_ms: int = limits.BACKOFF_MS_FIRST, max_ms: int = limits.BACKOFF_MS_MAX
    ) -> None:
        self._entropy = entropy
        self._first_ms = first_ms
        self._max_ms = max_ms
        self.failures = 0
        """In a row."""

    def reset(self) -> None:
        self.failures = 0

    def next_s(self) -> float:
        """Notes one more failure; seconds to wait."""
        ceiling = min(self._max_ms, self._first_ms << min(self.failures, 20))
        self.failures += 1
        part = int.from_bytes(self._entropy(2)) / 65_536
        return max(self._first_ms / 2, ceiling * part) / 1000

    async def wait(self, wake: asyncio.Event | None = None) -> None:
        """Notes one more failure and waits, or until `wake` is set."""
        if wake is None:
            await asyncio.sleep(self.next_s())
            return
        try:
            async with asyncio.timeout(self.next_s()):
                await wake.wait()
        except TimeoutError:
            return
