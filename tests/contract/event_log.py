"""What every event log promises. An adapter's test subclasses `EventLogContract` and gives it a `log` fixture."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest
from msgspec.structs import replace

from core.errors import Corrupt, Forked, LaneLost
from core.ids import Lane
from events.ports import EventLog, Top, Trimmed
from events.record import Record
from tests.support.lanes import EMPTY, records_after

LANE = 2_049
OTHER = 65_535
OWNER = b"process one"
NEXT_OWNER = b"process two"


async def opened(log: EventLog, lane: int = LANE, owner: bytes = OWNER, count: int = 0) -> list[Record]:
    """Opens a lane and puts records into it."""
    top = await log.open(lane, owner)
    records = records_after(top, lane, count)
    await log.append(lane, owner, records)
    return records


async def all_of(log: EventLog, lane: int = LANE) -> list[Record]:
    return await log.read(lane, 0, 1_000)


class EventLogContract:
    # -- lanes and appending

    async def test_an_unknown_lane_is_empty(self, log: EventLog) -> None:
        assert await log.tops() == {}
        assert await log.read(LANE, 0, 10) == []
        assert await log.open(LANE, OWNER) == EMPTY
        assert await log.tops() == {}

    async def test_what_was_appended_is_read_back_byte_by_byte(self, log: EventLog) -> None:
        records = await opened(log, count=5)
        (after,) = records_after(Top.of(records[-1]), LANE, 1)
        signed = replace(after, body=bytes(range(256)), signature=b"s" * 64)
        await log.append(LANE, OWNER, [signed])
        assert await all_of(log) == [*records, signed]
        assert await log.tops() == {LANE: Top.of(signed)}
        assert await log.open(LANE, OWNER) == Top.of(signed)

    async def test_an_append_beyond_the_end_is_refused_whole(self, log: EventLog) -> None:
        records = await opened(log, count=2)
        more = records_after(Top.of(records[-1]), LANE, 3)
        with pytest.raises(Corrupt):
            await log.append(LANE, OWNER, more[1:])
        assert await all_of(log) == records

    async def test_an_append_with_a_hole_in_it_is_refused_whole(self, log: EventLog) -> None:
        await log.open(LANE, OWNER)
        records = records_after(EMPTY, LANE, 3)
        with pytest.raises(Corrupt):
            await log.append(LANE, OWNER, [records[0], records[2]])
        assert await log.tops() == {}

    async def test_an_append_of_another_lanes_records_is_refused_whole(self, log: EventLog) -> None:
        await log.open(LANE, OWNER)
        with pytest.raises(Corrupt):
            await log.append(LANE, OWNER, records_after(EMPTY, OTHER, 1))
        assert await log.tops() == {}

    async def test_repeating_the_same_bytes_succeeds_and_changes_nothing(self, log: EventLog) -> None:
        records = await opened(log, count=4)
        await log.append(LANE, OWNER, records)
        await log.append(LANE, OWNER, records[1:3])
        assert await all_of(log) == records

    async def test_a_repeat_that_also_continues_adds_only_what_is_new(self, log: EventLog) -> None:
        records = await opened(log, count=2)
        longer = records + records_after(Top.of(records[-1]), LANE, 2)
        await log.append(LANE, OWNER, longer)
        assert await all_of(log) == longer

    @pytest.mark.parametrize("kept", [0, 1, 2])
    async def test_other_bytes_at_a_taken_seq_are_refused_whole(self, log: EventLog, kept: int) -> None:
        records = await opened(log, count=3)
        forked = records[:kept] + records_after(Top.of(records[kept - 1]) if kept else EMPTY, LANE, 5 - kept, "else")
        with pytest.raises(Forked):
            await log.append(LANE, OWNER, forked)
        assert await all_of(log) == records

    async def test_a_repeat_that_differs_only_in_its_signature_is_a_fork(self, log: EventLog) -> None:
        records = await opened(log, count=1)
        with pytest.raises(Forked):
            await log.append(LANE, OWNER, [replace(records[0], signature=b"x" * 64)])
        assert await all_of(log) == records

    async def test_a_thousand_records_go_in_at_once_and_the_lane_grows_beyond_ten(self, log: EventLog) -> None:
        records = await opened(log, count=999)
        assert await all_of(log) == records

    # -- fencing

    async def test_appending_to_a_lane_that_nobody_opened_is_refused(self, log: EventLog) -> None:
        with pytest.raises(LaneLost):
            await log.append(LANE, OWNER, records_after(EMPTY, LANE, 1))
        assert await log.tops() == {}

    async def test_a_new_owner_fences_the_old_one_at_its_first_write(self, log: EventLog) -> None:
        records = await opened(log, count=2)
        assert await log.open(LANE, NEXT_OWNER) == Top.of(records[-1])
        with pytest.raises(LaneLost):
            await log.append(LANE, OWNER, records_after(Top.of(records[-1]), LANE, 3))
        assert await all_of(log) == records

    async def test_a_stale_owner_fails_wholly_in_the_middle_of_a_pipeline(self, log: EventLog) -> None:
        await log.open(LANE, OWNER)
        stale = records_after(EMPTY, LANE, 40, "stale")
        parts = [stale[i : i + 4] for i in range(0, 40, 4)]
        appends = [log.append(LANE, OWNER, part) for part in parts]
        results = await asyncio.gather(*appends[:5], log.open(LANE, NEXT_OWNER), *appends[5:], return_exceptions=True)
        top = await log.open(LANE, NEXT_OWNER)
        # Whatever got in before the fence is dense and whole; behind it stands the new owner's record.
        assert top.seq % 4 == 0
        record = records_after(top, LANE, 1, "new")[0]
        await log.append(LANE, NEXT_OWNER, [record])
        for part in parts:
            with pytest.raises(LaneLost):
                await log.append(LANE, OWNER, part)
        assert await all_of(log) == [*stale[: top.seq], record]
        assert any(isinstance(result, LaneLost | Corrupt) for result in results) or top.seq == 40

    async def test_a_fenced_owner_stays_fenced_even_if_it_opens_again(self, log: EventLog) -> None:
        records = await opened(log, count=1)
        await log.open(LANE, NEXT_OWNER)
        with pytest.raises(LaneLost):
            await log.open(LANE, OWNER)
        more = records_after(Top.of(records[0]), LANE, 1)
        await log.append(LANE, NEXT_OWNER, more)
        assert await all_of(log) == records + more

    async def test_the_same_owner_opens_again_and_goes_on(self, log: EventLog) -> None:
        records = await opened(log, count=1)
        records += await opened(log, count=1)
        assert await all_of(log) == records

    async def test_owning_one_lane_gives_no_other(self, log: EventLog) -> None:
        await log.open(LANE, OWNER)
        await log.open(OTHER, NEXT_OWNER)
        with pytest.raises(LaneLost):
            await log.append(OTHER, OWNER, records_after(EMPTY, OTHER, 1))

    async def test_a_new_incarnation_retires_the_lanes_of_earlier_ones_for_good(self, log: EventLog) -> None:
        old, next_worker, foreign, new = (Lane(*parts).number for parts in ((3, 1, 0), (3, 2, 9), (4, 0, 0), (3, 2, 0)))
        tops = {lane: Top.of((await opened(log, lane, count=2))[-1]) for lane in (old, next_worker, foreign)}
        await log.open(new, NEXT_OWNER)
        for lane in (next_worker, foreign):
            await log.append(lane, OWNER, records_after(tops[lane], lane, 1))
        tail = records_after(tops[old], old, 2)
        with pytest.raises(LaneLost):
            await log.append(old, OWNER, tail)
        for owner in (OWNER, NEXT_OWNER, b"process three"):
            with pytest.raises(LaneLost):
                await log.open(old, owner)
        # Its end, which this log may have lost, comes back from the other DCs.
        await log.store(tail)
        assert (await log.tops())[old] == Top.of(tail[-1])
        with pytest.raises(LaneLost):
            await log.append(old, b"", records_after(Top.of(tail[-1]), old, 1))

    # -- foreign lanes

    async def test_foreign_records_of_several_lanes_are_stored_and_repeats_skipped(self, log: EventLog) -> None:
        first, second = records_after(EMPTY, LANE, 3), records_after(EMPTY, OTHER, 4)
        mixed = [record for pair in zip(first, second, strict=False) for record in pair]
        await log.store(mixed)
        await log.store(first[1:] + second)
        assert await all_of(log, LANE) == first
        assert await all_of(log, OTHER) == second
        assert await log.tops() == {LANE: Top.of(first[-1]), OTHER: Top.of(second[-1])}

    async def test_a_gap_in_one_foreign_lane_stores_nothing_of_any(self, log: EventLog) -> None:
        with pytest.raises(Corrupt):
            await log.store(records_after(EMPTY, LANE, 2) + records_after(EMPTY, OTHER, 3)[1:])
        assert await log.tops() == {}

    async def test_a_fork_in_one_foreign_lane_stores_nothing_of_any(self, log: EventLog) -> None:
        held = records_after(EMPTY, OTHER, 2)
        await log.store(held)
        with pytest.raises(Forked):
            await log.store(records_after(EMPTY, LANE, 2) + records_after(EMPTY, OTHER, 3, "else"))
        assert await log.tops() == {OTHER: Top.of(held[-1])}

    async def test_store_does_not_touch_a_lane_that_has_an_owner_here(self, log: EventLog) -> None:
        records = await opened(log, count=1)
        with pytest.raises(Corrupt):
            await log.store(records_after(EMPTY, OTHER, 1) + records_after(Top.of(records[0]), LANE, 1))
        assert await log.tops() == {LANE: Top.of(records[0])}

    async def test_storing_nothing_is_allowed(self, log: EventLog) -> None:
        await log.store([])
        assert await log.tops() == {}

    # -- seeding after a restore

    async def test_a_seeded_lane_goes_on_after_its_top(self, log: EventLog) -> None:
        lost = records_after(EMPTY, LANE, 7)
        await log.seed({LANE: Top.of(lost[-1])})
        assert await log.tops() == {LANE: Top.of(lost[-1])}
        more = records_after(Top.of(lost[-1]), LANE, 2)
        with pytest.raises(Corrupt):
            await log.store(more[1:])
        await log.store(more)
        assert await log.read(LANE, 7, 10) == more
        with pytest.raises(Trimmed) as trimmed:
            await log.read(LANE, 0, 10)
        assert trimmed.value.first == 8

    async def test_a_seeded_lane_without_records_says_that_it_has_none(self, log: EventLog) -> None:
        await log.seed({LANE: Top.of(records_after(EMPTY, LANE, 7)[-1])})
        assert await log.read(LANE, 7, 10) == []
        with pytest.raises(Trimmed) as trimmed:
            await log.read(LANE, 6, 10)
        assert trimmed.value.first == 0

    async def test_seeding_leaves_a_lane_alone_that_has_a_top(self, log: EventLog) -> None:
        records = await opened(log, count=3)
        await log.seed({LANE: Top.of(records_after(EMPTY, LANE, 9, "else")[-1])})
        assert await all_of(log) == records
        assert await log.tops() == {LANE: Top.of(records[-1])}

    async def test_the_end_of_a_seeded_lane_is_compared_by_hash(self, log: EventLog) -> None:
        lost = records_after(EMPTY, LANE, 3)
        await log.seed({LANE: Top.of(lost[-1])})
        await log.store(lost[-1:])
        with pytest.raises(Forked):
            await log.store(records_after(EMPTY, LANE, 3, "else")[-1:])

    # -- reading and trimming

    async def test_pages_follow_each_other_without_hole_or_double(self, log: EventLog) -> None:
        records = await opened(log, count=10)
        pages, after = [], 0
        while page := await log.read(LANE, after, 3):
            pages.append(page)
            after = page[-1].seq
        assert [len(page) for page in pages] == [3, 3, 3, 1]
        assert [record for page in pages for record in page] == records
        assert await log.read(LANE, 99, 3) == []

    async def test_trimmed_records_are_named_as_such_and_the_top_stays(self, log: EventLog) -> None:
        records = await opened(log, count=300)
        await log.trim(LANE, 257)
        await log.trim(LANE, 257)
        await log.trim(LANE, 3)
        assert await log.read(LANE, 257, 1_000) == records[257:]
        for after in (0, 3, 256):
            with pytest.raises(Trimmed) as trimmed:
                await log.read(LANE, after, 10)
            assert (trimmed.value.lane, trimmed.value.first) == (LANE, 258)
        assert await log.tops() == {LANE: Top.of(records[-1])}

    async def test_a_lane_that_was_trimmed_away_goes_on_where_it_was(self, log: EventLog) -> None:
        records = await opened(log, count=3)
        await log.trim(LANE, 1_000)
        assert await log.read(LANE, 3, 10) == []
        with pytest.raises(Trimmed) as trimmed:
            await log.read(LANE, 2, 10)
        assert trimmed.value.first == 0
        more = records_after(Top.of(records[-1]), LANE, 2)
        await log.append(LANE, OWNER, more)
        assert await log.read(LANE, 3, 10) == more

    async def test_trimming_an_unknown_lane_does_nothing(self, log: EventLog) -> None:
        await log.trim(LANE, 5)
        assert await log.open(LANE, OWNER) == EMPTY

    # -- following

    async def test_following_names_all_lanes_first_and_then_those_that_grew(self, log: EventLog) -> None:
        records = await opened(log, count=1)
        await log.store(records_after(EMPTY, OTHER, 1))
        grown = log.follow()
        assert await soon(grown) == await log.tops() != {}
        more = records_after(Top.of(records[-1]), LANE, 1)
        await log.append(LANE, OWNER, more)
        assert await soon(grown) == {LANE: Top.of(more[-1])}

    async def test_a_new_lane_wakes_a_follower_that_waits(self, log: EventLog) -> None:
        grown = log.follow()
        assert await soon(grown) == {}
        waiting = asyncio.ensure_future(anext(grown))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await opened(log, OTHER, count=1)
        assert set(await asyncio.wait_for(waiting, 5)) == {OTHER}

    async def test_what_grew_unseen_is_named_once_and_completely(self, log: EventLog) -> None:
        grown = log.follow()
        assert await soon(grown) == {}
        for lane in range(20):
            for _ in range(5):
                await opened(log, lane, count=2)
        seen = await soon(grown)
        assert seen == await log.tops()
        assert set(seen) == set(range(20))
        waiting = asyncio.ensure_future(anext(grown))
        await asyncio.sleep(0.1)
        assert not waiting.done(), "nothing grew since"
        await opened(log, OTHER, count=1)
        assert set(await asyncio.wait_for(waiting, 5)) == {OTHER}

    async def test_two_followers_that_read_what_they_are_told_of_miss_nothing(self, log: EventLog) -> None:
        async def follower() -> int:
            frontier: dict[int, int] = {}
            async for lanes in log.follow():
                for lane in lanes:
                    while page := await log.read(lane, frontier.get(lane, 0), 7):
                        assert page[0].seq == frontier.get(lane, 0) + 1
                        frontier[lane] = page[-1].seq
                if sum(frontier.values()) == 3 * 60:
                    break
            return sum(frontier.values())

        async def writer(lane: int) -> None:
            top = await log.open(lane, OWNER)
            while top.seq < 60:
                records = records_after(top, lane, 1 + top.seq % 4)[: 60 - top.seq]
                await log.append(lane, OWNER, records)
                top = Top.of(records[-1])
                await asyncio.sleep(0)

        async with asyncio.timeout(20):
            results = await asyncio.gather(follower(), follower(), *(writer(lane) for lane in (1, 2, 3)))
        assert results[:2] == [180, 180]


async def soon(grown: AsyncIterator[Mapping[int, Top]]) -> Mapping[int, Top]:
    return await asyncio.wait_for(anext(grown), 5)  # type: ignore[arg-type]
