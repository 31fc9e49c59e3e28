"""What every HotStore promises. An adapter's test module subclasses this and gives a `hot` fixture: a store with
`UPDATES_KEPT` and the like as its bounds, epoch 7 published, empty."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from core import limits
from core.ids import make_id
from stores.ports import Change, EpochLost, Feed, HotBatch, HotStore, Mark, Recent, Result, Stale, Unread

UPDATES_KEPT = 12
"""Less than LIST_TRIM_SHARE: what is beyond it is trimmed one by one."""
ROOMY = 3 * limits.LIST_TRIM_SHARE
"""The bounds of the store `roomy`, of updates and of results: what is beyond them is trimmed in threes."""
RECENT_KEPT = 6
RESULTS_KEPT = 5
SYSTEM_RESULTS_KEPT = 9
BOUNDS = {
    "updates_kept": UPDATES_KEPT,
    "recent_kept": RECENT_KEPT,
    "results_kept": RESULTS_KEPT,
    "system_results_kept": SYSTEM_RESULTS_KEPT,
}
EPOCH = 7
FRA, NYC, SIN = 645, 646, 65_535
BASE = (1 << 46) - 7
"""Ids of this size don't survive a double; and the score (10 ms) changes between tick BASE + 6 and BASE + 7."""


def at(tick: int, lane: int = FRA) -> int:
    return make_id(BASE + tick, lane)


def feed(owner: str, id: int, conversation: str = "") -> Feed:
    return Feed(owner, id, b"\x00\xff" + str(id).encode(), conversation)


def feeds(owner: str, ids: Sequence[int], conversation: str = "") -> list[Feed]:
    return [feed(owner, id, conversation) for id in ids]


def entries(ids: Sequence[int]) -> list[bytes]:
    return [b"\x00\xff" + str(id).encode() for id in ids]


def recent(id: int, sender: str = "Ua", conversation: str = "D1", class_: int | None = None) -> Recent:
    return Recent(conversation, id, sender, (id ^ 0x5A5A) if class_ is None else class_, True)


async def write(hot: HotStore, **parts: object) -> dict[str, int]:
    """A batch that moves no lane: always welcome."""
    return await hot.apply(HotBatch(EPOCH, {}, **parts))  # type: ignore[arg-type]


def done(n: int) -> Result:
    """Of the user's n-th write, under a key of its own."""
    return Result("Ua", f"k{n}", at(n), "message.send", b"f", {"n": n})


async def count(hot: HotStore, user: str = "Ub", conversation: str = "D1", joined_at: int = 0) -> Unread:
    return (await hot.unread(user, [(conversation, joined_at)]))[0]


