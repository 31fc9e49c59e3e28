"""The archive: segments, what a reader proves, and the archiver that crashes, merges and meets contradictions."""

import asyncio
import contextlib
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.waiting import until
from core import limits
from core.errors import Corrupt, Forked, NotFound, StoreUnavailable
from events.adapters.memory import MemoryLog
from events.ports import Top
from snapshot.archive import EMPTY, Archive, contiguous, runs
from snapshot.archiver import Archiver
from snapshot.segment import Span, decode_segment, encode_segment
from stores.adapters.directory_objects import DirectoryObjects
from stores.adapters.memory_objects import MemoryObjects
from tests.support.lanes import records_after
from tests.support.objects import Crash, crashing_objects, damage, keys

LANE, OTHER = 2051, 4096


async def log_of(**lanes: int) -> MemoryLog:
    log = MemoryLog()
    for lane, count in lanes.items():
        await log.store(records_after(EMPTY, int(lane[1:]), count))
    return log


async def grow(log: MemoryLog, lane: int, count: int, tag: str = "body") -> None:
    await log.store(records_after((await log.tops()).get(lane, EMPTY), lane, count, tag))


async def same(archive: Archive, log: MemoryLog) -> None:
    """The archive holds, verified, exactly what the log does."""
    tops = await log.tops()
    assert await archive.tops() == tops
    for lane, top in tops.items():
        archived = [record async for batch in archive.following(lane, EMPTY) for record in batch]
        assert archived == await log.read(lane, 0, top.seq)


async def reached(archive: Archive, lane: int, seq: int) -> None:
    while not await archive.covers({lane: seq}):  # noqa: ASYNC110  (another process would have to look, too)
        await asyncio.sleep(0.001)


# -- segments


def test_a_segment_comes_back_whole_and_says_where_it_lies() -> None:
    before = Top.of(records_after(EMPTY, LANE, 7)[-1])
    records = records_after(before, LANE, 5)
    span, data = encode_segment(before, records)
    segment = decode_segment(span, data)
    assert span.key == "archive/2051/000000000008-000000000012.seg"
    assert Span.of(span.key) == span
    assert list(segment.records) == records
    assert segment.previous == before
    assert segment.top == Top.of(records[-1])
    assert [segment.place(seq).seq for seq in range(7, 13)] == list(range(7, 13))


@pytest.mark.parametrize("key", ["x/000000000001-000000000002", "1/1-2", "1/notes", "1/000000000002-000000000001",
                                 "70000/000000000001-000000000001", "1/000000000000-000000000001"])  # fmt: skip
def test_other_keys_are_no_segments(key: str) -> None:
    assert Span.of(f"archive/{key}.seg") is None


def test_any_flipped_bit_or_cut_of_a_segment_is_found_and_named() -> None:
    span, data = encode_segment(EMPTY, records_after(EMPTY, LANE, 3))
    for at in range(len(data)):
        with pytest.raises(Corrupt, match=span.key) as caught:
            decode_segment(span, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert caught.value.members["object"] == span.key
        with pytest.raises(Corrupt, match=span.key):
            decode_segment(span, data[:at])
    with pytest.raises(Corrupt, match=span.key):
        decode_segment(span, data + b"\0")


def test_a_segment_under_another_name_is_refused() -> None:
    _, data = encode_segment(EMPTY, records_after(EMPTY, LANE, 3))
    with pytest.raises(Corrupt, match="names lane 2051"):
        decode_segment(Span(OTHER, 1, 3), data)


def test_records_that_do_not_follow_are_not_sealed() -> None:
    records = records_after(EMPTY, LANE, 3)
    with pytest.raises(Corrupt):
        encode_segment(EMPTY, records[1:])
    with pytest.raises(Corrupt):
        encode_segment(EMPTY, [records[0], records[2]])
    with pytest.raises(Corrupt, match="several lanes"):
        encode_segment(EMPTY, [records[0], *records_after(EMPTY, OTHER, 2)[1:]])
    with pytest.raises(Forked):
        encode_segment(Top(0, 0, b"\1" * 32), records)
    with pytest.raises(Forked):
        encode_segment(EMPTY, [records[0], records_after(EMPTY, LANE, 2, "other")[1]])


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9)), max_size=12))
def test_of_any_segments_those_are_read_that_lead_furthest_without_a_hole(found: list[tuple[int, int]]) -> None:
    spans = [Span(LANE, first, first + more) for first, more in found]
    chosen = contiguous(spans)
    here = {seq for span in spans for seq in range(span.first, span.last + 1)}
    reach = min(here, default=1) - 1
    while reach + 1 in here:
        reach += 1
    assert (chosen[-1].last if chosen else 0) == (reach if here else 0)
    for one, two in itertools.pairwise(chosen):
        assert one.first < two.first <= one.last + 1 <= two.last
    assert set(chosen) <= set(spans)


