"""Cause before effect, between DCs whose wall clocks are off: `clock_skew_ms_max >= 2 * clock_error_ms_max + carry`.

Users read in one DC and answer in another. Within the clock error nothing is ever refused and every answer is greater
than what it answers. Planted: clocks that are off by as much as the bound, and a forged X-Clock that is believed.
"""

from random import Random
from typing import NamedTuple

from core import ids, limits
from core.clock import HybridClock
from core.errors import ClockRefused
from tests.support.mesh import START_MS

HISTORIES = 400


class Outcome(NamedTuple):
    reversed: int
    """Effects that are not greater than their cause."""
    refused: int
    """Writes that a DC refused because of a clock."""


def story(seed: int, error_ms: int, *, forged: bool = False, refuse: bool = True) -> Outcome:
    """`forged`: clients send an X-Clock as far ahead as is accepted. `refuse`: a cause beyond the bound gets 409."""
    random = Random(seed)
    now_ms = START_MS
    offs = [random.randint(-error_ms, error_ms) for _ in range(3)]
    clocks = [HybridClock(lambda off=off: now_ms + off) for off in offs]  # type: ignore[misc]
    written: list[int] = []
    wrong = refused = 0
    for _ in range(60):
        now_ms += random.randint(1, 40)
        dc = random.randrange(3)
        if forged and random.random() < 0.2:
            ahead = ids.tick_at(now_ms + offs[dc] + limits.CLOCK_SKEW_MS_MAX)
            clocks[dc].see(ids.make_id(ahead, 0))
        cause = random.choice(written[-3:]) if written and random.random() < 0.8 else 0
        if cause and not clocks[dc].see(cause) and refuse:
            refused += 1
            continue
        try:
            effect = clocks[dc].take(ids.Lane(dc, 0, 0).number)
        except ClockRefused:
            refused += 1
            continue
        written.append(effect)
        wrong += effect <= cause
    return Outcome(wrong, refused)


def totals(error_ms: int, *, forged: bool = False, refuse: bool = True) -> Outcome:
    outcomes = [story(seed, error_ms, forged=forged, refuse=refuse) for seed in range(HISTORIES)]
    return Outcome(sum(o.reversed for o in outcomes), sum(o.refused for o in outcomes))


def test_within_the_clock_error_no_effect_precedes_its_cause_and_nothing_is_refused() -> None:
    assert totals(limits.CLOCK_ERROR_MS_MAX, refuse=False) == Outcome(0, 0)


def test_clocks_off_by_as_much_as_the_bound_are_seen_to_reverse_cause_and_effect() -> None:
    assert totals(limits.CLOCK_SKEW_MS_MAX, refuse=False).reversed > 0


def test_a_forged_x_clock_that_is_believed_reverses_cause_and_effect() -> None:
    assert totals(limits.CLOCK_ERROR_MS_MAX, forged=True, refuse=False).reversed > 0


def test_refusing_what_lies_beyond_the_bound_keeps_the_order_at_the_price_of_retries() -> None:
    outcome = totals(limits.CLOCK_ERROR_MS_MAX, forged=True)
    assert outcome.reversed == 0
    assert outcome.refused > 0
