"""What every SeriesStore promises. An adapter's test module subclasses this and gives a `store` fixture."""

import asyncio
import math

import pytest

from core import limits
from core.errors import Invalid
from stores.series import MEASURES, Held, Point, Series, SeriesStore

NOW_MS = 1_764_370_800_000
"""2025-11-28 23:00 UTC: of the stores' clock."""
DAY_MS = 86_400_000
KEPT_MS = 7 * DAY_MS

RATE = Series("msg_rate", "fra", "all", "applied")
OTHER = Series("msg_rate", "iad", "all", "applied")
SEEN = Series("presence", "fra", "all", "websocket")


def rate(at_ms: int, per_s: float, series: Series = RATE) -> Point:
    return Point(series, NOW_MS + at_ms, (per_s,))


async def values(store: SeriesStore, series: Series = RATE) -> list[tuple[int, float]]:
    """Of the last 1,000 ms, each point by itself."""
    found = await store.windows(series.measure, NOW_MS - 500, NOW_MS + 500, 1, series.dc)
    return [(one.at_ms - NOW_MS, one.mean[0]) for one in found if one.series == series]


class SeriesContract:
    async def test_what_was_written_is_read_back_exactly(self, store: SeriesStore) -> None:
        points = [rate(at, value) for at, value in ((-3, 0.1), (-2, 1e-9), (-1, 123456789.125), (0, -7.0), (1, 1e300))]
        await store.write(points)
        assert await values(store) == [(point.at_ms - NOW_MS, point.values[0]) for point in points]

    async def test_nothing_is_there_before_the_first_write(self, store: SeriesStore) -> None:
        assert await store.held() == []
        for measure in MEASURES:
            assert await store.windows(measure, NOW_MS - 1_000, NOW_MS, 10) == []

    async def test_a_write_of_nothing_is_one(self, store: SeriesStore) -> None:
        await store.write([])
        assert await store.held() == []

    async def test_every_measure_has_its_columns(self, store: SeriesStore) -> None:
        for name, measure in MEASURES.items():
            numbers = tuple(float(n) for n in range(len(measure.columns)))
            await store.write([Point(Series(name, "fra", "all", "x"), NOW_MS, numbers)])
            (found,) = await store.windows(name, NOW_MS, NOW_MS + 1, 1)
            assert found.mean == found.greatest == numbers
        assert [held.series.measure for held in await store.held()] == sorted(MEASURES)

    async def test_the_same_time_in_one_series_overwrites(self, store: SeriesStore) -> None:
        await store.write([rate(0, 1.0), rate(0, 2.0)])
        assert await values(store) == [(0, 2.0)]
        await store.write([rate(0, 3.0)])
        await store.write([rate(0, 3.0)])
        assert await values(store) == [(0, 3.0)]

    async def test_series_do_not_overwrite_each_other(self, store: SeriesStore) -> None:
        alike = [
            Series("msg_rate", dc, service, kind)
            for dc, service, kind in (("a", "b", "c"), ("a", "b_c", "c"), ("a-b", "c", "c"), ("a_b", "c", "c"),
                                      ("a", "b", "C"), ("A", "b", "c"))
        ]  # fmt: skip
        await store.write([rate(0, float(n), series) for n, series in enumerate(alike)])
        assert {held.series for held in await store.held()} == set(alike)
        for n, series in enumerate(alike):
            assert await values(store, series) == [(0, float(n))]

    async def test_points_may_come_in_any_order(self, store: SeriesStore) -> None:
        await store.write([rate(2, 2.0), rate(0, 0.0)])
        await store.write([rate(1, 1.0), rate(-1, -1.0)])
        assert await values(store) == [(-1, -1.0), (0, 0.0), (1, 1.0), (2, 2.0)]

    async def test_windows_have_the_mean_and_the_greatest(self, store: SeriesStore) -> None:
        assert NOW_MS % 100 == 0
        await store.write([rate(0, 1.0), rate(50, 5.0), rate(99, 3.0), rate(100, -4.0), rate(100, 7.0, OTHER)])
        found = await store.windows("msg_rate", NOW_MS, NOW_MS + 1_000, 100)
        assert [(one.series, one.at_ms - NOW_MS, one.points, one.mean, one.greatest) for one in found] == [
            (RATE, 0, 3, (3.0,), (5.0,)),
            (RATE, 100, 1, (-4.0,), (-4.0,)),
            (OTHER, 100, 1, (7.0,), (7.0,)),
        ]

    async def test_a_stretch_begins_with_its_first_and_ends_before_its_last_millisecond(
        self, store: SeriesStore
    ) -> None:
        await store.write([rate(at, 1.0) for at in (-1, 0, 9, 10)])
        found = await store.windows("msg_rate", NOW_MS, NOW_MS + 10, 1)
        assert [one.at_ms - NOW_MS for one in found] == [0, 9]

    async def test_one_datacenter_can_be_asked_for(self, store: SeriesStore) -> None:
        await store.write([rate(0, 1.0), rate(0, 2.0, OTHER)])
        found = await store.windows("msg_rate", NOW_MS, NOW_MS + 1, 1, "iad")
        assert [one.series for one in found] == [OTHER]
        assert await store.windows("msg_rate", NOW_MS, NOW_MS + 1, 1, "nrt") == []

    async def test_what_is_held_is_told_by_series(self, store: SeriesStore) -> None:
        await store.write([rate(0, 1.0), rate(1_000, 2.0), rate(7, 1.0, OTHER), Point(SEEN, NOW_MS, (3.0, 2.0))])
        assert await store.held() == [
            Held(RATE, NOW_MS, NOW_MS + 1_000, 2),
            Held(OTHER, NOW_MS + 7, NOW_MS + 7, 1),
            Held(SEEN, NOW_MS, NOW_MS, 1),
        ]

    @pytest.mark.parametrize("odd", ["'", "\\", "it''s", "\\'", "'; DROP DATABASE planb; --", '"x"', "a,b) VALUES (1",
                                     "%_", "`", "\\n", "x" * limits.SERIES_TAG_CHARS_MAX, " "])  # fmt: skip
    async def test_a_tag_is_text_whatever_it_says(self, store: SeriesStore, odd: str) -> None:
        series = Series("msg_rate", odd, odd, odd)
        await store.write([rate(0, 1.0, series), rate(0, 2.0)])
        assert {held.series for held in await store.held()} == {series, RATE}
        found = await store.windows("msg_rate", NOW_MS, NOW_MS + 1, 1, odd)
        assert [one.series for one in found] == [series]

    async def test_what_no_store_can_hold_is_refused_whole_and_by_name(self, store: SeriesStore) -> None:
        wrong = [
            (Point(Series("nothing", "fra", "all", "x"), NOW_MS, (1.0,)), "'nothing'"),
            (Point(SEEN, NOW_MS, (1.0,)), "2 finite numbers"),
            (rate(0, math.nan), "nan"),
            (rate(0, math.inf), "inf"),
            (Point(RATE, -1, (1.0,)), "-1 is no time"),
            (rate(0, 1.0, RATE._replace(kind="")), "a tag is"),
            (rate(0, 1.0, RATE._replace(dc="x" * (limits.SERIES_TAG_CHARS_MAX + 1))), "a tag is"),
            (rate(0, 1.0, RATE._replace(service="zwölf")), "a tag is"),
            (rate(0, 1.0, RATE._replace(service="two\nlines")), "a tag is"),
        ]
        for point, reason in wrong:
            with pytest.raises(Invalid, match=reason):
                await store.write([rate(0, 1.0), point])
        with pytest.raises(Invalid, match="more than 1000 points"):
            await store.write([rate(at, 1.0) for at in range(limits.SERIES_BATCH_MAX + 1)])
        assert await store.held() == []

    async def test_a_question_for_too_much_or_for_nothing_is_refused(self, store: SeriesStore) -> None:
        with pytest.raises(Invalid, match="more than 1000 windows"):
            await store.windows("msg_rate", 0, NOW_MS, 1_000)
        with pytest.raises(Invalid, match="more than"):
            await store.windows("msg_rate", 0, 1, 0)
        with pytest.raises(Invalid, match="'users'; there are repl_lag"):
            await store.windows("users", 0, 1, 1)

    async def test_a_full_batch_is_one_write(self, store: SeriesStore) -> None:
        points = [rate(at, float(at)) for at in range(limits.SERIES_BATCH_MAX)]
        await store.write(points)
        (held,) = await store.held()
        assert held.points == limits.SERIES_BATCH_MAX

    async def test_writers_at_once_lose_nothing(self, store: SeriesStore) -> None:
        await asyncio.gather(*(store.write([rate(at, 1.0), rate(at, 1.0, OTHER)]) for at in range(8)))
        assert [held.points for held in await store.held()] == [8, 8]

    async def test_closing_is_repeatable(self, store: SeriesStore) -> None:
        await store.write([rate(0, 1.0)])
        await store.close()
        await store.close()