# -- sealing and reading


async def test_all_lanes_are_sealed_and_read_back() -> None:
    log, objects = await log_of(l2051=25, l4096=3), MemoryObjects()
    archiver = Archiver(log, objects, records_max=10)
    assert await archiver.seal() == 28
    assert archiver.tops() == await log.tops()
    assert await keys(objects) == [
        "archive/2051/000000000001-000000000010.seg",
        "archive/2051/000000000011-000000000020.seg",
        "archive/2051/000000000021-000000000025.seg",
        "archive/4096/000000000001-000000000003.seg",
    ]
    archive = Archive(objects)
    await same(archive, log)
    assert await archive.read(LANE, 8, 4) == await log.read(LANE, 8, 4)
    assert await archive.read(LANE, 25, 4) == []
    assert await archive.read(99, 0, 4) == []
    assert await archive.covers({LANE: 25, OTHER: 3})
    assert not await archive.covers({LANE: 26})
    assert await archive.lacking({LANE: 26, OTHER: 3, 99: 1}) == {LANE: (25, 26), 99: (0, 1)}


async def test_nothing_new_writes_nothing() -> None:
    log, objects = await log_of(l2051=5), MemoryObjects()
    archiver = Archiver(log, objects)
    await archiver.seal()
    before = await keys(objects)
    assert await archiver.seal() == 0
    assert await Archiver(log, objects).seal() == 0
    assert await keys(objects) == before


async def test_a_segment_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 30)
    log, objects = await log_of(l2051=9), MemoryObjects()
    await Archiver(log, objects).seal()
    assert len(await keys(objects)) == 2
    await same(Archive(objects), log)


async def test_a_reader_sees_what_was_sealed_after_it_looked() -> None:
    log, objects = await log_of(l2051=5), MemoryObjects()
    archiver, archive = Archiver(log, objects), Archive(objects)
    await archiver.seal()
    assert len(await archive.read(LANE, 0, 100)) == 5
    await grow(log, LANE, 3)
    await archiver.seal()
    assert len(await archive.read(LANE, 0, 100)) == 8
    assert (await archive.place(LANE, 8)) == (await log.tops())[LANE]


async def test_every_place_that_is_archived_has_its_id_and_hash() -> None:
    log, objects = await log_of(l2051=12), MemoryObjects()
    await Archiver(log, objects, records_max=5).seal()
    archive = Archive(objects)
    assert await archive.place(LANE, 0) == EMPTY
    for record in await log.read(LANE, 0, 12):
        assert await archive.place(LANE, record.seq) == Top.of(record)
    other = Top.of(records_after(EMPTY, LANE, 8, "other")[-1])
    with pytest.raises(Forked, match="another record at seq 8"):
        await archive.prove(LANE, EMPTY, other)
    with pytest.raises(Forked, match="another record at seq 8"):
        await archive.prove(LANE, other, Top.of(record))
    with pytest.raises(NotFound, match="seq 13"):
        await archive.place(LANE, 13)
    with pytest.raises(NotFound):
        await archive.place(99, 1)


async def test_a_damaged_segment_is_named_and_the_rest_is_read() -> None:
    log, objects = await log_of(l2051=30), MemoryObjects()
    await Archiver(log, objects, records_max=10).seal()
    broken = "archive/2051/000000000011-000000000020.seg"
    await damage(objects, broken)
    archive = Archive(objects)
    assert len(await archive.read(LANE, 0, 10)) == 10
    assert len(await archive.read(LANE, 20, 10)) == 10
    with pytest.raises(Corrupt, match=broken):
        await archive.read(LANE, 10, 10)
    with pytest.raises(Corrupt, match=broken):
        await archive.prove(LANE, EMPTY, (await log.tops())[LANE])


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 6)), max_size=12))
def test_every_stretch_without_a_hole_is_found(found: list[tuple[int, int]]) -> None:
    spans = [Span(LANE, first, first + more) for first, more in found]
    here = {seq for span in spans for seq in range(span.first, span.last + 1)}
    wanted = [seq for seq in sorted(here) if seq - 1 not in here]
    stretches = [(run[0].first, run[-1].last) for run in runs(spans)]
    assert [first for first, _ in stretches] == wanted
    assert {seq for first, last in stretches for seq in range(first, last + 1)} == here


