"""The inbox: whatever comes, in whatever order, what leaves it is exactly the lane."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.ids import Lane, make_id
from events.record import KIND_EVENT, Record, chain
from replicator.inbox import Inbox, LaneInbox
from tests.support.signed_lanes import EMPTY, LANE, groups, top_of, verifier

VERIFIER = verifier()
SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=8)


def inbox() -> LaneInbox:
    return LaneInbox(LANE, EMPTY, VERIFIER)


@settings(max_examples=150, deadline=None)
@given(SIZES, st.randoms(use_true_random=False), st.integers(1, 40))
def test_any_order_repetition_and_loss_with_retransmission_gives_exactly_the_lane(
    sizes: list[int], chance: random.Random, records_max: int
) -> None:
    lane = groups(sizes)
    records_max = max(records_max, max(sizes))
    box = Inbox(VERIFIER, records_max)
    box.lane(LANE, EMPTY)
    got: list[Record] = []
    for _ in range(1000):
        have = box.lanes[LANE].have
        sent = [record for record in lane if record.seq > have]
        sent = [record for record in sent if chance.random() < 0.7] or sent[:1]
        sent += [chance.choice(lane) for _ in range(chance.randrange(3))]
        if chance.random() < 0.5:
            chance.shuffle(sent)
        for record in sent:
            box.offer(record)
            assert box.size <= records_max
        got += box.drain(LANE)
        assert box.size == box.lanes[LANE].size >= 0
        if len(got) == len(lane):
            break
    assert got == lane
    assert box.size == 0
    assert not box.lanes[LANE].forked
    assert box.lanes[LANE].bad == 0


@settings(max_examples=100, deadline=None)
@given(SIZES, SIZES, st.randoms(use_true_random=False))
def test_what_a_liar_adds_never_gets_in_and_does_not_keep_the_truth_out(
    sizes: list[int], lies: list[int], chance: random.Random
) -> None:
    lane = groups(sizes)
    false = [
        *groups(lies, tag="lie", seed=b"x" * 32),
        *(replace(record, signature=b"") for record in groups(lies, tag="unsigned lie")),
    ]
    box = inbox()
    got: list[Record] = []
    for _ in range(200):
        have = box.have
        mixed = false + [record for record in lane if record.seq > have]
        chance.shuffle(mixed)
        for record in mixed:
            box.offer(record)
        got += box.drain()
        assert got == lane[: len(got)]
        if len(got) == len(lane):
            break
        # One honest source in order, as a pull brings it.
        for record in lane:
            if record.seq > box.have:
                box.offer(record)
        got += box.drain()
    assert got == lane
    assert not box.forked


def test_records_count_only_when_a_signed_one_follows() -> None:
    lane = groups([3])
    box = inbox()
    for record in lane[:2]:
        box.offer(record)
    assert box.drain() == []
    assert box.have == 2
    box.offer(lane[2])
    assert box.drain() == lane


def test_a_wrong_signature_is_refused_and_the_right_one_still_taken() -> None:
    lane = groups([2])
    box = inbox()
    box.offer(lane[0])
    box.offer(replace(lane[1], signature=groups([2], seed=b"x" * 32)[1].signature))
    assert box.drain() == []
    assert box.bad == 1
    box.offer(lane[1])
    assert box.drain() == lane


def test_only_the_last_signature_of_a_run_is_checked_and_vouches_for_all() -> None:
    checked = []

    class Counting:
        def verify(self, record: Record) -> None:
            checked.append(record.seq)
            VERIFIER.verify(record)

    lane = groups([1] * 20)
    box = LaneInbox(LANE, EMPTY, Counting())  # type: ignore[arg-type]
    for record in lane:
        box.offer(record)
    assert box.drain() == lane
    assert checked == [20]


def test_two_signed_histories_at_proven_places_are_a_fork_and_stop_the_lane() -> None:
    ours = groups([2, 2])
    theirs = groups([2, 2], tag="other")
    box = inbox()
    for record in ours:
        box.offer(record)
    assert box.drain() == ours
    for record in theirs:
        box.offer(record)
    assert "part at or before seq 2" in box.forked
    box.offer(groups([1], after=top_of(ours[-1]))[0])
    assert box.drain() == []
    assert box.size == 0


def test_two_signed_histories_ahead_of_the_top_are_a_fork_too() -> None:
    box = inbox()
    for record in groups([2], tag="a") + groups([2], tag="b"):
        box.offer(record)
    assert box.drain() == []
    assert box.forked


def test_a_second_history_that_nobody_signed_is_no_fork() -> None:
    ours = groups([2, 2])
    box = inbox()
    for record in ours:
        box.offer(record)
    assert box.drain() == ours
    for record in groups([2, 2], tag="other", seed=b"x" * 32):
        box.offer(record)
    assert not box.forked
    assert box.bad == 2


def test_the_same_again_is_no_fork() -> None:
    ours = groups([2, 2])
    box = inbox()
    for record in ours + ours:
        box.offer(record)
    assert box.drain() == ours
    for record in ours:
        box.offer(record)
    assert (box.forked, box.bad, box.size) == ("", 0, 0)


def test_an_id_of_another_lane_or_out_of_order_never_gets_in() -> None:
    def one(id: int) -> Record:
        body = b"x"
        hash = chain(EMPTY.hash, LANE, 1, id, KIND_EVENT, body)
        record = replace(groups([1])[0], id=id, body=body, hash=hash)
        from events.signing import Signer
        from tests.support.signed_lanes import SEED

        return replace(record, signature=Signer(SEED).sign(hash))

    box = inbox()
    box.offer(one(make_id(5, Lane(2, 0, 0).number)))
    assert box.drain() == []
    assert box.bad == 1
    box = LaneInbox(LANE, EMPTY._replace(id=make_id(9, LANE)), VERIFIER)
    box.offer(one(make_id(5, LANE)))
    assert box.drain() == []


def test_a_full_inbox_drops_what_lies_furthest_ahead() -> None:
    lane = groups([1] * 10)
    box = Inbox(VERIFIER, records_max=3)
    box.lane(LANE, EMPTY)
    for record in reversed(lane[1:]):
        box.offer(record)
    assert box.size == 3
    assert box.dropped == 6
    box.offer(lane[0])
    assert box.drain(LANE) == lane[:3]


def test_a_lane_begins_behind_a_seeded_top() -> None:
    lane = groups([3, 3])
    box = LaneInbox(LANE, top_of(lane[2]), VERIFIER)
    for record in lane[3:]:
        box.offer(record)
    assert box.drain() == lane[3:]


def test_when_hints_lead_nowhere_everything_after_the_top_is_wanted_again() -> None:
    lane = groups([3])
    box = inbox()
    for lie in groups([3], tag="lie")[:2]:
        box.offer(lie)
    assert box.have == 2
    box.offer(lane[2])
    assert box.have == 0
    for record in lane:
        box.offer(record)
    assert box.drain() == lane


def test_liars_who_come_first_do_not_keep_the_truth_out() -> None:
    truth = groups([1])
    box = inbox()
    for number in range(9):
        box.offer(replace(groups([1], tag=f"lie {number}")[0], signature=b""))
    box.offer(truth[0])
    assert box.size <= 4
    assert box.drain() == truth
