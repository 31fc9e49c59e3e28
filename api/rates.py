"""How fast one user may ask. Each route has a bucket per user; sending messages one by one and in batches shares one.

Counted in the process that was asked, and forgotten when it ends: a bound on what one user can take from the others,
not a quota.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

from api.attempts import Attempts
from core import limits
from core.errors import TooMany
from core.system import steady_clock_ms


class Kind(StrEnum):
    """Of what a route asks for."""

    MESSAGES = "messages"
    WRITES = "writes"
    READS = "reads"


class Rate:
    """Of one route."""

    def __init__(self, kind: Kind, per_s: int, now_s: Callable[[], float]) -> None:
        self._kind = kind
        self._per_s = per_s
        self._burst = per_s * limits.RATE_BURST_S
        self._buckets = Attempts(self._burst, 1 / per_s, limits.RATE_USERS_MAX, now_s) if per_s else None
        self.refused = 0
        """Requests, since the start."""

    def enter(self, user: str, count: int = 1) -> None:
        """TooMany, with the seconds to wait, if this is too fast; then nothing is counted. More than a burst at once
        is let in by an empty bucket."""
        if self._buckets is not None and (wait_s := self._buckets.admit(user, min(count, self._burst))):
            self.refused += 1
            what = f"one user's {self._kind.value} are answered {self._per_s} times a second"
            raise TooMany(f"too fast: {what}", retry_after_s=wait_s)

    def give_back(self, user: str) -> None:
        """It was no request: it enters again."""
        if self._buckets is not None:
            self._buckets.give_back(user)


class Rates:
    """Of one process."""

    def __init__(
        self, per_s: Mapping[Kind, int], now_s: Callable[[], float] = lambda: steady_clock_ms() / 1000
    ) -> None:
        """`per_s`: 0, or a kind that is not there: as fast as they like. RATE_BURST_S of it may come at once."""
        self._per_s = per_s
        self._now_s = now_s
        self._rates: dict[str, Rate] = {}

    def of(self, kind: Kind, route: str) -> Rate:
        """That of this route; all routes of messages have one."""
        name = kind.value if kind is Kind.MESSAGES else route
        if name not in self._rates:
            self._rates[name] = Rate(kind, self._per_s.get(kind, 0), self._now_s)
        return self._rates[name]

    @property
    def refused(self) -> int:
        """Requests, since the start."""
        return sum(rate.refused for rate in self._rates.values())


UNLIMITED = Rates({})
