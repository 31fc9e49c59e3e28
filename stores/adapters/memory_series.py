"""The SeriesStore in memory: for tests, and for whoever wants to look at the last minutes only."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import groupby

from core.system import Clock
from stores.series import Held, Point, Series, Window, check, check_windows, newest


class MemorySeries:
    """Keeps the `points_max` newest points, none older than `kept_ms`."""

    def __init__(self, *, now_ms: Clock, kept_ms: int, points_max: int = 100_000) -> None:
        self._now_ms = now_ms
        self._kept_ms = kept_ms
        self._points_max = points_max
        self._points: dict[tuple[Series, int], Point] = {}

    async def write(self, points: Sequence[Point]) -> None:
        check(points)
        self._points.update(newest(points))
        oldest_ms = self._now_ms() - self._kept_ms
        kept = sorted((point for point in self._points.values() if point.at_ms >= oldest_ms), key=_by_time)
        self._points = dict(newest(kept[-self._points_max :]))
        await asyncio.sleep(0)

    async def held(self) -> list[Held]:
        return [
            Held(series, points[0].at_ms, points[-1].at_ms, len(points)) for series, points in self._by_series("", "")
        ]

    async def windows(self, measure: str, since_ms: int, until_ms: int, step_ms: int, dc: str = "") -> list[Window]:
        check_windows(measure, since_ms, until_ms, step_ms)
        return [
            _window(series, at_ms, list(points))
            for series, all_ in self._by_series(measure, dc)
            for at_ms, points in groupby(
                (point for point in all_ if since_ms <= point.at_ms < until_ms),
                lambda point: point.at_ms // step_ms * step_ms,
            )
        ]

    async def close(self) -> None:
        """Nothing is open."""

    def _by_series(self, measure: str, dc: str) -> Iterator[tuple[Series, list[Point]]]:
        wanted = (
            point
            for point in self._points.values()
            if measure in ("", point.series.measure) and dc in ("", point.series.dc)
        )
        ordered = sorted(wanted, key=lambda point: (point.series, point.at_ms))
        for series, points in groupby(ordered, lambda point: point.series):
            yield series, list(points)


def _by_time(point: Point) -> tuple[int, Series]:
    return point.at_ms, point.series


def _window(series: Series, at_ms: int, points: Sequence[Point]) -> Window:
    columns = list(zip(*(point.values for point in points), strict=True))
    mean = tuple(sum(column) / len(column) for column in columns)
    return Window(series, at_ms, len(points), mean, tuple(map(max, columns)))