async def test_behind_a_hole_the_archive_is_read_as_well() -> None:
    log, objects = await log_of(l2051=50), MemoryObjects()
    await Archiver(log, objects, records_max=10).seal()
    await objects.delete("archive/2051/000000000011-000000000020.seg")
    archive = Archive(objects)
    assert await archive.lanes() == {LANE: (21, 50)}, "the stretch that reaches furthest"
    assert [record.seq for record in await archive.read(LANE, 20, 100)] == list(range(21, 51))
    assert await archive.read(LANE, 15, 5) == []
    assert [record.seq for record in await archive.read(LANE, 0, 100)] == list(range(1, 11))
    end, begin = (await log.tops())[LANE], Top.of((await log.read(LANE, 19, 1))[0])
    await archive.prove(LANE, begin, end)
    with pytest.raises(Corrupt, match="seqs 11 to 20 are missing, but later ones are there"):
        await archive.prove(LANE, EMPTY, end)
    with pytest.raises(NotFound, match="seqs 11 to 20 are missing"):
        await archive.place(LANE, 15)
    await objects.delete("archive/2051/000000000031-000000000040.seg")
    archive = Archive(objects)
    assert await archive.holes() == {LANE: Span(LANE, 31, 40)}, "the one behind which nothing is missing"
    with pytest.raises(Corrupt, match="seqs 31 to 40 are missing, but later ones are there"):
        await archive.prove(LANE, begin, end)


async def test_a_hole_ends_what_the_archive_covers_and_the_log_fills_it_again() -> None:
    log, objects = await log_of(l2051=30), MemoryObjects()
    await Archiver(log, objects, records_max=10).seal()
    await objects.delete("archive/2051/000000000011-000000000020.seg")
    archive = Archive(objects)
    assert (await archive.tops())[LANE].seq == 10
    assert not await archive.covers({LANE: 30})
    assert await archive.read(LANE, 10, 5) == []
    await Archiver(log, objects, records_max=10).seal()
    await same(archive, log)


async def test_segments_that_each_are_whole_but_do_not_chain_are_a_fork() -> None:
    objects = MemoryObjects()
    ours, theirs = records_after(EMPTY, LANE, 5), records_after(EMPTY, LANE, 5, "theirs")
    more = records_after(Top.of(theirs[-1]), LANE, 5)
    for previous, records in ((EMPTY, ours), (Top.of(theirs[-1]), more)):
        span, data = encode_segment(previous, records)
        await objects.put(span.key, data)
    archive = Archive(objects)
    with pytest.raises(Forked, match="seq 6"):
        await archive.prove(LANE, EMPTY, Top.of(more[-1]))
    with pytest.raises(Forked):
        await archive.prove(LANE, Top.of(theirs[-1]), Top.of(more[-1]))


async def test_an_archive_that_begins_later_knows_the_place_before_it() -> None:
    """A DC that was started from another one's snapshot never had the first records."""
    seeded = Top.of(records_after(EMPTY, LANE, 7)[-1])
    log, objects = MemoryLog(), MemoryObjects()
    await log.seed({LANE: seeded})
    await grow(log, LANE, 4)
    lost = Archiver(log, objects)
    assert await lost.seal() == 0
    assert "log begins at seq 8" in str(lost.troubles[LANE])
    archiver = Archiver(log, objects, anchors={LANE: seeded})
    assert await archiver.seal() == 4
    archive = Archive(objects)
    assert await archive.place(LANE, 7) == seeded
    await archive.prove(LANE, seeded, (await log.tops())[LANE])
    with pytest.raises(NotFound, match="begins at seq 8"):
        await archive.read(LANE, 5, 1)
    with pytest.raises(NotFound):
        await archive.place(LANE, 6)


# -- contradictions


