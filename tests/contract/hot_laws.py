"""Random histories in random batches, with repeats, against the reference. Every HotStore passes them."""

import asyncio
from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.ids import make_id
from stores.ports import Feed, HotBatch, HotStore, Mark, Recent, Stale
from tests.contract.hot import BASE, EPOCH, FRA, NYC, RECENT_KEPT, SIN, UPDATES_KEPT, write
from tests.contract.hot_reference import Reference

LANES = (FRA, NYC, SIN)
USERS = ("Ua", "Ub", "Uc")
CONVERSATIONS = ("D1", "G2")
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors, HealthCheck.too_slow]


class Step(NamedTuple):
    """One event of a lane; small numbers so that what they name often meets."""

    kind: str
    lane: int
    user: int
    conversation: int
    target: int
    pause: int
    recipients: tuple[bool, bool, bool]
    ends_batch: bool
    repeats: bool
    looks: bool
    """Somebody reads after the batch: what is put off until then must not show."""


small = st.integers(0, 7)
steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(["send"] * 5 + ["copy", "recall", "hide", "read", "note", "back", "join"]),
        st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), small, st.integers(1, 4),
        st.tuples(st.booleans(), st.booleans(), st.booleans()), st.booleans(), st.booleans(), st.booleans(),
    ),
    min_size=20,
    max_size=70,
)  # fmt: skip


class History:
    """Turns steps into batches as `apply` would make them."""

    def __init__(self) -> None:
        self.ticks = [BASE, BASE + 3, BASE + 9]
        self.seqs = [0, 0, 0]
        self.sent: list[Recent] = []
        self.feeds: list[Feed] = []
        self.batch = HotBatch(EPOCH, {})

    def add(self, step: Step) -> None:
        self.ticks[step.lane] += step.pause
        lane = LANES[step.lane]
        id = make_id(self.ticks[step.lane], lane)
        before = self.batch.moves.get(lane, (self.seqs[step.lane], Mark(0, 0)))[0]
        self.seqs[step.lane] += 1
        moves = {**self.batch.moves, lane: (before, Mark(self.seqs[step.lane], id))}
        self.batch = self._with(step, id)._replace(moves=moves)

    def _with(self, step: Step, id: int) -> HotBatch:
        batch, user, conversation = self.batch, USERS[step.user], CONVERSATIONS[step.conversation]
        owners = [owner for owner, wanted in zip(USERS, step.recipients, strict=True) if wanted]
        known = self.sent[-1 - step.target] if len(self.sent) > step.target else None
        if step.kind in ("send", "copy"):
            original = known if step.kind == "copy" and known else Recent(conversation, id, user, id % 1_000_003, True)
            recent = replace(original, message=id)
            self.sent.append(recent)
            fed = [Feed(owner, id, b"%d" % id, recent.conversation) for owner in owners]
            self.feeds += fed
            return batch._replace(feeds=[*batch.feeds, *fed], recents=[*batch.recents, recent])
        message = known.message if known else id
        where = known.conversation if known else conversation
        if step.kind == "recall":
            return batch._replace(recalls=[*batch.recalls, (where, message)])
        if step.kind == "hide":
            return batch._replace(hides=[*batch.hides, (user, where, message)])
        if step.kind == "read":
            return batch._replace(marks=[*batch.marks, (user, where, message & 0xFFFF, message)])
        if step.kind == "join":
            return batch._replace(tops=[*batch.tops, (user, conversation, id)])
        if step.kind == "back" and self.feeds:
            some = self.feeds[-1 - 3 * step.target :]
            return batch._replace(back_feeds=[*batch.back_feeds, *(replace(feed, owner=user) for feed in some)])
        return batch._replace(feeds=[*batch.feeds, *(Feed(owner, id, b"note") for owner in owners)])

    def take(self) -> HotBatch:
        batch, self.batch = self.batch, HotBatch(EPOCH, {})
        return batch


