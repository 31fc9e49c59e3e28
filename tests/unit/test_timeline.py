"""When an event was applied: what is said of it is true, however coarse it has become."""

from random import Random

from core import limits
from stores.ports import Mark
from stores.timeline import Moment, Timeline


class Wall:
    def __init__(self) -> None:
        self.now_ms = 1_000_000

    def __call__(self) -> int:
        return self.now_ms


def test_what_was_applied_before_it_began_was_applied_by_then() -> None:
    wall = Wall()
    timeline = Timeline(wall)
    timeline.note({7: Mark(5, 50)})  # recovery
    timeline.begin({7: Mark(10, 100)})
    assert timeline.of(7, 10) == Moment(None, 1_000_000)
    assert timeline.of(7, 11) == Moment(None, None), "not applied"
    assert timeline.of(8, 1) == Moment(None, None), "a lane that is not known"
    wall.now_ms += 500
    timeline.note({8: Mark(1, 10)})
    assert timeline.of(8, 1) == Moment(1_000_000, 1_000_500), "a lane that began since"


def test_what_it_says_holds_for_every_event_and_it_stays_bounded() -> None:
    wall, random = Wall(), Random(3)
    timeline = Timeline(wall)
    timeline.begin({})
    applied: dict[int, int] = {}
    seq = 0
    for _ in range(limits.TIMELINE_POINTS_MAX * 3):
        wall.now_ms += random.choice([0, 1, 10, 200, 5_000])
        for _ in range(random.randint(1, 4)):
            seq += 1
            applied[seq] = wall.now_ms
        timeline.note({7: Mark(seq, seq)})
    assert timeline.lanes()[7] <= limits.TIMELINE_POINTS_MAX
    for one, at in applied.items():
        moment = timeline.of(7, one)
        assert moment.by_ms is not None and moment.after_ms is not None
        assert moment.after_ms <= at <= moment.by_ms, one
    newest = timeline.of(7, seq)
    assert newest.by_ms is not None and newest.after_ms is not None
    assert newest.by_ms - newest.after_ms <= 5_000 + limits.TIMELINE_STEP_MS, "what is recent is exact"


def test_a_parked_event_was_applied_when_it_was_retried() -> None:
    wall = Wall()
    timeline = Timeline(wall)
    timeline.begin({7: Mark(3, 30)})
    wall.now_ms += 9_000
    timeline.retried(7, 2)
    assert timeline.of(7, 2) == Moment(1_009_000, 1_009_000)