class EpochContract:
    async def test_nothing_is_served_while_an_epoch_is_built(self, hot: HotStore) -> None:
        await hot.begin(8)
        assert await hot.epoch() is None
        await hot.apply(HotBatch(8, {}, feeds=[feed("Ua", at(1))], tops=[("Ua", "D1", at(1))]))
        for read in (
            hot.frontier(), hot.updates("Ua", 0, 9), hot.trimmed("Ua"), hot.pts(["Ua"]), hot.tops("Ua", ["D1"]),
            hot.dialogs("Ua", [], [], None, 9), hot.unread("Ua", [("D1", 0)]), hot.seen("Ua", "D1", at(9), 9),
            hot.result("Ua", "k"), hot.results_of([("Ua", "k")]), hot.apply(HotBatch(EPOCH, {})),
        ):  # fmt: skip
            with pytest.raises(EpochLost):
                await read
        await hot.publish_epoch(8, {FRA: Mark(5, at(0))}, {NYC: at(0, NYC)})
        assert await hot.epoch() == 8
        assert await hot.frontier() == {FRA: Mark(5, at(0))}
        assert (await hot.updates("Ua", 0, 9)).entries == entries([at(1)])
        assert await hot.trimmed("Ua") == await hot.trimmed("Unew") == {NYC: at(0, NYC)}

    async def test_begin_empties_and_forgets_the_frontier(self, hot: HotStore) -> None:
        await hot.apply(HotBatch(EPOCH, {FRA: (0, Mark(1, at(1)))}, feeds=[feed("Ua", at(1))]))
        await hot.begin(8)
        await hot.publish_epoch(8, {}, {})
        assert await hot.frontier() == {}
        assert await hot.pts(["Ua"]) == [0]

    async def test_only_the_epoch_that_is_built_can_be_published(self, hot: HotStore) -> None:
        with pytest.raises(EpochLost):
            await hot.publish_epoch(8, {}, {})
        await hot.begin(8)
        await hot.begin(9)
        for stale in (hot.publish_epoch(8, {}, {}), hot.apply(HotBatch(8, {}))):
            with pytest.raises(EpochLost):
                await stale
        await hot.publish_epoch(9, {FRA: Mark(1, at(1))}, {})
        await hot.apply(HotBatch(9, {FRA: (1, Mark(2, at(2)))}))
        await hot.publish_epoch(9, {FRA: Mark(1, at(1))}, {})
        assert await hot.frontier() == {FRA: Mark(2, at(2))}, "a repeated publish must not turn the frontier back"

    async def test_a_batch_is_taken_only_where_its_lanes_stand(self, hot: HotStore) -> None:
        first = HotBatch(EPOCH, {FRA: (0, Mark(2, at(2))), NYC: (0, Mark(1, at(1, NYC)))}, feeds=[feed("Ua", at(2))])
        assert await hot.apply(first) == {"Ua": 1}
        for other in (
            first,
            HotBatch(EPOCH, {FRA: (1, Mark(3, at(3)))}, feeds=[feed("Ua", at(3))]),
            HotBatch(EPOCH, {FRA: (2, Mark(3, at(3))), NYC: (2, Mark(3, at(3, NYC)))}, feeds=[feed("Ua", at(3))]),
            HotBatch(EPOCH, {SIN: (1, Mark(2, at(3, SIN)))}, feeds=[feed("Ua", at(3))]),
        ):
            with pytest.raises(Stale) as stale:
                await hot.apply(other)
            assert stale.value.frontier == {FRA: Mark(2, at(2)), NYC: Mark(1, at(1, NYC))}
        assert await hot.pts(["Ua"]) == [1]
        assert await hot.frontier() == {FRA: Mark(2, at(2)), NYC: Mark(1, at(1, NYC))}


