"""What X-Clock shows when an event lies further ahead than any clock may: never more than others will follow."""

import pytest

from api.clock_header import ClockHeader
from core import ids, limits
from core.clock import HybridClock
from core.errors import ClockAhead, Invalid
from stores.ports import Mark
from stores.progress import Progress

KEY = b"a key that all datacenters share"
START_MS = ids.EPOCH_MS + 1_000_000_000
HOUR_MS = 3_600_000
FRA, IAD, NRT = (ids.Lane(number, 0, 0).number for number in (1, 2, 3))


def at(ms: int, lane: int) -> int:
    return ids.make_id(ids.tick_at(START_MS + ms), lane)


class Site:
    """One DC: its clock, what it has applied, its header."""

    def __init__(self, off_ms: int = 0) -> None:
        self.now_ms = START_MS + off_ms
        self.clock = HybridClock(lambda: self.now_ms)
        self.progress = Progress()
        self.header = ClockHeader(KEY, self.clock, lambda: self.now_ms, self.progress)

    def applies(self, *events: int) -> None:
        """As stores/apply.py does it."""
        for id in events:
            at = self.progress.applied.get(ids.lane_of(id))
            self.progress.advance(ids.lane_of(id), Mark(at.seq + 1 if at else 1, id))
            self.clock.see(id)


def test_a_header_shows_the_greatest_id_applied_and_moves_the_clock_of_another_datacenter_past_it() -> None:
    fra, iad = Site(), Site(-limits.CLOCK_ERROR_MS_MAX)
    latest = at(limits.CLOCK_ERROR_MS_MAX + limits.CARRY_MS_MAX, NRT)
    fra.applies(at(10, IAD), latest)
    assert iad.header.observe(fra.header.value()) == latest
    assert iad.clock.take(IAD) > latest


def test_an_event_far_ahead_does_not_show_in_the_header_and_hides_nothing_that_came_before_it() -> None:
    """No datacenter refuses what another with the same clock hands out, and causes within the bound stay causes."""
    fra, iad = Site(), Site()
    cause = at(150, NRT)
    fra.applies(at(10, IAD), cause, at(HOUR_MS, NRT))
    assert iad.header.observe(fra.header.value()) == at(10, IAD), "what its client may know, but for the lane ahead"
    effect = iad.clock.take(IAD)
    assert effect > cause
    assert effect < at(HOUR_MS, NRT)


def test_a_header_never_shows_more_than_the_wall_and_the_bound_also_when_the_wall_is_set_back() -> None:
    fra = Site(HOUR_MS)
    fra.applies(fra.clock.take(FRA))
    assert Site(HOUR_MS).header.observe(fra.header.value())
    fra.now_ms = START_MS
    iad = Site()
    assert iad.header.observe(fra.header.value()) == 0, "accepted where the clock is right"
    assert iad.clock.reached() == iad.clock.bound()


def test_what_the_clock_has_passed_is_not_judged_again_by_a_wall_that_was_set_back() -> None:
    fra, iad = Site(), Site()
    fra.applies(at(0, FRA))
    header = fra.header.value()
    assert iad.header.observe(header) == at(0, FRA)
    iad.now_ms -= HOUR_MS
    assert iad.header.observe(header) == at(0, FRA)
    fra.applies(at(20, FRA))
    with pytest.raises(ClockAhead):
        iad.header.observe(fra.header.value())


def test_a_header_of_a_datacenter_whose_clock_is_wrong_is_taken_where_what_it_shows_is_applied() -> None:
    wrong, fra = Site(HOUR_MS), Site()
    wrong.applies(wrong.clock.take(IAD))
    header = wrong.header.value()
    with pytest.raises(ClockAhead) as refused:
        fra.header.observe(header)
    assert refused.value.retry_after_s == limits.CLOCK_AHEAD_RETRY_S_MAX
    fra.applies(*wrong.progress.v().values())
    assert fra.header.observe(header) == max(wrong.progress.v().values())
    assert fra.clock.now() == ids.tick_at(START_MS) + 1, "and moves no clock"


def test_a_header_of_two_ids_can_be_forged_no_more_than_one_of_one() -> None:
    fra = Site()
    fra.applies(at(10, IAD), at(HOUR_MS, NRT))
    head, payload, mac = fra.header.value().split(".")
    one = Site()
    one.applies(at(10, IAD))
    for forged in (f"{head}.{payload}.{one.header.value().split('.')[2]}", f"{head}.{payload[:12]}.{mac}"):
        with pytest.raises(Invalid):
            Site().header.observe(forged)
