"""Measurements over time: what an SRE wants to see of last night. The port of their store, and what is measured.

One table per measure, one series in it per writer and kind: tags say which datacenter, which service of it (an
instance, never a user) and what of it. TDengine's model (docs/servers.md); the other adapters follow it. The contract
suite is tests/contract/series.py.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from core import limits
from core.errors import Invalid


class Measure(NamedTuple):
    """A kind of measurement."""

    what: str
    columns: tuple[str, ...]
    """Numbers, their unit last."""
    drawn: str
    """The column that is drawn as a line."""


MEASURES = {
    "repl_lag": Measure(
        "replication lag by origin, of what came since the point before; link_failed is 1 while the link fails",
        ("events", "p50_ms", "p99_ms", "max_ms", "link_failed"),
        "p99_ms",
    ),
    "msg_rate": Measure("events and requests per second", ("per_s",), "per_s"),
    "presence": Measure("who is connected", ("sockets", "online_users"), "online_users"),
    "push_result": Measure("what became of pushed updates, per second", ("per_s",), "per_s"),
    "latency": Measure("how long log, stores and answers took", ("calls", "mean_ms", "p50_ms", "p99_ms"), "p99_ms"),
}


class Series(NamedTuple):
    """Which row of points."""

    measure: str
    dc: str
    service: str
    kind: str


class Point(NamedTuple):
    series: Series
    at_ms: int
    """Unix milliseconds, UTC."""
    values: tuple[float, ...]
    """In the order of the measure's columns; finite."""


class Held(NamedTuple):
    """What is there of a series."""

    series: Series
    first_ms: int
    last_ms: int
    points: int


class Window(NamedTuple):
    """The points of a series in one stretch of time."""

    series: Series
    at_ms: int
    """Its beginning, a multiple of the windows' length."""
    points: int
    mean: tuple[float, ...]
    """By column, as `Point.values`."""
    greatest: tuple[float, ...]


class SeriesStore(Protocol):
    """Points of MEASURES. Opened by its first call; who only reads makes nothing.

    StoreUnavailable: it does not answer, or not now; a write may or may not have happened, and the same points can be
    written again. Invalid: it never takes this, whenever it is tried.
    """

    async def write(self, points: Sequence[Point]) -> None:
        """Keeps up to SERIES_BATCH_MAX points; Invalid if they are more, or one is not as `check` wants it. Repeatable:
        a point replaces the one of the same series at the same millisecond. No order is needed. What is older than
        the retention may vanish at once."""
        ...

    async def held(self) -> list[Held]:
        """All series in their order (measure, dc, service, kind)."""
        ...

    async def windows(self, measure: str, since_ms: int, until_ms: int, step_ms: int, dc: str = "") -> list[Window]:
        """Points with since <= at < until, of one datacenter or ("") of all, by windows of `step_ms`, in the order of
        series, then time. Windows without a point are left out. At most SERIES_WINDOWS_MAX of a series: Invalid if
        the time is longer."""
        ...

    async def close(self) -> None:
        """Waits for nothing that does not answer. Repeatable."""
        ...


def check(points: Iterable[Point]) -> None:
    """Invalid, by name, for a point that not every adapter could hold."""
    for count, (series, at_ms, values) in enumerate(points, 1):
        if count > limits.SERIES_BATCH_MAX:
            raise Invalid(f"more than {limits.SERIES_BATCH_MAX} points at once")
        measure = measure_of(series.measure)
        if len(values) != len(measure.columns) or not all(map(math.isfinite, values)):
            raise Invalid(f"{series}: {values} are not {len(measure.columns)} finite numbers")
        if not 0 <= at_ms < 1 << 43:
            raise Invalid(f"{series}: {at_ms} is no time in milliseconds")
        for tag in series[1:]:
            if not (1 <= len(tag) <= limits.SERIES_TAG_CHARS_MAX and tag.isascii() and tag.isprintable()):
                raise Invalid(f"{series}: a tag is 1 to {limits.SERIES_TAG_CHARS_MAX} printable ASCII characters")


def check_windows(measure: str, since_ms: int, until_ms: int, step_ms: int) -> Measure:
    """Invalid if that can't be asked of `windows`; else what the measure is."""
    if step_ms < 1 or until_ms - since_ms > step_ms * limits.SERIES_WINDOWS_MAX:
        raise Invalid(f"more than {limits.SERIES_WINDOWS_MAX} windows of {step_ms} ms")
    return measure_of(measure)


def measure_of(name: str) -> Measure:
    """Invalid if there is none of this name."""
    measure = MEASURES.get(name)
    if measure is None:
        raise Invalid(f"nothing is measured as {name!r}; there are {', '.join(MEASURES)}")
    return measure


def newest(points: Sequence[Point]) -> Mapping[tuple[Series, int], Point]:
    """By series and time, the last one where two share both: what a store would be left with."""
    return {(point.series, point.at_ms): point for point in points}
