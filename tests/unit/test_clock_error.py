"""How far a wall clock is off, from what peers' answers say: exact within half a round trip, blind to long polls, and
nobody is called wrong by fewer than three."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import limits
from core.clock_error import ClockError, Offset

START_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


class World:
    """True time, our wall clock and those of peers, each off by something; steady clocks of another origin."""

    def __init__(self, off_ms: int = 0, **peers: int) -> None:
        self.passed_ms = 0
        self.off_ms = off_ms
        self.peers = peers
        self.clocks = ClockError(lambda: START_MS + self.passed_ms + self.off_ms, lambda: 77 + self.passed_ms)

    def pull(self, peer: str, there_ms: int = 0, held_ms: int = 0, back_ms: int = 0) -> None:
        sent_ms = self.clocks.steady()
        self.passed_ms += there_ms + held_ms
        wall_ms = START_MS + self.passed_ms + self.peers[peer]
        self.passed_ms += back_ms
        self.clocks.note(peer, sent_ms=sent_ms, received_ms=self.clocks.steady(), held_ms=held_ms, wall_ms=wall_ms)

    def pull_all(self, **times: int) -> None:
        for peer in self.peers:
            self.pull(peer, **times)


@given(
    st.integers(-HOUR_MS, HOUR_MS),
    st.integers(-HOUR_MS, HOUR_MS),
    st.integers(0, 150),
    st.integers(0, 150),
    st.integers(0, limits.PULL_WAIT_MS_MAX),
)
def test_an_offset_is_exact_within_its_uncertainty_however_long_a_poll_was_held(
    ours: int, theirs: int, there_ms: int, back_ms: int, held_ms: int
) -> None:
    world = World(ours, iad=theirs)
    world.pull("iad", there_ms, held_ms, back_ms)
    offset = world.clocks.offsets()["iad"]
    assert abs(offset.ms - (theirs - ours)) <= offset.uncertain_ms <= (there_ms + back_ms) / 2 + 2


def test_the_quickest_round_trip_counts_until_it_is_old() -> None:
    world = World(iad=40)
    world.pull("iad", 2, 5_000, 2)
    world.pull("iad", 0, 5_000, 180)
    assert world.clocks.offsets()["iad"] == Offset(40, 4), "the slow answer, 90 ms wrong, is not taken"
    world.passed_ms += 500_000
    assert world.clocks.offsets()["iad"].uncertain_ms == 104
    world.pull("iad", 0, 0, 180)
    assert world.clocks.offsets()["iad"] == Offset(-50, 91)


def test_a_peer_whose_clock_was_set_is_believed_at_once() -> None:
    world = World(iad=0)
    world.pull("iad")
    world.peers["iad"] = 3_000
    world.pull("iad", 60, 0, 60)
    assert world.clocks.offsets()["iad"].ms == 3_000


def test_a_step_of_our_own_clock_is_seen_without_another_answer() -> None:
    world = World(iad=0, nrt=0)
    world.pull_all()
    assert not world.clocks.doubt()
    world.off_ms = HOUR_MS
    assert world.clocks.error_ms() == HOUR_MS
    assert world.clocks.doubt() == f"this machine's wall clock is {HOUR_MS} ms ahead of the other datacenters'"
    assert world.clocks.trusted() == START_MS + world.passed_ms
    world.off_ms = -limits.CLOCK_ERROR_MS_MAX - 1
    assert "201 ms behind" in world.clocks.doubt()
    world.off_ms = limits.CLOCK_ERROR_MS_MAX
    assert not world.clocks.doubt(), "it is right again"
    assert world.clocks.trusted() == world.clocks.wall(), "within the error nothing is put right"


def test_both_clocks_are_compared_once_a_millisecond_however_often_it_is_asked() -> None:
    """A write asks five times, and a reading takes most of a microsecond on some machines."""
    world, readings = World(), 0

    def steady() -> int:
        nonlocal readings
        readings += 1
        return world.passed_ms

    clocks = ClockError(world.clocks.wall, steady)
    readings = 0
    for _ in range(10):
        world.passed_ms += 1
        for _ in range(5):
            assert clocks.trusted() == START_MS + world.passed_ms
            assert clocks.doubt() == ""
    assert readings == 10


def test_one_wrong_clock_of_three_is_called_wrong_by_itself_and_by_nobody_else() -> None:
    bad, good = World(HOUR_MS, iad=0, nrt=10), World(0, fra=HOUR_MS, nrt=10)
    for world in (bad, good):
        world.pull_all()
    assert bad.clocks.error_ms() == HOUR_MS - 10
    assert good.clocks.error_ms() == -10
    assert not good.clocks.doubt()
    assert good.clocks.apart_ms() == HOUR_MS


@pytest.mark.parametrize("ours", [0, HOUR_MS])
def test_of_two_that_disagree_nobody_knows_which_is_wrong(ours: int) -> None:
    world = World(ours, iad=HOUR_MS - ours)
    world.pull_all()
    assert world.clocks.error_ms() is None
    assert not world.clocks.doubt()
    assert world.clocks.apart_ms() == HOUR_MS


def test_where_two_halves_disagree_nobody_refuses() -> None:
    for ours in (0, HOUR_MS):
        world = World(ours, b=0 + ours, c=HOUR_MS - ours, d=HOUR_MS - ours)
        world.pull_all()
        assert world.clocks.error_ms() == 0


def test_what_is_not_known_well_enough_is_not_known() -> None:
    world = World(HOUR_MS, iad=0, nrt=0)
    world.pull("iad")
    world.pull("nrt", 200, 0, 201)
    assert world.clocks.error_ms() is None, "half a round trip is more than a clock may be off"
    world.pull("nrt")
    assert world.clocks.doubt()
    world.passed_ms += 1_000 * HOUR_MS
    world.clocks.look()
    assert world.clocks.error_ms() is None, "nobody has answered for too long"
    assert world.clocks.apart_ms() == 0


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=2, max_size=2))
def test_a_right_clock_is_never_refused_whatever_the_network_does(trips: list[tuple[int, int]]) -> None:
    world = World(0, iad=0, nrt=0)
    for peer, (there_ms, back_ms) in zip(world.peers, trips, strict=True):
        world.pull(peer, there_ms, 0, back_ms)
    assert not world.clocks.doubt()


def test_an_answer_that_claims_to_have_taken_longer_than_we_waited_is_ignored() -> None:
    world = World(iad=0)
    world.clocks.note("iad", sent_ms=100, received_ms=200, held_ms=150, wall_ms=5)
    assert world.clocks.offsets() == {}
