"""Durations by length, and what can be said of them afterwards."""

import pytest

from core.durations import BOUNDS_S, Durations, percentile_s


def noted(*seconds: float) -> Durations:
    found = Durations()
    for one in seconds:
        found.note(one)
    return found


def test_each_counts_up_to_the_bound_that_it_does_not_exceed() -> None:
    found = noted(0.0, 0.001, 0.0011, 2.5, 2.6)
    assert list(found.cumulated())[:2] == [("0.001", 2), ("0.0025", 3)]
    assert list(found.cumulated())[-2:] == [("2.5", 4), ("+Inf", 5)]
    assert found.seconds == pytest.approx(5.1021)


def test_a_percentile_lies_between_the_bounds_of_its_bucket() -> None:
    assert percentile_s(noted().counts, 50) == 0.0
    assert percentile_s(noted(*[0.007] * 100).counts, 50) == pytest.approx(0.0075)
    assert percentile_s(noted(*[0.0001] * 98, 0.2, 0.2).counts, 50) <= 0.001
    assert 0.1 < percentile_s(noted(*[0.0001] * 98, 0.2, 0.2).counts, 99) <= 0.25


def test_what_is_longer_than_the_last_bound_is_not_guessed() -> None:
    assert percentile_s(noted(77.0).counts, 99) == BOUNDS_S[-1]