class UpdatesContract:
    async def test_pts_counts_each_owners_updates(self, hot: HotStore) -> None:
        assert await write(hot, feeds=[*feeds("Ua", [at(1), at(2)]), feed("Ub", at(2)), feed("C7", at(2))]) == {
            "Ua": 2, "Ub": 1, "C7": 1,
        }  # fmt: skip
        assert await write(hot, feeds=[feed("Ub", at(3))]) == {"Ub": 2}
        assert await hot.pts(["Ub", "Ua", "Unone"]) == [2, 2, 0]

    async def test_updates_are_read_from_a_pts_on(self, hot: HotStore) -> None:
        ids = [at(n) for n in range(1, 6)]
        await write(hot, feeds=feeds("Ua", ids))
        assert await hot.updates("Ua", 0, 2) == (1, entries(ids[:2]), 5)
        assert await hot.updates("Ua", 3, 100) == (4, entries(ids[3:]), 5)
        assert await hot.updates("Ua", 5, 100) == (6, [], 5)
        assert await hot.updates("Ua", 0, 0) == (1, [], 5)
        assert await hot.updates("Unone", 0, 100) == (1, [], 0)

    async def test_old_updates_are_trimmed_and_named_per_lane(self, hot: HotStore) -> None:
        ids = [at(1), at(9, NYC), at(2), at(3)] + [at(n) for n in range(10, 10 + UPDATES_KEPT - 1)]
        assert await write(hot, feeds=feeds("Ua", ids, "D1")) == {"Ua": len(ids)}
        assert await hot.updates("Ua", 0, 100) == (4, entries(ids[3:]), len(ids))
        assert await hot.trimmed("Ua") == {FRA: at(2), NYC: at(9, NYC)}
        await write(hot, feeds=[feed("Ua", at(50))])
        assert await hot.trimmed("Ua") == {FRA: at(3), NYC: at(9, NYC)}
        assert (await hot.updates("Ua", 0, 100)).first == 5
        assert await hot.pts(["Ua"]) == [len(ids) + 1]

    async def test_a_batch_beyond_the_bound_keeps_the_newest(self, hot: HotStore) -> None:
        ids = [at(n) for n in range(2_500)]
        assert await write(hot, feeds=feeds("Ua", ids)) == {"Ua": 2_500}
        assert await hot.updates("Ua", 0, 100) == (2_501 - UPDATES_KEPT, entries(ids[-UPDATES_KEPT:]), 2_500)
        assert await hot.trimmed("Ua") == {FRA: at(2_499 - UPDATES_KEPT)}

    async def test_a_list_is_trimmed_in_steps(self, roomy: HotStore) -> None:
        ids = [at(n) for n in range(1, ROOMY + 6)]
        await write(roomy, feeds=feeds("Ua", ids[:ROOMY], "D1"))
        assert (await roomy.updates("Ua", 0, 1)).first == 1
        for n, first in enumerate((5, 5, 5, 5, 9), ROOMY):
            assert await write(roomy, feeds=[feed("Ua", ids[n], "D1")]) == {"Ua": n + 1}
            assert await roomy.updates("Ua", 0, ROOMY) == (first, entries(ids[first - 1 : n + 1]), n + 1)
            assert await roomy.trimmed("Ua") == {FRA: ids[first - 2]}
            # Where a message stands is known by its pts, also of one that was trimmed.
            assert await roomy.seen("Ua", "D1", ids[n], n + 1) == {FRA: ids[n]}
            assert await roomy.seen("Ua", "D1", ids[n], n) == {FRA: ids[n - 1]}

    async def test_what_is_back_fed_is_there_once(self, hot: HotStore) -> None:
        await write(hot, feeds=feeds("Ua", [at(5), at(6)], "D1"))
        assert await write(hot, back_feeds=feeds("Ua", [at(5), at(3), at(6), at(3)], "D1")) == {"Ua": 3}
        assert await write(hot, back_feeds=feeds("Ua", [at(3)], "D1")) == {}
        assert await write(hot, feeds=[feed("Ua", at(8))], back_feeds=feeds("Ua", [at(8), at(1)])) == {"Ua": 5}
        assert (await hot.updates("Ua", 0, 9)).entries == entries([at(5), at(6), at(3), at(8), at(1)])

    async def test_an_event_with_several_updates_is_back_fed_whole_and_once(self, hot: HotStore) -> None:
        updates = [Feed("Ua", at(3), b"chat"), Feed("Ua", at(3), b"member"), Feed("Ua", at(3), b"chat")]
        assert await write(hot, back_feeds=updates) == {"Ua": 2}
        assert await write(hot, back_feeds=updates) == {}
        assert (await hot.updates("Ua", 0, 9)).entries == [b"chat", b"member"]

    async def test_an_old_update_is_found_behind_newer_ones(self, hot: HotStore) -> None:
        ids = [at(1), at(1, NYC), at(2), at(3), at(3, NYC), at(4)]
        await write(hot, feeds=feeds("Ua", ids))
        assert await write(hot, back_feeds=feeds("Ua", [at(1), at(4), at(3, NYC)])) == {}
        assert await write(hot, back_feeds=feeds("Ua", [at(4), at(2, NYC)])) == {"Ua": 7}
        assert await write(hot, back_feeds=feeds("Ua", [at(2, NYC), at(1, NYC), at(3)])) == {}

    async def test_one_update_may_have_many_owners(self, hot: HotStore) -> None:
        owners = [f"U{n}" for n in range(1_200)]
        assert await write(hot, feeds=[feed(owner, at(1), "G1") for owner in owners]) == dict.fromkeys(owners, 1)


