"""What a cursor covers, asked about single events."""

from hypothesis import given
from hypothesis import strategies as st

from core.coverage import uncovered
from core.ids import lane_of, make_id

FRA, SYD = 1 << 11, 2 << 11


def test_an_event_beyond_its_lane_s_v_is_uncovered_whatever_other_lanes_have() -> None:
    known, late, unknown_lane = make_id(5, FRA), make_id(7, FRA), make_id(1, SYD)
    v = {FRA: make_id(6, FRA), 99: make_id(10**6, 99)}
    assert uncovered(v, [late, known, unknown_lane]) == [late, unknown_lane]


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from((FRA, SYD, SYD + 1)))), st.integers(0, 60))
def test_what_was_applied_in_order_is_covered_and_nothing_else(events: list[tuple[int, int]], applied: int) -> None:
    ids = sorted({make_id(tick, lane) for tick, lane in events})
    v: dict[int, int] = {}
    for id in ids[:applied]:
        v[lane_of(id)] = id
    assert uncovered(v, ids) == ids[applied:]
