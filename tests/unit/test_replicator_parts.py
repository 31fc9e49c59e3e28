"""The smaller parts of replication, each by itself."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from core import limits
from core.errors import ClockRefused, ConfigError, Conflict, Corrupt, Invalid, LogUnavailable
from core.ids import EPOCH_MS, Lane, make_id, tick_at
from events.adapters.memory import MemoryLog
from events.ports import Top
from events.record import GENESIS
from replicator.backoff import Backoff
from replicator.board import Board
from replicator.bootstrap import applied_ends, ask, choose_incarnation, choose_lane, known_ends
from replicator.bound import collection_bound, held_down
from replicator.growth import Growth
from replicator.intake import Intake
from replicator.lag import LagMeter
from replicator.names import DcNames
from replicator.own_lane import OwnLanes
from replicator.pulling import PullServer
from replicator.remote import RemoteDurability
from replicator.wire import PullHeader, PullRequest, decode_answer, decode_request, encode_answer, encode_request
from stores.ports import Mark
from tests.support.replicated import until
from tests.support.signed_lanes import LANE, groups, top_of, verifier

NAMES = DcNames({"fra": 1, "ams": 2, "nyc": 3})


def board(now_ms: int = 1_000_000) -> Board:
    return Board({"ams": 2, "nyc": 3}, lambda: now_ms)


def ours(incarnation: int, worker: int = 0) -> int:
    return Lane(1, incarnation, worker).number


# -- names, wire


def test_lanes_have_names_that_read_back() -> None:
    for lane in (Lane(1, 0, 0), Lane(2, 15, 127), Lane(3, 4, 9)):
        assert NAMES.lane_number(NAMES.lane(lane.number)) == lane.number
    assert NAMES.lane(Lane(1, 1, 3).number) == "fra/1.3"
    assert NAMES.lane(Lane(9, 0, 0).number) == "dc9/0.0"
    for wrong in ("", "fra", "fra/1", "fra/16.0", "fra/0.128", "xxx/0.0", "fra/0.0.0", "fra/-1.0"):
        with pytest.raises(Invalid):
            NAMES.lane_number(wrong)


def test_a_pull_reads_back_and_nonsense_is_refused() -> None:
    request = PullRequest(dc="fra", durable={LANE: 7}, live=[LANE], wait_ms=5)
    assert decode_request(encode_request(request)) == request
    header = PullHeader(dc="ams", durable={LANE: 9}, applied={LANE: 8}, tops={LANE: (9, b"h" * 32)}, trimmed={4: 2})
    records = groups([2, 1])
    assert decode_answer(encode_answer(header, records)) == (header, records)
    for wrong in (b"", b"[]", b'{"dc": 1}', b'{"dc": "fra", "surprise": 1}'):
        with pytest.raises(Invalid):
            decode_request(wrong)
    whole = encode_answer(header, records)
    for broken in (b"", whole[:3], whole[:-1], b"\xff\xff\xff\xff" + whole[4:]):
        with pytest.raises(Corrupt):
            decode_answer(broken)


# -- backoff, lag


def test_backoff_doubles_up_to_its_bound_and_begins_again_after_a_success() -> None:
    always_most = Backoff(lambda n: b"\xff" * n)
    waits = [always_most.next_s() for _ in range(20)]
    assert waits == sorted(waits)
    assert waits[0] < 2 * limits.BACKOFF_MS_FIRST / 1000
    assert waits[-1] <= limits.BACKOFF_MS_MAX / 1000
    always_most.reset()
    assert always_most.next_s() == waits[0]
    assert Backoff(lambda n: bytes(n)).next_s() > 0


def test_lag_is_the_time_since_the_id_by_origin_over_the_newest_samples() -> None:
    meter = LagMeter()
    start_ms = EPOCH_MS + 1_000_000_000
    id = make_id(tick_at(start_ms), LANE)
    for lag_ms in range(1, 101):
        meter.note("fra", id, start_ms + lag_ms)
    meter.note("ams", id, start_ms - 50)
    found = meter.summary(start_ms + 100)
    assert found["fra"] == (100, 50, 100, 100)
    assert found["ams"] == (1, 0, 0, 0)
    for _ in range(limits.LAG_SAMPLES_MAX):
        meter.note("fra", id, start_ms + 7)
    assert meter.summary(start_ms + 100)["fra"] == (limits.LAG_SAMPLES_MAX, 7, 7, 7)


def test_a_lag_of_long_ago_is_not_told_as_the_present_one() -> None:
    meter = LagMeter()
    start_ms = EPOCH_MS + 1_000_000_000
    id = make_id(tick_at(start_ms), LANE)
    cut_ms = start_ms + 20_000
    meter.note("fra", id, cut_ms)
    meter.note("ams", id, cut_ms)
    later_ms = cut_ms + limits.LAG_WINDOW_MS
    assert meter.summary(later_ms)["fra"].max_ms == 20_000
    meter.note("fra", make_id(tick_at(later_ms), LANE), later_ms + 10)
    assert meter.summary(later_ms + 10) == {"fra": (1, 10, 10, 10)}, "and of ams nothing is known now"
    assert meter.noted("fra") == 2
    assert meter.since("fra", 0).max_ms == 20_000, "what is noted over time misses nothing"


# -- what others hold


async def test_remote_durability_waits_for_what_another_dc_holds_durably() -> None:
    peers = board()
    peers.note_link("ams")
    remote = RemoteDurability(peers)
    waiting = asyncio.create_task(remote.wait(LANE, 5, 5))
    await asyncio.sleep(0)
    peers.note("ams", {LANE: 4}, {LANE: 9}, {})
    await asyncio.sleep(0)
    assert not waiting.done(), "applied there is not durable there"
    peers.note("ams", {LANE: 5}, {}, {})
    assert await waiting
    assert await remote.wait(LANE, 5, 0)
    assert not await remote.wait(LANE, 6, 0.01)


async def test_remote_durability_gives_up_at_once_where_no_dc_is_reachable() -> None:
    peers = board()
    assert not await RemoteDurability(peers).wait(LANE, 1, 60)
    peers.note_link("ams", "no route")
    assert not await RemoteDurability(peers).wait(LANE, 1, 60)


async def test_the_waiters_for_remote_durability_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REMOTE_WAITERS_MAX", 1)
    peers = board()
    peers.note_link("ams")
    remote = RemoteDurability(peers)
    first = asyncio.create_task(remote.wait(LANE, 1, 5))
    await asyncio.sleep(0)
    assert not await remote.wait(LANE, 1, 60)
    peers.note("ams", {LANE: 1}, {}, {})
    assert await first


def test_the_bound_is_the_smallest_durable_frontier_of_all_dcs() -> None:
    peers = board()
    peers.note("ams", {LANE: 7}, {}, {})
    assert collection_bound({LANE: 9}, {}, peers, {LANE: 9}) == {LANE: 0}, "nyc was never heard of"
    peers.note("nyc", {LANE: 8}, {}, {})
    assert collection_bound({LANE: 9}, {}, peers, {LANE: 9}) == {LANE: 7}
    assert collection_bound({LANE: 9}, {}, peers, {LANE: 3}) == {LANE: 3}
    peers.note("nyc", {LANE: 2}, {}, {})
    assert collection_bound({LANE: 9}, {}, peers, {LANE: 9}) == {LANE: 2}, "a restored DC pulls it back down"


def test_parked_events_and_running_snapshots_hold_the_bound_down_in_every_dc() -> None:
    assert held_down({LANE: [6, 4], 5: []}, [{LANE: 8, 7: 2}]) == {LANE: 3, 7: 2}
    peers = board()
    peers.note("ams", {LANE: 9}, {}, {})
    peers.note("nyc", {LANE: 9}, {}, {LANE: 6})
    assert collection_bound({LANE: 9}, {}, peers, {LANE: 9}) == {LANE: 6}
    assert collection_bound({LANE: 9}, {LANE: 3}, peers, {LANE: 9}) == {LANE: 3}


# -- own lanes


async def test_a_peer_that_knows_more_of_our_lane_or_something_else_is_a_conflict() -> None:
    log = MemoryLog()
    records = groups([3])
    await log.open(LANE, b"me")
    await log.append(LANE, b"me", records)
    own = OwnLanes(log)
    other = groups([3], tag="other")
    assert await own.conflict({LANE}, {}) is None
    assert await own.conflict({LANE}, {LANE: (0, GENESIS)}) is None
    assert await own.conflict({LANE}, {LANE: (3, records[2].hash)}) is None
    assert await own.conflict({LANE}, {LANE: (2, records[1].hash)}) is None
    assert await own.conflict(set(), {LANE: (9, b"")}) is None, "not our live lane"
    for told, word in (((4, b"h"), "seq 4"), ((3, other[2].hash), "seq 3"), ((2, other[1].hash), "seq 2")):
        found = await own.conflict({LANE}, {LANE: told})
        assert found is not None
        assert found[0] == LANE
        assert word in found[1]


TOP = Top(5, 1, b"a" * 32)


@pytest.mark.parametrize(
    ("meta", "own", "others", "restored", "incarnation"),
    [
        (None, {}, [], False, 0),
        (None, {}, [{Lane(2, 0, 0).number: TOP}], False, 0),  # only others' lanes are known
        ("0", {ours(0): TOP}, [], False, 0),
        ("0", {ours(0): TOP}, [{ours(0): TOP._replace(id=0)}], False, 0),
        ("0", {ours(0): TOP}, [{ours(0): TOP._replace(seq=3)}], False, 0),
        ("0", {ours(0): TOP}, [{ours(0): TOP._replace(seq=6)}], False, 1),  # a peer knows more
        ("0", {ours(0): TOP}, [{}, {ours(0): TOP._replace(hash=b"b" * 32)}], False, 1),  # or something else
        ("0", {ours(0): TOP}, [{ours(0, 7): TOP}], False, 1),  # or a lane that we lost whole
        ("0", {ours(0): TOP}, [{ours(2): TOP}], False, 3),  # an incarnation that we forgot
        (None, {}, [{ours(0): TOP}], False, 1),  # everything lost
        (None, {ours(1): TOP}, [], False, 2),  # the stores lost, the log not
        ("1", {}, [], False, 2),  # the log lost
        ("1", {ours(0): TOP}, [], False, 2),  # the end of the log lost
        (
            "1",
            {ours(0): TOP, ours(1): TOP},
            [{ours(0): TOP._replace(seq=9)}],
            False,
            1,
        ),  # old lanes are pulled
        ("0", {ours(0): TOP}, [], True, 1),
    ],
)
def test_the_incarnation_counts_up_whenever_the_log_may_have_lost_its_end(
    meta: str | None, own: Mapping[int, Top], others: list[Mapping[int, Top]], restored: bool, incarnation: int
) -> None:
    assert choose_incarnation(1, meta, own, others, restored=restored).incarnation == incarnation


@pytest.mark.parametrize(
    ("mark", "incarnation"),
    [
        (Mark(5, 1), 0),
        (Mark(3, 7), 0),  # a store follows the log
        (Mark(6, 2), 1),  # a store has applied what the log does not hold any more
        (Mark(5, 2), 1),  # or something else
    ],
)
def test_stores_that_are_ahead_of_the_log_tell_that_it_has_lost_its_end(mark: Mark, incarnation: int) -> None:
    """Written on, the same places would be used again, and what stands there passed over as applied."""
    own = {ours(0): TOP}
    assert choose_incarnation(1, "0", own, [applied_ends(own, {ours(0): mark})]).incarnation == incarnation


def test_after_the_last_incarnation_a_dc_needs_a_new_number() -> None:
    assert choose_incarnation(1, "15", {ours(15): TOP}, []).incarnation == 15
    with pytest.raises(ConfigError, match="new number"):
        choose_incarnation(1, "15", {ours(15): TOP}, [], restored=True)


async def test_those_who_do_not_answer_in_time_are_left_out() -> None:
    class Source:
        def __init__(self, answer: "Mapping[int, Top] | Exception | None") -> None:
            self._answer = answer

        async def tops(self) -> Mapping[int, Top]:
            if self._answer is None:
                await asyncio.Event().wait()
            if isinstance(self._answer, Exception):
                raise self._answer
            assert self._answer is not None
            return self._answer

        async def read(self, lane: int, after: int, limit: int) -> list[object]:
            return []

    sources = {"ams": Source({LANE: TOP}), "nyc": Source(None), "archive": Source(LogUnavailable())}
    assert await ask(sources, 0.05) == {"ams": {LANE: TOP}}  # type: ignore[arg-type]


async def test_what_another_process_of_ours_writes_meanwhile_is_no_end_that_we_have_lost() -> None:
    """Two overlap when a datacenter is upgraded; each time would cost one of sixteen incarnations."""
    log = MemoryLog()
    lane = groups([1] * 4)
    await log.store(lane[:1])

    class Peer:
        """It has everything at once."""

        async def tops(self) -> Mapping[int, Top]:
            await log.store(lane[1:3])
            return {LANE: top_of(lane[2])}

    async def applied() -> Mapping[int, Mark]:
        await log.store(lane[3:])
        return {LANE: Mark(4, lane[3].id)}

    number = Lane.of(LANE).dc
    ends = await known_ends(log, {"ams": Peer()}, [applied], 1.0)
    assert ends.own == {LANE: top_of(lane[3])}
    assert choose_incarnation(number, "0", ends.own, ends.others).incarnation == Lane.of(LANE).incarnation


async def test_a_store_that_is_ahead_of_the_log_is_among_those_who_know_more() -> None:
    log = MemoryLog()
    (first,) = groups([1])
    await log.store([first])

    async def applied() -> Mapping[int, Mark]:
        return {LANE: Mark(2, first.id + 1)}

    ends = await known_ends(log, {}, [applied], 1.0)
    assert [one[LANE].seq for one in ends.others] == [2]


# -- intake


async def test_only_what_is_stored_moves_the_durable_frontier() -> None:
    class Log(MemoryLog):
        failing = True

        async def store(self, records: object) -> None:
            if self.failing:
                raise LogUnavailable
            await super().store(records)  # type: ignore[arg-type]

    log = Log()
    intake = Intake(log, verifier(), frozenset)
    await intake.load()
    lane = groups([2, 2])
    with pytest.raises(LogUnavailable):
        await intake.take(lane)
    assert intake.top(LANE).seq == 0
    assert intake.have() == {}
    log.failing = False
    assert await intake.take(lane) == 4
    assert intake.top(LANE) == top_of(lane[-1])
    assert await log.read(LANE, 0, 10) == lane


async def test_what_became_durable_is_counted_by_the_way_whose_bringing_made_it_so() -> None:
    log = MemoryLog()
    intake = Intake(log, verifier(), frozenset)
    await intake.load()
    lane, other = groups([2, 2, 2]), groups([1], lane=ours(0, 1))
    await intake.take(lane[2:4], "feed")
    assert intake.came == {}, "a hole is before it"
    await intake.take(lane[:2] + other)
    await intake.take(lane, "feed")
    await intake.take(lane[4:], "repair")
    assert intake.came == {"pull": 5, "feed": 2}
    assert intake.stored == 7


async def test_a_live_own_lane_never_enters_from_outside() -> None:
    log = MemoryLog()
    intake = Intake(log, verifier(), lambda: frozenset({LANE}))
    await intake.load()
    assert await intake.take(groups([2])) == 0
    assert intake.refused == 2
    assert await log.tops() == {}


async def test_a_fork_found_against_the_log_alone_stops_only_its_lane() -> None:
    log = MemoryLog()
    ours_, other_lane = groups([1] * 5), groups([2], lane=ours(0, 1))
    await log.store(ours_)
    told: list[tuple[int, str]] = []
    intake = Intake(log, verifier(), frozenset, lambda lane, reason: told.append((lane, reason)))
    await intake.load()
    await intake.take(groups([1] * 5, tag="other") + other_lane)
    assert [lane for lane, _ in told] == [LANE]
    assert intake.lanes()[LANE].forked
    assert intake.top(ours(0, 1)).seq == 2


def test_the_first_lane_of_the_incarnation_whose_end_can_be_followed_is_written_on() -> None:
    def lane(worker: int, incarnation: int = 3) -> int:
        return Lane(1, incarnation, worker).number

    def chosen(ends: dict[int, int], leased: Sequence[int] = ()) -> int:
        own = {lane: Top(1, id, b"") for lane, id in ends.items()}
        return choose_lane(1, 3, own, lambda id: id < 100, leased)

    assert chosen({}) == lane(0)
    assert chosen({lane(0): 99, lane(1): 5}) == lane(0), "the time of what was ahead has come"
    assert chosen({lane(0): 100}) == lane(1)
    assert chosen({lane(0): 100, lane(1): 100, lane(2, incarnation=2): 100}) == lane(2)
    assert chosen({}, leased=[0, 1, 3]) == lane(2), "another process has those numbers"
    with pytest.raises(ClockRefused):
        chosen({lane(worker): 100 for worker in range(limits.WORKER_MAX + 1)})
    with pytest.raises(Conflict, match="all 128 worker numbers"):
        chosen({}, leased=range(limits.WORKER_MAX + 1))


# -- serving pulls


async def serving(log: MemoryLog) -> tuple[PullServer, Growth, "asyncio.Task[None]"]:
    growth = Growth(log, bytes)
    task = asyncio.create_task(growth.run())
    await until(lambda: growth.error == "")
    server = PullServer(
        dc="ams", names=NAMES, event_log=log, growth=growth, board=Board({"fra": 1, "nyc": 3}, lambda: 0),
        applied=dict, held=dict, wall_ms=lambda: 0, steady_ms=lambda: 0,
    )  # fmt: skip
    return server, growth, task


async def test_a_pull_gives_all_lanes_but_the_askers_live_ones_and_shows_their_ends() -> None:
    log = MemoryLog()
    live, old, other = ours(1), ours(0), Lane(3, 0, 0).number
    for lane in (live, old, other):
        await log.store(groups([3], lane=lane))
    server, _, task = await serving(log)
    header, records = await server.answer(PullRequest(dc="fra", durable={other: 1}, live=[live]))
    assert {(record.lane, record.seq) for record in records} == {(old, 1), (old, 2), (old, 3), (other, 2), (other, 3)}
    assert header.durable == {live: 3, old: 3, other: 3}
    assert header.tops == {live: (3, groups([3], lane=live)[-1].hash)}
    header, records = await server.answer(PullRequest(dc="fra", live=[live], lazy=[3], skip=[old]))
    assert records == []
    with pytest.raises(Invalid):
        await server.answer(PullRequest(dc="xxx"))
    task.cancel()


async def test_pulls_are_bounded_in_records_and_bytes_and_every_lane_gets_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = MemoryLog()
    lanes = [ours(0, worker) for worker in range(3)]
    for lane in lanes:
        await log.store(groups([10], lane=lane))
    server, _, task = await serving(log)
    header, records = await server.answer(PullRequest(dc="nyc", limit=7))
    assert len(records) == 7
    assert header.more
    first = set()
    for _ in lanes:
        _, records = await server.answer(PullRequest(dc="nyc", limit=1))
        first.add(records[0].lane)
    assert first == set(lanes)
    monkeypatch.setattr(limits, "PULL_BYTES_MAX", 300)
    header, records = await server.answer(PullRequest(dc="nyc"))
    assert 0 < len(records) < 5
    assert header.more
    task.cancel()


async def test_a_long_poll_ends_with_the_growth_of_a_wanted_lane_and_not_before() -> None:
    log = MemoryLog()
    server, growth, task = await serving(log)
    waiting = asyncio.create_task(server.answer(PullRequest(dc="fra", lazy=[3], wait_ms=5000)))
    await until(lambda: server.waiting == 1)
    await log.store(groups([1], lane=Lane(3, 0, 0).number))
    await until(lambda: len(growth.tops) == 1)
    assert not waiting.done()
    await log.store(groups([1], lane=ours(0)))
    async with asyncio.timeout(5):
        _, records = await waiting
    assert [record.lane for record in records] == [ours(0)]
    assert await server.answer(PullRequest(dc="fra", lazy=[3], durable={ours(0): 1}, wait_ms=1)) is not None
    task.cancel()


async def test_trimmed_lanes_are_named_and_the_others_still_given() -> None:
    log = MemoryLog()
    await log.store(groups([1] * 5))
    await log.store(groups([2], lane=ours(0, 1)))
    await log.trim(LANE, 3)
    server, _, task = await serving(log)
    header, records = await server.answer(PullRequest(dc="nyc", durable={LANE: 1}))
    assert header.trimmed == {LANE: 4}
    assert {record.lane for record in records} == {ours(0, 1)}
    assert not header.more
    task.cancel()


async def test_a_log_that_was_gone_is_followed_again() -> None:
    class Log(MemoryLog):
        gone = True

        async def tops(self) -> dict[int, Top]:
            if self.gone:
                raise LogUnavailable("gone")
            return await super().tops()

    log = Log()
    growth = Growth(log, bytes)
    task = asyncio.create_task(growth.run())
    await until(lambda: "gone" in growth.error)
    log.gone = False
    await log.store(groups([1]))
    assert await growth.until(lambda: growth.frontier() == {LANE: 1}, 5)
    assert growth.error == ""
    task.cancel()