class SeenContract:
    async def test_what_was_not_delivered_by_then_is_not_seen(self, hot: HotStore) -> None:
        ids = [at(1), at(2, NYC), at(3), at(2, SIN), at(5)]
        await write(hot, feeds=feeds("Ua", ids, "D1"))
        assert await hot.seen("Ua", "D1", at(5), 5) == {FRA: at(5), NYC: at(2, NYC), SIN: at(2, SIN)}
        assert await hot.seen("Ua", "D1", at(5), 4) == {FRA: at(3), NYC: at(2, NYC), SIN: at(2, SIN)}
        assert await hot.seen("Ua", "D1", at(3), 5) == {FRA: at(3), NYC: at(2, NYC), SIN: at(2, SIN)}
        assert await hot.seen("Ua", "D1", at(2), 3) == {FRA: at(1)}
        assert await hot.seen("Ua", "D1", at(5), 0) == {}
        assert await hot.seen("Ua", "D2", at(5), 5) == {}
        assert await hot.seen("Ub", "D1", at(5), 5) == {}

    async def test_only_sends_of_that_conversation_count(self, hot: HotStore) -> None:
        await write(
            hot, feeds=[feed("Ua", at(1), "D1"), feed("Ua", at(2)), feed("Ua", at(3), "D11"), feed("Ua", at(4), "D")]
        )
        assert await hot.seen("Ua", "D1", at(9), 9) == {FRA: at(1)}

    async def test_a_back_fed_message_does_not_hide_a_newer_one_before_it(self, hot: HotStore) -> None:
        await write(hot, feeds=feeds("Ua", [at(1), at(5)], "D1"), back_feeds=feeds("Ua", [at(3)], "D1"))
        await write(hot, feeds=feeds("Ua", [at(9)], "D1"))
        assert await hot.seen("Ua", "D1", at(9), 3) == {FRA: at(5)}
        assert await hot.seen("Ua", "D1", at(4), 4) == {FRA: at(3)}
        assert await hot.seen("Ua", "D1", at(4), 2) == {FRA: at(1)}

    async def test_what_was_trimmed_counts_as_delivered(self, hot: HotStore) -> None:
        ids = [at(1, NYC), at(2)] + [at(n) for n in range(3, 3 + UPDATES_KEPT)]
        await write(hot, feeds=feeds("Ua", ids, "D1"))
        assert await hot.seen("Ua", "D1", at(4), len(ids)) == {FRA: at(4), NYC: at(1, NYC)}
        assert await hot.seen("Ua", "D1", at(1), len(ids)) == {FRA: at(1), NYC: at(1)}
        assert await hot.seen("Ua", "D1", at(9), 0) == {}, "a client from before the trimming has not seen it"

    async def test_a_long_list_is_searched_to_its_beginning(self, hot: HotStore) -> None:
        await write(hot, feeds=feeds("Ua", [at(1, NYC), at(2), at(9_000, NYC)], "D1"))
        await write(hot, feeds=feeds("Ua", [at(n) for n in range(3, UPDATES_KEPT)], "D2"))
        assert await hot.seen("Ua", "D1", at(5), 99) == {FRA: at(2), NYC: at(1, NYC)}


