"""A transport that brings other datacenters' records by itself, beside pulling: what it brings are hints."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from events.record import Record

Take = Callable[[Sequence[Record]], Awaitable[object]]
"""Proves and stores them. What it raises, it raises before anything is certain: it may be called again."""


class RecordFeed(Protocol):
    """Whatever it loses, doubles or brings late is found and fetched elsewhere, so it need not be reliable."""

    async def run(self, take: Take) -> None:
        """Brings what comes to `take`, until cancelled; what `take` refused it brings again."""
        ...

    @property
    def brought(self) -> int:
        """Records, since the start."""
        ...

    @property
    def error(self) -> str:
        """Why it brings nothing at present; "" while nothing is known to be wrong."""
        ...