class Lost(MemoryLog):
    """Its end was lost, as `tops` tells, and it still gives what lay beyond."""

    async def tops(self) -> dict[int, Top]:
        return {lane: Top.of((await self.read(lane, 39, 1))[0]) for lane in await super().tops()}


async def test_nothing_beyond_the_log_s_end_is_archived() -> None:
    log, objects = Lost(), MemoryObjects()
    await grow(log, LANE, 60)
    archiver = Archiver(log, objects, records_max=25)
    assert await archiver.seal() == 40
    assert archiver.tops() == await log.tops()
    assert archiver.troubles == {}


class Other(MemoryLog):
    """Gives another record at its end than it tells."""

    async def tops(self) -> dict[int, Top]:
        return {lane: end._replace(hash=bytes(32)) for lane, end in (await super().tops()).items()}


async def test_a_log_that_gives_another_end_than_it_tells_is_an_alarm() -> None:
    log, objects = Other(), MemoryObjects()
    await grow(log, LANE, 30)
    archiver = Archiver(log, objects, records_max=20)
    assert await archiver.seal() == 0
    assert isinstance(archiver.troubles[LANE], Forked)
    assert archiver.tops()[LANE].seq == 20


async def test_a_log_that_contradicts_the_archive_is_an_alarm_and_other_lanes_go_on() -> None:
    log, objects = await log_of(l2051=5), MemoryObjects()
    await Archiver(log, objects).seal()
    other = MemoryLog()
    await other.store(records_after(EMPTY, LANE, 9, "other"))
    await other.store(records_after(EMPTY, OTHER, 3))
    archiver = Archiver(other, objects)
    assert await archiver.seal() == 3
    assert isinstance(archiver.troubles[LANE], Forked)
    assert OTHER not in archiver.troubles
    assert (await Archive(objects).tops())[LANE].seq == 5


async def test_a_fork_is_noticed_when_the_log_is_shorter_than_the_archive() -> None:
    log, objects = await log_of(l2051=9), MemoryObjects()
    await Archiver(log, objects, records_max=4).seal()
    behind, forked = await log_of(l2051=3), MemoryLog()
    await forked.store(records_after(EMPTY, LANE, 3, "other"))
    archiver = Archiver(behind, objects)
    assert await archiver.seal() == 0
    assert archiver.troubles == {}
    archiver = Archiver(forked, objects)
    await archiver.seal()
    assert isinstance(archiver.troubles[LANE], Forked)


async def test_a_fork_is_noticed_when_the_log_has_trimmed_the_common_place() -> None:
    log, objects = await log_of(l2051=5), MemoryObjects()
    await Archiver(log, objects).seal()
    other = MemoryLog()
    await other.store(records_after(EMPTY, LANE, 9, "other"))
    await other.trim(LANE, 5)
    archiver = Archiver(other, objects)
    assert await archiver.seal() == 0
    assert isinstance(archiver.troubles[LANE], Forked)


async def test_a_segment_that_a_zombie_put_from_another_log_is_a_fork() -> None:
    log, objects = await log_of(l2051=5), MemoryObjects()
    archiver = Archiver(log, objects)
    await archiver.seal()
    span, data = encode_segment((await log.tops())[LANE], records_after((await log.tops())[LANE], LANE, 3, "zombie"))
    await objects.put(span.key, data)
    await grow(log, LANE, 3)
    assert await archiver.seal() == 0
    assert isinstance(archiver.troubles[LANE], Forked)
    assert span.key in str(archiver.troubles[LANE])


async def test_trimming_beyond_the_archive_is_an_alarm_until_it_is_mended() -> None:
    log, objects = await log_of(l2051=9), MemoryObjects()
    await log.trim(LANE, 3)
    archiver = Archiver(log, objects)
    assert await archiver.seal() == 0
    assert "ends at seq 0, but the log begins at seq 4" in str(archiver.troubles[LANE])
    span, data = encode_segment(EMPTY, records_after(EMPTY, LANE, 3))
    await objects.put(span.key, data)
    again = Archiver(log, objects)
    assert await again.seal() == 6
    assert again.troubles == {}