class DialogsContract:
    async def test_the_newest_top_comes_first(self, hot: HotStore) -> None:
        await write(hot, tops=[("Ua", "D1", at(1)), ("Ua", "D2", at(3)), ("Ua", "D3", at(2)), ("Ub", "D9", at(9))])
        assert await hot.dialogs("Ua", [], [], None, 9) == [("D2", at(3)), ("D3", at(2)), ("D1", at(1))]
        await write(hot, tops=[("Ua", "D1", at(8)), ("Ua", "D2", at(1)), ("Ua", "D1", at(4))])
        assert await hot.dialogs("Ua", [], [], None, 2) == [("D1", at(8)), ("D2", at(3))]
        assert await hot.tops("Ua", ["D2", "D1", "Dnone"]) == [at(3), at(8), 0]
        assert await hot.dialogs("Unone", [], [], None, 9) == []

    async def test_pages_join_without_gap_or_double(self, hot: HotStore) -> None:
        # Ticks 0 to 6 share one score: only the full ids tell them apart; equal tops go by name.
        tops = [(f"D{n:02}", at(n % 9, lane)) for n, lane in zip(range(40), [FRA, NYC, SIN] * 14, strict=False)]
        tops += [("Dx", at(4)), ("Da", at(4)), ("Db", at(4))]
        await write(hot, tops=[("Ua", name, top) for name, top in tops], channel_tops=[("C1", at(4)), ("C2", at(7))])
        wanted = sorted([*tops, ("C1", at(4)), ("C2", at(7))], key=lambda dialog: (-dialog[1], dialog[0]))
        wanted = [dialog for dialog in wanted if dialog[0] not in ("Da", "D07")]
        for limit in (1, 3, 7, 100):
            found: list[tuple[str, int]] = []
            after: tuple[int, str] | None = None
            while page := await hot.dialogs("Ua", ["C2", "C1", "C3"], ["Da", "D07"], after, limit):
                assert len(page) <= limit
                found += page
                after = (page[-1][1], page[-1][0])
            assert found == wanted

    async def test_supergroups_have_one_top_for_all(self, hot: HotStore) -> None:
        await write(hot, channel_tops=[("C1", at(5)), ("C1", at(3))], tops=[("Ua", "D1", at(4))])
        assert await hot.tops("Ua", ["C1", "D1", "C2"]) == [at(5), at(4), 0]
        assert await hot.dialogs("Ua", ["C1", "C2"], [], None, 9) == [("C1", at(5)), ("D1", at(4))]
        assert await hot.dialogs("Ua", [], [], None, 9) == [("D1", at(4))]

    async def test_a_message_that_is_fed_raises_the_dialog_of_its_owner(self, hot: HotStore) -> None:
        await write(hot, feeds=[*feeds("Ua", [at(1), at(7), at(5)], "D1"), feed("Ua", at(6), "D2"), feed("Ua", at(9))])
        assert await hot.dialogs("Ua", [], [], None, 9) == [("D1", at(7)), ("D2", at(6))]
        assert await hot.dialogs("Ub", [], [], None, 9) == []
        await write(hot, tops=[("Ua", "D3", at(8))], back_feeds=[feed("Ua", at(4), "D4"), feed("Ua", at(8), "D2")])
        tops = [("D2", at(8)), ("D3", at(8)), ("D1", at(7)), ("D4", at(4))]
        assert await hot.dialogs("Ua", [], [], None, 9) == tops
        assert await hot.tops("Ua", ["D4", "D1"]) == [at(4), at(7)]
        late = [at(n) for n in range(10, 40)]  # more than are kept
        await write(hot, feeds=feeds("Ua", late, "D5"))
        assert await hot.dialogs("Ua", [], [], None, 9) == [("D5", at(39)), *tops]

    async def test_what_follows_from_updates_is_the_same_whoever_looked_before(self, hot: HotStore) -> None:
        last = UPDATES_KEPT - 1
        for n in range(1, last + 1):
            await write(hot, feeds=[feed(user, at(n), f"D{n % 5}") for user in ("Ua", "Ub", "Uc", "Ud")])
            tops = [(f"D{k % 5}", at(k)) for k in range(n, max(0, n - 5), -1)]
            assert await hot.dialogs("Ua", [], [], None, 9) == tops
            assert await hot.seen("Ua", f"D{n % 5}", at(n), n) == {FRA: at(n)}
        assert await hot.dialogs("Ub", [], [], None, 9) == tops
        assert await hot.tops("Uc", [name for name, _ in tops]) == [top for _, top in tops]
        assert await hot.seen("Ud", "D0", at(last), last) == await hot.seen("Ua", "D0", at(last), last)