async def assert_equal(hot: HotStore, reference: Reference, history: History) -> None:
    messages = [recent.message for recent in history.sent] or [make_id(BASE, FRA)]
    probes = [messages[0], messages[len(messages) // 2], messages[-1], max(messages)]
    for user in USERS:
        pts = len(reference.fed[user])
        kept = reference.kept(user)
        assert await hot.pts([user]) == [pts]
        assert await hot.updates(user, 0, 1_000) == (pts - len(kept) + 1, [feed.entry for feed in kept], pts)
        assert await hot.trimmed(user) == reference.trimmed(user)
        assert await hot.dialogs(user, [], [], None, 9) == reference.dialogs(user)
        for conversation in CONVERSATIONS:
            for joined_at in (0, probes[1]):
                wanted = reference.unread(user, conversation, joined_at)
                assert await hot.unread(user, [(conversation, joined_at)]) == [wanted], (user, conversation)
            ages = {pts, pts - 1, pts - UPDATES_KEPT // 2, pts - UPDATES_KEPT, pts - UPDATES_KEPT - 2}
            asked = [(message, at) for message in probes for at in ages]
            answers = await asyncio.gather(*(hot.seen(user, conversation, m, max(0, at)) for m, at in asked))
            for (message, at), found in zip(asked, answers, strict=True):
                if at >= reference.base(user):
                    wanted_ids = reference.seen(user, conversation, message, at)
                    assert found == wanted_ids, (user, conversation, message, at)
                else:  # too old to know it all, but never more than was delivered
                    given = reference.delivered(user, conversation, message, max(0, at))
                    assert all(id <= given.get(lane, 0) for lane, id in found.items())


async def assert_looks(hot: HotStore, reference: Reference, user: str) -> None:
    assert await hot.dialogs(user, [], [], None, 9) == reference.dialogs(user)
    for conversation in CONVERSATIONS:
        assert await hot.unread(user, [(conversation, 0)]) == [reference.unread(user, conversation, 0)]


def laws(histories: int, orders: int) -> type:
    """With so many random ones of each."""

    class HotLaws:
        @settings(max_examples=histories, deadline=None, suppress_health_check=SHARED)
        @given(steps)
        async def test_any_history_in_any_grouping_equals_the_reference(self, hot: HotStore, taken: list[Step]) -> None:
            await hot.begin(EPOCH)
            await hot.publish_epoch(EPOCH, {}, {})
            history, reference = History(), Reference(UPDATES_KEPT, RECENT_KEPT)
            for n, step in enumerate(taken):
                history.add(step)
                if step.ends_batch or n == len(taken) - 1:
                    batch = history.take()
                    await hot.apply(batch)
                    reference.apply(batch)
                    if step.looks:
                        await assert_looks(hot, reference, USERS[step.user])
                    if step.repeats:
                        try:
                            await hot.apply(batch)
                        except Stale:
                            continue
                        raise AssertionError("a batch was taken twice")
            await assert_equal(hot, reference, history)

        @settings(max_examples=orders, deadline=None, suppress_health_check=SHARED)
        @given(st.data())
        async def test_unread_is_the_same_in_any_order_of_arrival(self, hot: HotStore, data: st.DataObject) -> None:
            await hot.begin(EPOCH)
            await hot.publish_epoch(EPOCH, {}, {})
            ids = data.draw(st.lists(st.tuples(st.integers(0, 12), st.sampled_from(LANES)), unique=True, max_size=14))
            parts: list[dict[str, object]] = [
                {"recents": [Recent("D1", make_id(BASE + tick, lane), "Ua", tick % 9, True)]} for tick, lane in ids
            ]
            picked = st.lists(st.sampled_from(ids), max_size=3) if ids else st.just([])
            for tick, lane in data.draw(picked):
                parts.append({"recalls": [("D1", make_id(BASE + tick, lane))]})
            for tick, lane in data.draw(picked):
                parts.append({"marks": [("Ub", "D1", lane, make_id(BASE + tick, lane))]})
            reference = Reference(UPDATES_KEPT, RECENT_KEPT)
            for part in data.draw(st.permutations(parts)):
                await write(hot, **part)
                reference.apply(HotBatch(EPOCH, {}, **part))  # type: ignore[arg-type]
            assert await hot.unread("Ub", [("D1", 0)]) == [reference.unread("Ub", "D1", 0)]

    return HotLaws


HotLaws = laws(60, 25)
