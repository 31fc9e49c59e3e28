"""What the operator hears of clocks, and when a lane is left."""

import logging

import pytest

from cli.clock_watch import ClockWatch
from core import ids, limits
from core.clock import HybridClock
from core.clock_error import ClockError
from replicator.names import DcNames

START_MS = 1_800_000_000_000
HOUR_MS = 3_600_000
NRT = ids.Lane(3, 0, 0).number


class World:
    def __init__(self, peers: int = 2) -> None:
        self.passed_ms = 0
        self.off_ms = 0
        self.errors = ClockError(lambda: START_MS + self.passed_ms + self.off_ms, lambda: self.passed_ms)
        for peer in ("iad", "nrt")[:peers]:
            self.errors.note(peer, sent_ms=0, received_ms=0, held_ms=0, wall_ms=START_MS)
        self.clock = HybridClock(self.errors.trusted, self.errors.doubt)
        self.far_ahead: dict[int, int] = {}
        names = DcNames({"fra": 1, "iad": 2, "nrt": 3})
        self.watch = ClockWatch(self.errors, self.clock, names, self.far_ahead, period_s=1.0)

    def looks(self, seconds: int) -> list[str]:
        found = []
        for _ in range(seconds):
            found.append(self.watch.look())
            self.passed_ms += 1_000
        return found


def test_a_lane_that_was_written_ahead_is_left_only_when_the_clock_is_right_again() -> None:
    world = World(peers=1)
    world.off_ms = HOUR_MS
    world.clock.take(0)
    assert world.looks(3) == [""] * 3
    world.off_ms = -limits.LANE_AHEAD_MS_MAX // 2
    world.clock = world.watch._clock = HybridClock(world.errors.wall)
    world.clock.resume(ids.make_id(ids.tick_at(START_MS + world.passed_ms), 0))
    assert world.looks(1) == [""], "soon enough it can be written on"
    world.off_ms = -HOUR_MS
    assert "another one is begun" in world.looks(1)[0]


def test_a_lane_is_not_left_while_the_clock_is_wrong() -> None:
    world = World()
    world.clock.resume(ids.make_id(ids.tick_at(START_MS + HOUR_MS), 0))
    world.off_ms = HOUR_MS
    assert world.looks(3) == [""] * 3
    assert world.watch.shown()["refuses"].endswith("ahead of the other datacenters'")
    world.off_ms = 0
    assert "another one is begun" in world.looks(1)[0]


def test_the_log_says_once_that_writes_are_refused_and_once_that_they_are_not(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    with caplog.at_level(logging.WARNING):
        world.looks(2)
        world.off_ms = HOUR_MS
        world.looks(30)
        world.off_ms = 0
        world.looks(30)
    lines = [line for line in caplog.messages if "apart" not in line]
    assert lines == [
        f"writes are refused: this machine's wall clock is {HOUR_MS} ms ahead of the other datacenters'",
        "the wall clock is right: writes are taken",
    ]


def test_alarms_come_once_a_minute_and_name_the_lane_and_the_peer(caplog: pytest.LogCaptureFixture) -> None:
    world = World(peers=1)
    world.off_ms = -HOUR_MS
    world.far_ahead[NRT] = 3
    with caplog.at_level(logging.WARNING):
        world.looks(2 * limits.CLOCK_ALARM_S)
        world.far_ahead[NRT] = 4
        world.looks(limits.CLOCK_ALARM_S)
    apart = f"wall clocks are apart by up to {HOUR_MS} ms; a peer's minus ours: {{'iad': {HOUR_MS}}}"
    assert caplog.messages == [
        apart,
        "3 events of lane nrt/0.0 are stamped too far ahead",
        apart,
        apart,
        "1 events of lane nrt/0.0 are stamped too far ahead",
    ]
    assert world.watch.shown() == {
        "error_ms": None,
        "refuses": "",
        "ahead_ms": 0,
        "peers": {"iad": {"offset_ms": HOUR_MS, "uncertain_ms": 37}},
        "far_ahead": {"nrt/0.0": 4},
    }
