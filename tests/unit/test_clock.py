"""The hybrid clock: strictly increasing, after every cause, never waiting, refusing what would break the bound."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import ids, limits
from core.clock import HybridClock
from core.errors import ClockRefused

START_MS = ids.EPOCH_MS + 1_000_000_000
LANE = ids.Lane(1, 0, 3).number


class Wall:
    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


@given(st.lists(st.integers(-300, 300), max_size=60))
def test_ids_increase_strictly_even_when_the_wall_clock_steps_back(steps: list[int]) -> None:
    wall = Wall()
    clock = HybridClock(wall)
    last = 0
    for step in steps:
        wall.now_ms = max(START_MS - 400, min(START_MS + 60, wall.now_ms + step))
        taken = clock.take(LANE)
        assert taken > last
        assert ids.tick_of(taken) > ids.tick_of(last)
        last = taken


@given(st.lists(st.tuples(st.integers(-300, 300), st.integers(0, 300)), max_size=20))
def test_many_ids_are_those_that_as_many_takes_give(steps: list[tuple[int, int]]) -> None:
    wall = Wall()
    singly, at_once = HybridClock(wall), HybridClock(wall)
    for step, count in steps:
        wall.now_ms = max(START_MS - 400, min(START_MS + 60, wall.now_ms + step))
        assert at_once.take_many(LANE, count) == [singly.take(LANE) for _ in range(count)]


def test_many_ids_are_refused_together_and_the_clock_stands() -> None:
    clock = HybridClock(Wall())
    bound = limits.ticks(limits.CLOCK_SKEW_MS_MAX + limits.CARRY_MS_MAX)
    with pytest.raises(ClockRefused):
        clock.take_many(LANE, bound + 1)
    assert len(clock.take_many(LANE, bound)) == bound
    with pytest.raises(ClockRefused):
        clock.take(LANE)


@given(st.integers(0, limits.CLOCK_SKEW_MS_MAX), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_an_effect_is_greater_than_its_cause_on_any_lane(ahead_ms: int, lane: int, other: int) -> None:
    cause = ids.make_id(ids.tick_at(START_MS + ahead_ms), other)
    clock = HybridClock(Wall())
    assert clock.see(cause)
    assert clock.take(lane) > cause


def test_a_full_sequence_carries_into_time_without_waiting() -> None:
    wall = Wall()
    clock = HybridClock(wall)
    taken = [clock.take(LANE) for _ in range(600)]
    assert len({ids.tick_of(id) for id in taken}) == 600
    assert ids.time_ms_of(taken[-1]) - ids.time_ms_of(taken[0]) == 20, "600 ids fill two units of 256 and begin a third"
    wall.now_ms += 1_000
    assert ids.time_ms_of(clock.take(LANE)) == START_MS + 1_000, "the wall clock has caught up"


def test_a_clock_that_was_carried_too_far_refuses_and_recovers_with_time() -> None:
    wall = Wall()
    clock = HybridClock(wall)
    bound = limits.ticks(limits.CLOCK_SKEW_MS_MAX + limits.CARRY_MS_MAX)
    for _ in range(bound):
        clock.take(LANE)
    with pytest.raises(ClockRefused):
        clock.take(LANE)
    wall.now_ms += 10
    assert clock.take(LANE)


def test_an_id_beyond_the_bound_does_not_move_the_clock() -> None:
    clock = HybridClock(Wall())
    before = clock.now()
    far = ids.make_id(ids.tick_at(START_MS + limits.CLOCK_SKEW_MS_MAX + 10), LANE)
    assert not clock.see(far)
    assert clock.now() == before
    at_the_bound = ids.make_id(ids.tick_at(START_MS + limits.CLOCK_SKEW_MS_MAX), LANE)
    assert clock.see(at_the_bound)
    assert ids.tick_of(at_the_bound) == clock.bound() == clock.reached()


def test_a_clock_resumes_after_its_own_lane_whatever_the_bound() -> None:
    wall = Wall()
    clock = HybridClock(wall)
    own = ids.make_id(ids.tick_at(START_MS + 5_000), LANE)
    clock.resume(own)
    with pytest.raises(ClockRefused):
        clock.take(LANE)
    wall.now_ms += 5_000
    assert clock.take(LANE) > own


def test_now_is_what_take_gives() -> None:
    clock = HybridClock(Wall())
    assert clock.now() == ids.tick_of(clock.take(LANE))


def test_the_bounds_fit_each_other() -> None:
    """Two clocks, each off by the greatest error, and a carry between them: what one writes the other must follow."""
    assert limits.CLOCK_SKEW_MS_MAX >= 2 * limits.CLOCK_ERROR_MS_MAX + limits.CARRY_MS_MAX
    assert limits.ticks(10) == 1 << ids.SEQ_BITS
