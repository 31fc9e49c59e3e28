"""Refresh tokens: which of a session's may still be used. Pure.

A use of one makes the next: of generation n comes one of n + 1, with a number of its own. A session's row keeps, as one
integer, the newest that was used: its generation, and behind that its number. The greatest wins, so datacenters agree
on it whatever they heard first.
"""

from enum import Enum
from typing import NamedTuple

NUMBER_BITS = 40
GENERATION_MAX = (1 << 22) - 1


class Refresh(NamedTuple):
    """One refresh token, of a session."""

    session: str
    user: str
    generation: int
    """The first is 1."""
    number: int
    """Tells those of one generation apart: below 2^40."""
    expires_ms: int
    ends_ms: int
    """When the session does, whatever is refreshed."""

    @property
    def place(self) -> int:
        """As the row has it."""
        return self.generation << NUMBER_BITS | self.number


class Use(Enum):
    NEW = "new"
    """Nobody used it here, nor one of its generation or a later one."""
    AGAIN = "again"
    """It was the last one to be used: the answer may have been lost, and nobody has used what came of it."""
    STALE = "stale"
    """What came of it, or of another of its generation, has been used: two have it, and one of them has stolen it."""


def use_of(place: int, used: int) -> Use:
    """What it means that this one comes, where `used` was the last one that was used; 0 for none."""
    if place == used:
        return Use.AGAIN
    return Use.NEW if place >> NUMBER_BITS > used >> NUMBER_BITS else Use.STALE