class UnreadContract:
    async def test_others_messages_beyond_the_mark_count(self, hot: HotStore) -> None:
        await write(hot, recents=[recent(at(1)), recent(at(2, NYC)), recent(at(3), sender="Ub"), recent(at(4))])
        assert await count(hot) == (3, False)
        await write(hot, marks=[("Ub", "D1", FRA, at(3))])
        assert await count(hot) == (2, False)
        await write(hot, marks=[("Ub", "D1", NYC, at(2, NYC)), ("Ub", "D1", FRA, at(1))])
        assert await count(hot) == (1, False)
        await write(hot, marks=[("Ub", "D1", FRA, at(4))])
        assert await count(hot) == (0, False)
        assert await count(hot, user="Ua") == (1, False)
        assert await count(hot, conversation="Dnone") == (0, False)

    async def test_a_late_message_of_another_lane_is_unread(self, hot: HotStore) -> None:
        await write(hot, recents=[recent(at(5))], marks=[("Ub", "D1", FRA, at(5))])
        await write(hot, recents=[recent(at(2, NYC))])
        assert await count(hot) == (1, False)

    async def test_counting_begins_after_the_joining(self, hot: HotStore) -> None:
        await write(hot, recents=[recent(at(1)), recent(at(3)), recent(at(2, NYC))])
        assert await count(hot, joined_at=at(2)) == (2, False)
        assert await count(hot, joined_at=at(2, SIN)) == (1, False)

    async def test_system_hidden_and_recalled_messages_do_not_count(self, hot: HotStore) -> None:
        await write(
            hot,
            recents=[recent(at(n)) for n in range(1, 5)] + [replace(recent(at(5)), counts=False)],
            recalls=[("D1", at(2)), ("D1", at(9))],
            hides=[("Ub", "D1", at(3)), ("Uc", "D1", at(4))],
        )
        assert await count(hot) == (2, False)
        await write(hot, recents=[recent(at(9))])
        assert await count(hot) == (2, False), "its recall came first"

    async def test_copies_of_a_message_count_once_and_share_their_fate(self, hot: HotStore) -> None:
        copies = [recent(at(1), class_=5), recent(at(2, NYC), class_=5)]
        await write(hot, recents=[*copies, *copies, recent(at(3), class_=6)])
        assert await count(hot) == (2, False)
        await write(hot, marks=[("Ub", "D1", FRA, at(1))])
        assert await count(hot) == (1, False), "read, as one of its ids is"
        await write(hot, recalls=[("D1", at(1))], hides=[("Ud", "D1", at(2, NYC))])
        assert await count(hot, user="Uc") == (1, False), "recalled, as one of its ids is"
        assert await count(hot, user="Ud") == (1, False)

    async def test_the_window_is_the_newest_in_whatever_order_they_came(self, hot: HotStore) -> None:
        ids = [at(n, lane) for n, lane in enumerate([FRA, NYC, FRA, FRA, NYC, NYC, FRA, FRA])]
        for id in [ids[6], ids[1], ids[7], ids[0], ids[5], ids[3], ids[2], ids[4], ids[0]]:
            await write(hot, recents=[recent(id)])
        assert await count(hot) == (RECENT_KEPT, True)
        await write(hot, marks=[("Ub", "D1", FRA, at(3)), ("Ub", "D1", NYC, at(4, NYC))])
        assert await count(hot) == (3, False)
        await write(hot, marks=[("Uc", "D1", FRA, at(7))])
        assert await count(hot, user="Uc") == (2, True)
        assert await count(hot, user="Ud", joined_at=at(1, NYC)) == (RECENT_KEPT, False)

    async def test_a_rebuild_can_name_what_lies_below_the_window(self, hot: HotStore) -> None:
        await write(hot, recents=[recent(at(5))], window_floors=[("D1", NYC, at(2, NYC)), ("D1", NYC, at(1, NYC))])
        assert await count(hot) == (1, True)
        await write(hot, marks=[("Ub", "D1", NYC, at(2, NYC))])
        assert await count(hot) == (1, False)

    async def test_many_dialogs_are_asked_at_once(self, hot: HotStore) -> None:
        await write(hot, recents=[recent(at(n), conversation=f"D{n % 3}") for n in range(6)])
        assert await hot.unread("Ub", [("D0", 0), ("D2", at(3)), ("D9", 0)]) == [(2, False), (1, False), (0, False)]
        assert await hot.unread("Ub", []) == []


