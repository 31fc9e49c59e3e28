"""What is noted of a process every few seconds, from counters that grow."""

import logging

import pytest

from cli.sampler import Reading, Sampler, lags, latencies, presence, rates
from core.durations import Durations
from core.ids import EPOCH_MS, make_id, tick_at
from replicator.board import Board
from replicator.lag import LagMeter
from stores.series import Point, Series, check
from tests.contract.series import NOW_MS

LANE = 3


class Clocks:
    steady_ms = 1_000

    def steady(self) -> int:
        return self.steady_ms


def one(source: object, elapsed_s: float = 5.0) -> dict[str, tuple[float, ...]]:
    return {reading.kind: reading.values for reading in source(elapsed_s)}  # type: ignore[operator]


def test_a_rate_is_what_came_since_the_last_look() -> None:
    total = {"a": 100.0, "b": 0.0}
    source = rates("msg_rate", {"a": lambda: total["a"], "b": lambda: total["b"]})
    assert one(source) == {"a": (0.0,), "b": (0.0,)}, "what was there before is nobody's rate"
    total |= {"a": 150.0}
    assert one(source) == {"a": (10.0,), "b": (0.0,)}
    assert one(source, 2.0) == {"a": (0.0,), "b": (0.0,)}


def test_a_latency_is_that_of_the_calls_since_the_last_look() -> None:
    durations = Durations()
    for _ in range(100):
        durations.note(2.0)
    source = latencies({"log": lambda: durations})
    assert one(source) == {"log": (0.0, 0.0, 0.0, 0.0)}
    for _ in range(4):
        durations.note(0.002)
    calls, mean_ms, p50_ms, p99_ms = one(source)["log"]
    assert (calls, round(mean_ms, 6)) == (4.0, 2.0)
    assert 1.0 < p50_ms < p99_ms <= 2.5


def test_a_lag_is_that_of_the_events_since_the_last_look_and_a_link_that_fails_is_seen() -> None:
    meter, board = LagMeter(), Board({"iad": 1, "nrt": 2}, lambda: NOW_MS)
    start_ms = EPOCH_MS + 1_000_000_000
    id = make_id(tick_at(start_ms), LANE)
    meter.note("iad", id, start_ms + 5_000)
    source = lags(meter, board)
    assert one(source) == {"iad": (0.0,) * 5, "nrt": (0.0,) * 5}
    for lag_ms in (10, 20, 30):
        meter.note("iad", id, start_ms + lag_ms)
    board.note_link("nrt", "no route")
    assert one(source) == {"iad": (3.0, 20.0, 30.0, 30.0, 0.0), "nrt": (0.0, 0.0, 0.0, 0.0, 1.0)}
    assert one(source)["iad"] == (0.0,) * 5


def test_a_look_makes_points_of_this_process_that_every_store_takes() -> None:
    found: list[Point] = []
    clocks = Clocks()
    elapsed: list[float] = []

    def source(elapsed_s: float) -> list[Reading]:
        elapsed.append(elapsed_s)
        return list(presence(lambda: (3, 2))(elapsed_s))

    sampler = Sampler("fra", "all", [source], found.extend, now_ms=lambda: NOW_MS, steady_ms=clocks.steady)
    clocks.steady_ms += 2_500
    sampler.look()
    check(found)
    assert found == [Point(Series("presence", "fra", "all", "websocket"), NOW_MS, (3, 2))]
    assert elapsed == [2.5]
    sampler.look()
    assert elapsed[1] > 0, "two looks within a millisecond divide by something"


def test_a_figure_that_cannot_be_read_ends_nothing_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    found: list[Point] = []
    broken = [True]

    def source(_: float) -> list[Reading]:
        if broken[0]:
            raise KeyError("users")
        return [Reading("presence", "websocket", (1.0, 1.0))]

    sampler = Sampler("fra", "all", [source], found.extend, now_ms=lambda: NOW_MS, steady_ms=Clocks().steady)
    with caplog.at_level(logging.ERROR):
        sampler.look()
        sampler.look()
    assert sampler.error == "KeyError('users')"
    assert len(caplog.records) == 1
    broken[0] = False
    sampler.look()
    assert (sampler.error, len(found)) == ("", 1)