async def test_a_damaged_last_segment_stops_its_lane_by_name_until_it_is_removed() -> None:
    log, objects = await log_of(l2051=9, l4096=1), MemoryObjects()
    await Archiver(log, objects, records_max=5).seal()
    broken = "archive/2051/000000000006-000000000009.seg"
    await damage(objects, broken)
    await grow(log, LANE, 2)
    await grow(log, OTHER, 2)
    archiver = Archiver(log, objects)
    assert await archiver.seal() == 2
    assert broken in str(archiver.troubles[LANE])
    await objects.delete(broken)
    assert await archiver.seal() == 6
    assert archiver.troubles == {}
    await same(Archive(objects), log)


async def test_an_object_store_that_fails_costs_nothing_but_time() -> None:
    log, objects = await log_of(l2051=5), MemoryObjects()

    class Failing(MemoryObjects):
        async def put_new(self, key: str, data: bytes) -> bool:
            await objects.put_new(key, data)
            raise StoreUnavailable("the answer was lost")

    archiver = Archiver(log, Failing())
    archiver_objects = archiver._objects
    with pytest.raises(StoreUnavailable):
        await archiver.seal()
    await grow(log, LANE, 2)
    archiver._objects = objects
    assert archiver_objects is not objects
    assert await archiver.seal() == 2
    await same(Archive(objects), log)


# -- merging