class ResultsContract:
    async def test_the_smallest_event_answers_for_a_key(self, hot: HotStore) -> None:
        def result(id: int) -> Result:
            return Result("Ua", "key", id, "message.send", bytes(range(248, 256)), {"n": id, "t": ["ü", None]})

        await write(hot, results=[result(at(5))])
        assert await hot.result("Ua", "key") == result(at(5))
        await write(hot, results=[result(at(7))])
        assert await hot.result("Ua", "key") == result(at(5))
        await write(hot, results=[result(at(6)), result(at(2, NYC))])
        assert await hot.result("Ua", "key") == result(at(2, NYC))
        assert await hot.result("Ub", "key") is None
        assert await hot.result("Ua", "other") is None

    async def expire(self, hot: HotStore, actor: str, key: str) -> None:
        """What RESULT_KEPT_S does to one result."""
        raise NotImplementedError

    async def test_as_many_results_as_were_promised_are_kept_whenever_one_looks(self, roomy: HotStore) -> None:
        for n in range(3 * ROOMY):
            await write(roomy, results=[done(n)])
            assert await roomy.result("Ua", f"k{max(0, n - ROOMY + 1)}") is not None, f"after {n}"
        left = [n for n in range(3 * ROOMY) if await roomy.result("Ua", f"k{n}")]
        assert len(left) <= ROOMY + ROOMY // limits.LIST_TRIM_SHARE

    async def test_a_result_under_a_key_that_is_used_again_is_as_new_as_the_others(self, hot: HotStore) -> None:
        for n in range(RESULTS_KEPT - 1):
            await write(hot, results=[done(n)])
        await self.expire(hot, "Ua", "k0")
        again = replace(done(RESULTS_KEPT), key="k0")
        await write(hot, results=[again])
        for n in range(10, 10 + RESULTS_KEPT - 1):
            await write(hot, results=[done(n)])
            assert await hot.result("Ua", "k0") == again
        await write(hot, results=[done(20)])
        assert await hot.result("Ua", "k0") is None

    async def test_a_result_that_gave_way_to_an_earlier_one_is_forgotten_in_its_turn(self, hot: HotStore) -> None:
        early = replace(done(0), event=at(0, NYC) - (1 << 30))
        await write(hot, results=[done(0)])
        await write(hot, results=[early])
        for n in range(1, RESULTS_KEPT):
            await write(hot, results=[done(n)])
        assert await hot.result("Ua", "k0") == early
        await write(hot, results=[done(RESULTS_KEPT)])
        assert await hot.result("Ua", "k0") is None

    async def test_of_each_user_the_newest_results_are_kept(self, hot: HotStore) -> None:
        def result(n: int, actor: str = "Ua") -> Result:
            return Result(actor, f"k{n}", at(n), "message.send", b"f", {"n": n})

        async def kept(actor: str, count: int) -> list[int]:
            return [n for n in range(count) if await hot.result(actor, f"k{n}") == result(n, actor)]

        await write(hot, results=[result(0, "Ub"), *(result(n) for n in range(RESULTS_KEPT))])
        assert await kept("Ua", 99) == list(range(RESULTS_KEPT))
        await write(hot, results=[result(n) for n in range(2, RESULTS_KEPT + 1)])
        assert await kept("Ua", 99) == list(range(1, RESULTS_KEPT + 1)), "what is there already takes no place"
        for n in range(RESULTS_KEPT, 3 * RESULTS_KEPT):
            await write(hot, results=[result(n)])
        assert await kept("Ua", 99) == list(range(2 * RESULTS_KEPT, 3 * RESULTS_KEPT))
        await write(hot, results=[result(n) for n in range(3 * RESULTS_KEPT, 9 * RESULTS_KEPT)])
        assert await kept("Ua", 99) == list(range(8 * RESULTS_KEPT, 9 * RESULTS_KEPT))
        assert await kept("Ub", 99) == [0]

    async def test_the_customer_s_own_system_is_one_actor_with_room_for_all(self, hot: HotStore) -> None:
        known = [Result("sys", f"k{n}", at(n), "user.upsert", b"f", {"n": n}) for n in range(SYSTEM_RESULTS_KEPT + 2)]
        await write(hot, results=known)
        assert [await hot.result("sys", one.key) for one in known] == [None, None, *known[2:]]

    async def test_many_who_ask_at_once_each_get_their_own(self, hot: HotStore) -> None:
        known = [Result(f"U{n}", f"k{n}", at(n), "message.send", b"f", {"n": n}) for n in range(0, 2_500, 2)]
        await write(hot, results=known)
        found = await asyncio.gather(*(hot.result(f"U{n}", f"k{n}") for n in range(2_500)))
        assert found[::2] == known
        assert found[1::2] == [None] * 1_250
        assert await hot.results_of([(f"U{n}", f"k{n}") for n in range(2_500)]) == found
        assert await hot.results_of([]) == []
        await hot.begin(8)
        errors = await asyncio.gather(*(hot.result("Ua", f"k{n}") for n in range(3)), return_exceptions=True)
        assert [type(error) for error in errors] == [EpochLost] * 3
        assert len({id(error) for error in errors}) == 3, "raising writes into an error"

    async def test_metadata_tells_the_strictly_older_write(self, hot: HotStore) -> None:
        old, new = Change("users", "Ua", "name", at(1)), Change("users", "Ua", "name", at(2))
        assert await hot.decide([new]) == [False]
        assert await hot.decide([old, new, new._replace(column="about"), new._replace(key="Ub")]) == [
            True, False, False, False,
        ]  # fmt: skip
        assert await hot.decide([new._replace(stamp=at(3)), new]) == [False, True]
        assert await hot.decide([]) == []


