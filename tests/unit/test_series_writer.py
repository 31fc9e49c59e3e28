"""Whoever measures never waits for the store, and every point is written, waits or is counted as lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from cli.waiting import until
from core import limits
from core.errors import Corrupt, Invalid, StoreUnavailable
from stores import series_writer
from stores.adapters.memory_series import MemorySeries
from stores.series import Point
from stores.series_writer import SeriesWriter
from tests.contract.series import KEPT_MS, NOW_MS, rate, values

SOON_S = 10.0


class Moody(MemorySeries):
    """Fails as it is told."""

    def __init__(self) -> None:
        super().__init__(now_ms=lambda: NOW_MS, kept_ms=KEPT_MS)
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.batches: list[int] = []
        self.closed = False

    async def write(self, points: Sequence[Point]) -> None:
        self.batches.append(len(points))
        await self.open.wait()
        if self.error:
            raise self.error
        await super().write(points)

    async def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_writer, "BACKOFF_S_FIRST", 0.001)
    monkeypatch.setattr(limits, "SERIES_WAITING_MAX", 20)
    monkeypatch.setattr(limits, "SERIES_BATCH_MAX", 8)


@contextlib.asynccontextmanager
async def running(store: Moody) -> AsyncIterator[SeriesWriter]:
    writer = SeriesWriter(store)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
        assert not task.done(), "whatever happens it goes on"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def drained(writer: SeriesWriter) -> bool:
    async def empty() -> bool:
        return not writer.waiting

    return await until(empty, SOON_S)


async def tried(store: Moody, times: int) -> bool:
    async def so_often() -> bool:
        return len(store.batches) >= times

    return await until(so_often, SOON_S)


def points(begin: int, end: int) -> list[Point]:
    return [rate(at, float(at)) for at in range(begin, end)]


async def ats(store: Moody) -> list[int]:
    return [at for at, _ in await values(store)]


async def test_points_are_written_in_batches() -> None:
    store = Moody()
    async with running(store) as writer:
        writer.put(points(0, 20))
        assert await drained(writer)
    assert store.batches == [8, 8, 4]
    assert (writer.written, writer.dropped, writer.error) == (20, 0, "")
    assert await ats(store) == list(range(20))


async def test_while_the_store_is_down_points_wait_and_are_written_when_it_is_back() -> None:
    store = Moody()
    store.error = StoreUnavailable("nobody there")
    async with running(store) as writer:
        writer.put(points(0, 10))
        assert await tried(store, 3)
        assert (writer.waiting, writer.written, writer.dropped, writer.error) == (10, 0, 0, "nobody there")
        store.error = None
        assert await drained(writer)
    assert (writer.written, writer.dropped, writer.error) == (10, 0, "")
    assert await ats(store) == list(range(10))


async def test_beyond_the_bound_the_oldest_are_dropped_and_counted() -> None:
    store = Moody()
    store.error = StoreUnavailable("nobody there")
    async with running(store) as writer:
        for at in range(50):
            writer.put(points(at, at + 1))
            assert writer.waiting <= limits.SERIES_WAITING_MAX
        assert await tried(store, 2)
        assert (writer.waiting, writer.dropped) == (20, 30)
        store.error = None
        assert await drained(writer)
    assert (writer.written, writer.dropped) == (20, 30)
    assert await ats(store) == list(range(30, 50))


async def test_a_store_that_takes_its_time_holds_nobody_up_and_no_point_is_counted_twice() -> None:
    store = Moody()
    store.open.clear()
    async with running(store) as writer:
        writer.put(points(0, 10))
        assert await tried(store, 1)
        writer.put(points(10, 35))
        assert writer.waiting == 20
        store.open.set()
        assert await drained(writer)
    assert writer.written + writer.dropped == 35
    assert await ats(store) == [*range(8), *range(15, 35)], "what it had taken is written, though it left the queue"
    assert writer.written == 28


async def test_what_left_the_queue_under_way_and_was_not_written_is_counted() -> None:
    store = Moody()
    store.open.clear()
    async with running(store) as writer:
        writer.put(points(0, 10))
        assert await tried(store, 1)
        writer.put(points(10, 35))
        store.error = StoreUnavailable("gone")
        store.open.set()
        assert await tried(store, 3)
        assert (writer.dropped, writer.waiting) == (15, 20)


@pytest.mark.parametrize("error", [Invalid("out of range"), RuntimeError("a defect")])
async def test_what_the_store_never_takes_is_dropped_at_once_and_the_rest_goes_on(error: Exception) -> None:
    store = Moody()
    store.error = error
    async with running(store) as writer:
        writer.put(points(0, 8))
        assert await drained(writer)
        assert (writer.written, writer.dropped) == (0, 8)
        assert str(error) in writer.error
        store.error = None
        writer.put(points(8, 10))
        assert await drained(writer)
    assert (writer.written, writer.dropped, writer.error) == (2, 8, "")


async def test_a_damaged_file_is_named_and_ends_nothing() -> None:
    store = Moody()
    store.error = Corrupt("series.db is damaged", private="malformed")
    async with running(store) as writer:
        writer.put(points(0, 1))
        assert await tried(store, 2)
        assert writer.error == "series.db is damaged malformed"


async def test_an_end_brings_away_what_waits() -> None:
    store = Moody()
    writer = SeriesWriter(store)
    writer.put(points(0, 20))
    await writer.close()
    assert (writer.written, store.closed) == (20, True)


async def test_an_end_does_not_wait_for_a_store_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SERIES_CLOSE_S_MAX", 0.05)
    store = Moody()
    store.open.clear()
    async with running(store) as writer:
        writer.put(points(0, 10))
        assert await tried(store, 1)
    async with asyncio.timeout(SOON_S):
        await writer.close()
    assert (writer.written, store.closed) == (0, True)


async def test_an_end_tries_a_store_that_is_down_once() -> None:
    store = Moody()
    store.error = StoreUnavailable("down")
    writer = SeriesWriter(store)
    writer.put(points(0, 20))
    await writer.close()
    assert (len(store.batches), store.closed) == (1, True)