async def test_small_segments_are_merged_when_there_are_too_many() -> None:
    log, objects = MemoryLog(), MemoryObjects()
    archiver = Archiver(log, objects, records_max=20, small_max=4)
    archive = Archive(objects)
    most = 0
    for _ in range(40):
        await grow(log, LANE, 3)
        await archiver.seal()
        await same(archive, log)
        most = max(most, len(await keys(objects)) - (await log.tops())[LANE].seq // 15)
    assert most <= 4 + 2
    assert archiver.troubles == {}
    sizes = [span.size for key in await keys(objects) if (span := Span.of(key))]
    assert max(sizes) <= 20


async def test_what_is_large_is_not_read_again_to_be_merged_and_ends_a_run_of_small_ones() -> None:
    log, objects = MemoryLog(), MemoryObjects()
    archiver = Archiver(log, objects, records_max=20, small_max=4, merged_below=5)
    for size in (2, 5, 1, 2, 6, 5, 4, 4, 4):
        await grow(log, LANE, size)
        await archiver.seal()
    assert [span.size for key in await keys(objects) if (span := Span.of(key))] == [2, 5, 3, 6, 5, 4, 4, 4]
    await grow(log, LANE, 4)
    await archiver.seal()
    await grow(log, LANE, 4)
    await archiver.seal()
    await same(Archive(objects), log)
    assert [span.size for key in await keys(objects) if (span := Span.of(key))] == [2, 5, 3, 6, 5, 20]
    restarted = Archiver(log, objects, records_max=20, small_max=4, merged_below=5)
    await grow(log, LANE, 1)
    await restarted.seal()
    assert [span.size for key in await keys(objects) if (span := Span.of(key))] == [2, 5, 3, 6, 5, 20, 1]


async def test_a_merge_respects_the_bound_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES_MAX", 400)
    log, objects = MemoryLog(), MemoryObjects()
    archiver = Archiver(log, objects, small_max=2)
    for _ in range(30):
        await grow(log, LANE, 1)
        await archiver.seal()
    archive = Archive(objects)
    await same(archive, log)
    assert 30 / 7 < len(await keys(objects)) <= 30 / 3


async def test_a_reader_that_listed_before_a_merge_reads_on() -> None:
    log, objects = MemoryLog(), MemoryObjects()
    archiver, archive = Archiver(log, objects, small_max=3), Archive(objects)
    for _ in range(3):
        await grow(log, LANE, 2)
        await archiver.seal()
    assert len(await archive.read(LANE, 0, 2)) == 2
    await grow(log, LANE, 2)
    await archiver.seal()
    assert await keys(objects) == ["archive/2051/000000000001-000000000008.seg"]
    assert len(await archive.read(LANE, 2, 100)) == 6


async def test_a_damaged_small_segment_is_not_merged_away() -> None:
    log, objects = MemoryLog(), MemoryObjects()
    archiver = Archiver(log, objects, small_max=3)
    for _ in range(3):
        await grow(log, LANE, 2)
        await archiver.seal()
    broken = "archive/2051/000000000003-000000000004.seg"
    await damage(objects, broken)
    for _ in range(3):
        await grow(log, LANE, 2)
        await archiver.seal()
        assert broken in str(archiver.troubles[LANE])
    assert broken in await keys(objects)
    assert (await Archive(objects).tops())[LANE].seq == 12


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_write_loses_and_doubles_nothing(after: bool) -> None:
    crashes = 0
    for at in range(1, 60):
        log, objects = MemoryLog(), MemoryObjects()
        crashing = Archiver(log, crashing_objects(objects, at, after=after), records_max=7, small_max=2)
        archive = Archive(objects)
        died = False
        for _ in range(8):
            await grow(log, LANE, 2)
            await grow(log, OTHER, 1)
            if not died:
                try:
                    await crashing.seal()
                except Crash:
                    died = True
        for lane, top in (await archive.tops()).items():
            await archive.prove(lane, EMPTY, top)
        restarted = Archiver(log, objects, records_max=7, small_max=2)
        await restarted.seal()
        assert restarted.troubles == {}
        await same(archive, log)
        spans = [span for key in await keys(objects) if (span := Span.of(key))]
        assert not any(one != two and one.lane == two.lane and one.covers(two) for one in spans for two in spans)
        crashes += died
    assert crashes > 20


async def test_two_archivers_at_once_do_no_harm() -> None:
    log, objects = MemoryLog(), MemoryObjects()
    one, two = (Archiver(log, objects, records_max=9, small_max=2) for _ in range(2))
    for turn in range(20):
        await grow(log, LANE, 2)
        if turn % 3 == 0:
            await asyncio.gather(one.seal(), two.seal())
        else:
            await (one, two)[turn % 2].seal()
    await one.seal()
    assert one.troubles == two.troubles == {}
    await same(Archive(objects), log)


# -- the loop


async def test_the_loop_archives_what_is_written_and_survives_bad_days() -> None:
    log, inner = MemoryLog(), MemoryObjects()
    bad_days = 2

    class Moody(MemoryObjects):
        async def put_new(self, key: str, data: bytes) -> bool:
            nonlocal bad_days
            if bad_days:
                bad_days -= 1
                raise StoreUnavailable("disk full")
            return await inner.put_new(key, data)

        get, exists, list, delete = inner.get, inner.exists, inner.list, inner.delete

    archiver = Archiver(log, Moody(), interval_ms=1)
    running = asyncio.create_task(archiver.run())
    archive = Archive(inner)
    try:
        async with asyncio.timeout(5):
            for _ in range(5):
                await grow(log, LANE, 2)
                await reached(archive, LANE, (await log.tops())[LANE].seq)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert bad_days == 0
    await same(archive, log)


async def test_a_vanished_folder_is_the_archivers_failure_as_long_as_it_lasts(tmp_path: Path) -> None:
    log, objects = await log_of(l2051=3), DirectoryObjects(tmp_path / "objects")
    archiver = Archiver(log, objects)
    await archiver.seal()
    assert archiver.failed is None
    (tmp_path / "objects").rename(tmp_path / "gone")
    await grow(log, LANE, 1)
    with pytest.raises(StoreUnavailable):
        await archiver.seal()
    assert isinstance(archiver.failed, StoreUnavailable)
    (tmp_path / "gone").rename(tmp_path / "objects")
    await archiver.seal()
    assert archiver.failed is None


async def test_a_folder_where_a_segment_is_to_be_stops_its_lane_by_name_and_not_the_datacenter(tmp_path: Path) -> None:
    """A copy of another datacenter's objects that went wrong, or a disk that lies."""
    log, objects = await log_of(l2051=3, l4096=2), DirectoryObjects(tmp_path)
    in_the_way = tmp_path / "archive/2051/000000000001-000000000003.seg"
    in_the_way.mkdir(parents=True)
    (tmp_path / "archive/4096").write_text("a file where a lane's folder is to be")
    archiver = Archiver(log, objects, interval_ms=1)
    running = asyncio.create_task(archiver.run())
    try:

        async def both_named() -> bool:
            assert not running.done(), running.exception()
            return archiver.troubles.keys() == {LANE, OTHER}

        assert await until(both_named, 10.0)
        assert "archive/2051/000000000001-000000000003.seg" in str(archiver.troubles[LANE])
        assert "archive/4096/" in str(archiver.troubles[OTHER])
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    in_the_way.rmdir()
    (tmp_path / "archive/4096").unlink()
    assert await archiver.seal() == 5
    assert archiver.troubles == {}
    await same(Archive(objects), log)