class PresenceContract:
    async def test_any_connection_keeps_a_user_online(self, hot: HotStore) -> None:
        await hot.present("Ua", "c1", 30)
        await hot.present("Ua", "c2", 30)
        await hot.present("Ub", "c3", 30)
        assert await hot.online(["Ua", "Ub", "Uc"]) == [True, True, False]
        await hot.present("Ua", "c1", 0)
        await hot.present("Ub", "c3", 0)
        await hot.present("Uc", "never", 0)
        assert await hot.online(["Ua", "Ub", "Uc"]) == [True, False, False]
        assert await hot.online([]) == []

    async def test_a_lease_that_is_not_renewed_ends(self, hot: HotStore) -> None:
        await hot.present("Ua", "c1", 1)
        await hot.present("Ub", "c2", 30)
        async with asyncio.timeout(5):
            while await hot.online(["Ua"]) == [True]:  # noqa: ASYNC110  (it ends by the server's clock)
                await asyncio.sleep(0.05)
        assert await hot.online(["Ub"]) == [True]

    async def test_all_who_listen_hear_everything_in_order(self, hot: HotStore) -> None:
        heard: list[list[bytes]] = [[], []]

        async def listener(into: list[bytes]) -> None:
            async for frame in hot.listen():
                into.append(frame)

        tasks = [asyncio.create_task(listener(into)) for into in heard]
        async with asyncio.timeout(5):
            while not all(heard):
                await hot.announce(b"here?")
                await asyncio.sleep(0.01)
            frames = [b"\r\n" + bytes([n]) * n for n in range(200)]
            for frame in frames:
                await hot.announce(frame)
            while any(into[-1] != frames[-1] for into in heard):  # noqa: ASYNC110  (there is no event to wait for)
                await asyncio.sleep(0.01)
        assert all(into[-200:] == frames for into in heard)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class HotStoreContract(
    EpochContract, UpdatesContract, SeenContract, DialogsContract, UnreadContract, ResultsContract, PresenceContract
):
    """All of it."""
