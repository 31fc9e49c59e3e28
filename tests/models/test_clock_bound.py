"""How far from the median may a clock be? The bound that there is keeps any two clocks that are trusted near enough to
each other; a wider one would not, and what it would be good for, a narrower assumption gives."""

import itertools

import pytest

from core import limits
from core.clock_error import _error_among

BOUND = limits.CLOCK_ERROR_MS_MAX
APART_MS_MAX = limits.CLOCK_SKEW_MS_MAX - limits.CARRY_MS_MAX
"""Two clocks further apart than this: one refuses to follow what the other has stamped."""


def trusted(clocks: tuple[int, ...], bound: int) -> list[int]:
    """Those that take writes, by what each sees of the others (exactly, and all at once)."""
    return [one for one in clocks if abs(_error_among(sorted(other - one for other in clocks)) or 0) <= bound]


def clocks(most: int, dcs: int) -> list[tuple[int, ...]]:
    """Errors against true time, all combinations of some."""
    return list(itertools.combinations_with_replacement(range(-most, most + 1, most // 4), dcs))


def apart(found: list[int]) -> int:
    return max(found) - min(found) if found else 0


@pytest.mark.parametrize("dcs", [3, 5])
def test_clocks_within_half_of_the_bound_are_never_refused(dcs: int) -> None:
    for errors in clocks(BOUND // 2, dcs):
        assert trusted(errors, BOUND) == list(errors)


@pytest.mark.parametrize("dcs", [3, 5])
def test_any_two_that_are_trusted_can_follow_each_other(dcs: int) -> None:
    for errors in clocks(4 * BOUND, dcs):
        assert apart(trusted(errors, BOUND)) <= APART_MS_MAX


def test_what_it_costs_a_clock_within_the_bound_of_true_time_may_be_refused() -> None:
    assert trusted((-BOUND, -BOUND, BOUND), BOUND) == [-BOUND, -BOUND]


def test_twice_the_bound_would_trust_clocks_that_can_not_follow_each_other() -> None:
    assert max(apart(trusted(errors, 2 * BOUND)) for errors in clocks(4 * BOUND, 3)) > APART_MS_MAX
