"""What the log may forget, and that whatever it forgot can still be read."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.adapters.memory import MemoryLog
from events.ports import Top, Trimmed
from events.record import Record
from snapshot.archive import Archive
from snapshot.archiver import Archiver
from snapshot.past import LogWithPast
from snapshot.trimmer import Trimmer, trim_points
from stores.adapters.memory_objects import MemoryObjects
from tests.support.signed_lanes import groups

LANE = 8192
SEQS = st.integers(0, 60)


def lane(count: int) -> list[Record]:
    return groups([1] * count, lane=LANE, seed=b"1" * 32)


@given(archived=SEQS, stored=SEQS, bound=SEQS, end=SEQS, kept=st.integers(0, 30), refed=st.integers(0, 20))
def test_what_is_not_archived_not_stored_or_fed_again_is_never_forgotten(
    archived: int, stored: int, bound: int, end: int, kept: int, refed: int
) -> None:
    points = trim_points(
        archived={LANE: archived}, stored={LANE: stored}, bound={LANE: bound}, ends={LANE: end}, kept=kept, refed=refed
    )
    through = points.get(LANE, 0)
    assert through <= max(0, min(archived, stored, end) - refed)
    assert through <= max(0, max(bound, end - kept) - refed), "kept at hand for peers"
    if archived >= end and stored >= end:
        assert end - through <= kept + refed or through >= bound - refed
        assert end - max(through, 0) <= kept + refed or end <= kept + refed, "whoever is away, the log stays small"


class Site:
    """A log, its archive, and what stands in for stores and peers."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.log = MemoryLog()
        self.records = records
        self.objects = MemoryObjects()
        self.archiver = Archiver(self.log, self.objects)
        self.past = LogWithPast(self.log, Archive(self.objects))
        self.stored: dict[int, int] = {}
        self.bound: dict[int, int] = {}
        self.syncs = 0

    async def fill(self) -> None:
        await self.log.store(self.records)
        self.stored = self.bound = {LANE: len(self.records)}

    async def synced(self) -> dict[int, int]:
        self.syncs += 1
        return self.stored

    def trimmer(self, **how: Any) -> Trimmer:
        return Trimmer(
            self.log,
            archived=self.archiver.tops,
            stored=self.synced,
            bound=lambda: self.bound,
            **{"kept": 20, "refed": 5, "step": 1} | how,
        )


@pytest.fixture
async def site() -> Site:
    site = Site(lane(50))
    await site.fill()
    return site


async def test_nothing_goes_before_it_is_archived(site: Site) -> None:
    trimmer = site.trimmer()
    assert await trimmer.trim() == 0
    assert trimmer.first == {LANE: 1}
    assert site.syncs == 0, "no store is synced for nothing"
    await site.archiver.seal()
    assert await trimmer.trim() == 45
    assert (trimmer.first, trimmer.records) == ({LANE: 46}, 5)
    assert await trimmer.trim() == 0


async def test_a_store_that_is_behind_keeps_what_it_will_recover_from(site: Site) -> None:
    await site.archiver.seal()
    site.stored = {LANE: 12}
    await site.trimmer().trim()
    assert (await site.log.read(LANE, 12, 1))[0].seq == 13
    site.stored = {}
    trimmer = site.trimmer()
    assert await trimmer.trim() == 0
    assert trimmer.first == {LANE: 8}


async def test_a_peer_that_is_away_finds_what_it_lacks_up_to_a_number_of_records(site: Site) -> None:
    await site.archiver.seal()
    site.bound = {LANE: 40}
    await site.trimmer().trim()
    assert await site.trimmer().trim() == 0
    assert (await site.log.read(LANE, 35, 1))[0].seq == 36
    site.bound = {}
    other = Site(site.records)
    await other.fill()
    await other.archiver.seal()
    other.bound = {}
    trimmer = other.trimmer()
    await trimmer.trim()
    assert trimmer.first == {LANE: 26}, "50 - 20 for peers - 5 to feed again, though nobody confirmed anything"


async def test_few_records_are_not_worth_a_sync(site: Site) -> None:
    await site.archiver.seal()
    trimmer = site.trimmer(step=46)
    assert await trimmer.trim() == 0
    assert await site.trimmer(step=45).trim() == 45


async def test_a_long_past_goes_in_steps(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.limits.TRIM_RECORDS_MAX", 20)
    await site.archiver.seal()
    trimmer = site.trimmer()
    assert [await trimmer.trim() for _ in range(4)] == [20, 20, 5, 0]


async def test_what_was_trimmed_is_read_from_the_archive_and_the_rest_from_the_log(site: Site) -> None:
    await site.archiver.seal()
    await site.trimmer().trim()
    found: list[Record] = []
    while records := await site.past.read(LANE, len(found), 7):
        found += records
    assert found == site.records
    assert site.past.served
    assert (await site.past.tops())[LANE] == Top.of(site.records[-1])


async def test_where_the_archive_does_not_give_it_the_past_is_trimmed_as_before(site: Site) -> None:
    await site.archiver.seal()
    await site.trimmer().trim()
    for key in [key async for key in site.objects.list("")]:
        await site.objects.put(key, b"not a segment")
    with pytest.raises(Trimmed) as trimmed:
        await site.past.read(LANE, 0, 7)
    assert trimmed.value.first == 46
    for key in [key async for key in site.objects.list("")]:
        await site.objects.delete(key)
    with pytest.raises(Trimmed):
        await LogWithPast(site.log, Archive(site.objects)).read(LANE, 0, 7)


@pytest.mark.parametrize("gone", [25, 30])
async def test_what_only_the_archive_holds_of_a_lane_s_end_is_not_in_the_log(site: Site, gone: int) -> None:
    await site.archiver.seal()
    behind = MemoryLog()
    await behind.store(site.records[:30])
    await behind.trim(LANE, gone)
    past = LogWithPast(behind, Archive(site.objects))
    assert await past.read(LANE, 20, 100) == site.records[20:gone]
    assert await past.read(LANE, gone, 100) == site.records[gone:30]
