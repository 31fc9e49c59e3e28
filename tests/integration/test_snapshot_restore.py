"""Snapshots and restores that crash, meet damage or are asked for the wrong thing."""

import json
from pathlib import Path
from typing import Any

import pytest

from core import limits
from core.errors import ConfigError, Conflict, Corrupt, Forked, NotFound, StoreUnavailable
from core.ids import Lane
from events.adapters.memory import MemoryLog
from events.ports import Top
from snapshot import dump, restore, target
from snapshot.archive import EMPTY, Archive
from snapshot.chunks import Cutter, get_rows
from snapshot.damage import Damage, Damaged, spoiled
from snapshot.manifest import Manifest, decode_manifest, id_at, key_of, list_snapshots, seqs_of, show
from snapshot.segment import Span, encode_segment
from stores.adapters.directory_objects import DirectoryObjects
from stores.adapters.memory_messages import MemoryMessageStore
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.ports import Parked, RelationalBatch, Result
from tests.support.lanes import records_after
from tests.support.objects import BusyObjects, Crash, Crashes, damage, keys
from tests.support.snapshot_world import DC, FOREIGN, NOW_MS, OWN, World, apply, now, state
from tests.support.stores import message_store, relational_store

RELATIONAL = ("apply", "load", "set_frontier", "set_meta")
MESSAGES = ("load", "set_frontier", "flush")
LOG = ("seed", "store")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHUNK_ROWS_MAX", 3)
    monkeypatch.setattr(limits, "CHUNK_ROWS_MEAN", 2)
    monkeypatch.setattr(limits, "ARCHIVE_INTERVAL_MS", 0)
    monkeypatch.setattr(limits, "PULL_RECORDS_MAX", 7)
    monkeypatch.setattr(limits, "REFEED_RECORDS_MAX", 4)


async def lived(seed: int = 1, steps: int = 120) -> tuple[World, Manifest]:
    """A world with a snapshot and events after it."""
    world = World(seed)
    for _ in range(steps):
        await world.step()
    manifest = await world.snapshot()
    for _ in range(20):
        await world.step()
    await world.archiver.seal()
    return world, manifest


class Site:
    """An empty DC to restore into."""

    def __init__(self, world: World, relational: Any = None, messages: Any = None) -> None:
        self.objects = world.objects
        self.relational = relational or MemoryRelationalStore(clock=now)
        self.messages = messages or MemoryMessageStore()
        self.log = MemoryLog()

    async def restore(self, snapshot: str, crashes: Crashes | None = None, **more: Any) -> restore.Plan:
        crashes = crashes or Crashes(10**9, after=False)
        return await restore.restore(
            snapshot,
            relational=crashes.around(self.relational, *RELATIONAL),
            messages=crashes.around(self.messages, *MESSAGES),
            log=crashes.around(self.log, *LOG),
            archive=Archive(self.objects),
            objects=self.objects,
            **({"number": DC, "clock": now} | more),
        )

    async def everything(self) -> Any:
        log = {}
        for lane, top in (await self.log.tops()).items():
            first = min(self.log._lanes[lane].records, default=top.seq + 1)
            log[lane] = await self.log.read(lane, first - 1, top.seq)
        metas = ("incarnation", "serve_after", "anchors", "restoring")  # a second run may take a later epoch
        return (
            await state(self.relational, self.messages),
            await self.relational.frontier(),
            await self.messages.frontier(),
            await self.relational.parked(),
            await self.relational.results(0, 10_000),
            log,
            {name: await self.relational.meta(name) for name in metas},
        )

    async def empty(self) -> bool:
        rows = await state(self.relational, self.messages)
        frontiers = await self.relational.frontier() or await self.messages.frontier() or await self.log.tops()
        return not (any(rows.values()) or frontiers or await target.unfinished(self.relational))


# -- what a restore leaves


async def test_a_restored_dc_knows_what_it_may_and_may_not_do() -> None:
    world, manifest = await lived()
    site = Site(world)
    plan = await site.restore(manifest.id)
    f0 = {lane: seq for lane, seq in seqs_of(manifest.f0).items() if seq}
    for store in (site.relational, site.messages):
        assert {lane: mark.seq for lane, mark in (await store.frontier()).items()} == f0
    assert await site.log.tops() == await Archive(world.objects).tops()
    assert plan.incarnation == 1
    assert await site.relational.meta("incarnation") == "1"
    serve_after = json.loads(await site.relational.meta("serve_after") or "")
    assert {int(lane): seq for lane, seq in serve_after.items()} == seqs_of(manifest.f1)
    assert int(await site.relational.meta("epoch") or 0) > manifest.epoch
    assert await target.unfinished(site.relational) is None
    for lane, moves in plan.lanes.items():
        assert moves.begin == max(0, moves.f0 - limits.REFEED_RECORDS_MAX - 1)
        assert moves.begin <= moves.f0 <= moves.f1 <= moves.end == (await site.log.tops())[lane].seq
        assert len(await site.log.read(lane, moves.begin, 10**6)) == moves.end - moves.begin
    assert plan.records >= plan.replayed > 0


async def test_the_epoch_is_later_than_any_that_the_burnt_dc_may_have_begun() -> None:
    """Epochs that began after the snapshot are not in it; clients may still hold them."""
    world, manifest = await lived()
    site = Site(world)
    await site.restore(manifest.id, clock=lambda: NOW_MS + 5)
    assert int(await site.relational.meta("epoch") or 0) == NOW_MS + 5
    await site.relational.set_meta("epoch", str(NOW_MS + 99))
    again = Site(world, relational=MemoryRelationalStore(clock=now))
    await again.relational.set_meta("epoch", str(NOW_MS + 99))
    await again.restore(manifest.id)
    assert int(await again.relational.meta("epoch") or 0) == NOW_MS + 100


async def test_parked_events_results_and_conflicts_survive() -> None:
    world = World(5)
    for _ in range(150):
        await world.step()
    await world.archiver.seal()
    for lane, top in (await world.log.tops()).items():
        done = (await world.messages.frontier()).get(lane)
        await apply(await world.log.read(lane, done.seq if done else 0, top.seq), None, world.messages)
        await apply(await world.log.read(lane, 0, top.seq), world.relational, None)
    record = (await world.log.read(OWN, 10, 1))[0]
    parked = [Parked(OWN, 11, record.id, "of a later version")]
    recent = (await world.log.read(FOREIGN, 3, 1))[0]
    results = [Result("Ua", "key", recent.id, "group.create", b"12345678", {"chat": "G1", "deep": {"a": [1]}})]
    await world.relational.apply(RelationalBatch((), results, parked, (), {}))
    world.step = _nothing  # type: ignore[method-assign]
    manifest = await world.snapshot()
    site = Site(world)
    plan = await site.restore(manifest.id)
    assert await site.relational.parked() == parked
    assert await site.relational.results(0, 10_000) == results
    assert await site.relational.conflicts() == await world.relational.conflicts() != []
    # To try the parked event again, its record and the id before it are needed.
    assert plan.lanes[OWN].begin <= 9
    assert (await site.log.read(OWN, 9, 2))[1] == record


async def test_what_is_parked_above_f0_is_left_to_the_replay() -> None:
    world = World(5)
    for _ in range(100):
        await world.step()
    low = (await world.both())[OWN].seq
    await world.relational.apply(RelationalBatch((), (), [Parked(OWN, low + 1, 1, "later")], (), {}))
    world.step = _nothing  # type: ignore[method-assign]
    await world.archiver.seal()
    manifest = await world.snapshot()
    assert manifest.f0[OWN].seq == low
    assert manifest.tables["parked"].rows == 0


async def _nothing() -> None:
    """A quiet time."""


# -- crashes


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_snapshot_that_dies_at_any_write_publishes_nothing_or_all(after: bool) -> None:
    for at in range(1, 400):
        world = World(3)
        for _ in range(60):
            await world.step()
        await world.archiver.seal()
        real, world.objects = world.objects, Crashes(at, after=after).around(world.objects, "put", "put_new", "delete")
        world.step = _nothing  # type: ignore[method-assign]
        try:
            await world.snapshot()
        except Crash:
            world.objects = real
        else:
            assert at > 15
            return
        for snapshot in await list_snapshots(real):
            assert await dump.verify(snapshot, objects=real, archive=Archive(real)) == []
            assert after
        world.step = World.step.__get__(world)  # type: ignore[method-assign]
        if not await list_snapshots(real):
            manifest = await world.snapshot()
            assert await dump.verify(manifest.id, objects=real, archive=Archive(real)) == []
    raise AssertionError("it never got through")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_restore_that_dies_anywhere_is_completed_by_running_it_again(after: bool) -> None:
    world, manifest = await lived()
    whole = Site(world)
    await whole.restore(manifest.id)
    wanted = await whole.everything()
    for at in range(1, 400):
        site, crashes = Site(world), Crashes(at, after=after)
        try:
            await site.restore(manifest.id, crashes)
        except Crash:
            begun = await target.unfinished(site.relational)
            finished = await site.everything() == wanted
            # Whatever is there, the marker says so; without it there is nothing at all, or everything.
            assert begun == manifest.id or await site.empty() or finished
            if finished:
                continue
            await site.restore(manifest.id)
        assert await site.everything() == wanted
        if not crashes.happened:
            assert at > 20
            return
    raise AssertionError("it never got through")


async def test_an_interrupted_restore_is_not_followed_by_one_of_another_snapshot(monkeypatch: Any) -> None:
    world, manifest = await lived()
    site = Site(world)
    with pytest.raises(Crash):
        await site.restore(manifest.id, Crashes(5, after=True))
    with pytest.raises(Conflict, match=f"a restore of {manifest.id} was interrupted"):
        await site.restore("20990101T000000.000Z-fra")


async def test_over_sqlite_an_interrupted_restore_is_completed_by_the_next_process(tmp_path: Path) -> None:
    world, manifest = await lived()
    whole = Site(world)
    await whole.restore(manifest.id)
    log = MemoryLog()
    for at in (3, 9, 14, 10**6):
        async with relational_store("sqlite", tmp_path) as relational, message_store("sqlite", tmp_path) as messages:
            site = Site(world, relational, messages)
            site.log = log
            try:
                await site.restore(manifest.id, Crashes(at, after=False))
            except Crash:
                assert await target.unfinished(relational) == manifest.id
                continue
            assert await site.everything() == await whole.everything()


# -- refusals


async def test_stores_that_hold_anything_are_refused_and_named() -> None:
    world, manifest = await lived()
    for store, named in (("relational", r"the relational store has rows \(users"),
                         ("messages", "the message store has rows"),
                         ("log", "the event log holds 3 lanes")):  # fmt: skip
        site = Site(world)
        setattr(site, store, getattr(world, store))
        with pytest.raises(Conflict, match=named):
            await site.restore(manifest.id)


async def test_rows_without_a_frontier_are_refused_too() -> None:
    world, manifest = await lived()
    site = Site(world)
    await site.relational.load("sessions", [{"session": "s", "user": "Ua"}])
    with pytest.raises(Conflict, match=r"the relational store has rows \(sessions\)"):
        await site.restore(manifest.id)


async def test_another_world_is_refused() -> None:
    world, manifest = await lived()
    site = Site(world)
    with pytest.raises(ConfigError, match="is of world world, this datacenter belongs to other"):
        await site.restore(manifest.id, world="other")
    assert await site.empty()


def test_the_next_incarnation_follows_all_that_anyone_has_seen() -> None:
    def lane(dc: int, incarnation: int) -> int:
        return Lane(dc, incarnation, 3).number

    assert restore.next_incarnation(5, []) == 0
    assert restore.next_incarnation(5, [lane(4, 9)]) == 0
    assert restore.next_incarnation(5, [lane(5, 0), lane(4, 9)]) == 1
    assert restore.next_incarnation(5, [lane(5, 14), lane(5, 2)]) == 15
    with pytest.raises(ConfigError, match=r"number 5 has used its last incarnation \(15\): it needs a new number"):
        restore.next_incarnation(5, [lane(5, 15)])


async def test_peers_know_of_incarnations_that_the_archive_never_saw() -> None:
    world, manifest = await lived()
    plan = await Site(world).restore(manifest.id, peer_lanes=[Lane(DC, 6, 0).number, Lane(2, 9, 0).number])
    assert plan.incarnation == 7
    site = Site(world)
    with pytest.raises(ConfigError, match="new number"):
        await site.restore(manifest.id, peer_lanes=[Lane(DC, 15, 0).number])
    assert await site.empty()


async def test_a_dc_with_a_new_number_begins_at_incarnation_0() -> None:
    world, manifest = await lived()
    assert (await Site(world).restore(manifest.id, number=9)).incarnation == 0


# -- damage


async def test_every_damaged_object_is_named_and_nothing_is_restored_from_it() -> None:
    world, manifest = await lived()
    needed = [f"chunks/{hash}" for hash in manifest.chunks()]
    archived = await keys(world.objects, "archive/")
    low = {lane: place.seq for lane, place in manifest.f0.items()}
    needed += [key for key in archived if int(key[-16:-4]) > low.get(int(key.split("/")[1]), 0)]
    assert len(needed) > 20
    for key in needed:
        data = await world.objects.get(key)
        for harm in ("flip", "cut", "lose"):
            if harm == "lose" and key.startswith("archive/"):
                continue  # the archive then ends there: below
            await _harm(world, key, harm)
            found = await dump.verify(manifest.id, objects=world.objects, archive=Archive(world.objects))
            assert [damage.object for damage in found] == [key]
            assert found[0].what and key not in found[0].what, "it is named once"
            site = Site(world)
            with pytest.raises(Corrupt, match="1 object is damaged or missing") as refused:
                await site.restore(manifest.id)
            assert [one.object for one in damaged(refused.value)] == [key]
            assert await site.empty()
            await world.objects.put(key, data)
    assert await dump.verify(manifest.id, objects=world.objects, archive=Archive(world.objects)) == []


async def _harm(world: World, key: str, harm: str) -> None:
    if harm == "flip":
        await damage(world.objects, key)
    elif harm == "cut":
        await world.objects.put(key, (await world.objects.get(key))[:-3])
    else:
        await world.objects.delete(key)


async def test_an_archive_that_no_longer_reaches_f1_is_named_by_its_lane() -> None:
    world, manifest = await lived()
    lane = OWN
    for key in await keys(world.objects, f"archive/{lane}/"):
        if int(key[-16:-4]) >= manifest.f1[lane].seq:
            await world.objects.delete(key)
    found = await dump.verify(manifest.id, objects=world.objects, archive=Archive(world.objects))
    assert [damage.object for damage in found] == [f"archive/{lane}/"]
    with pytest.raises(Corrupt) as refused:
        await Site(world).restore(manifest.id)
    assert [one.object for one in damaged(refused.value)] == [f"archive/{lane}/"]


async def test_a_hole_behind_f1_is_damage_and_not_the_end_of_the_archive() -> None:
    """What follows F1 is replayed, too: a segment that is missing while later ones are there must be told."""
    world, manifest = await lived()
    end = manifest.f1[OWN].seq
    top = (await Archive(world.objects).tops())[OWN]
    for _ in range(3):
        records = records_after(top, OWN, 5)
        span, data = encode_segment(top, records)
        await world.objects.put(span.key, data)
        top = Top.of(records[-1])
    assert await dump.verify(manifest.id, objects=world.objects, archive=Archive(world.objects)) == []
    *_, hole, last = await keys(world.objects, f"archive/{OWN}/")
    first = int(hole[-29:-17])
    assert first > end
    await world.objects.delete(hole)
    folder = f"archive/{OWN}/"
    found = await dump.verify(manifest.id, objects=world.objects, archive=Archive(world.objects))
    what = f"seqs {first} to {first + 4} are missing, but later ones are there"
    assert found == [Damage(folder, what)]
    with pytest.raises(Corrupt) as refused:
        await Site(world).restore(manifest.id)
    assert damaged(refused.value) == [Damaged(folder, [what], [manifest.id])]
    # Every snapshot needs what is missing there, by the quick look as well.
    other = await dump.create(
        relational=world.relational, messages=world.messages, archive=Archive(world.objects), objects=world.objects,
        site=restore_site(manifest), clock=lambda: NOW_MS + 60_000,
    )  # fmt: skip
    (quick,) = await spoiled(manifest.id, found, objects=world.objects, archive=Archive(world.objects))
    assert quick.snapshots == [manifest.id, other.id]
    await world.objects.delete(last)
    assert await dump.verify(manifest.id, objects=world.objects, archive=Archive(world.objects)) == []


async def test_segments_that_are_missing_only_before_f0_are_no_damage_to_a_snapshot() -> None:
    """Everything that a restore needs is there: the log begins behind the hole."""
    world, first = await lived()
    top = (await Archive(world.objects).tops())[OWN]
    f0 = first.f0[OWN].seq
    # Other segments of the same lane, so that one can be missing on either side of another.
    records = [one for at in range(0, top.seq, 500) for one in await Archive(world.objects).read(OWN, at, 500)]
    for key in await keys(world.objects, f"archive/{OWN}/"):
        await world.objects.delete(key)
    for begin in range(0, top.seq, 2):
        before = Top.of(records[begin - 1]) if begin else EMPTY
        span, data = encode_segment(before, records[begin : begin + 2])
        await world.objects.put(span.key, data)
    segments = await keys(world.objects, f"archive/{OWN}/")
    assert 10 < f0 < top.seq - 3, (f0, top.seq)
    whole = Site(world)
    await whole.restore(first.id)
    wanted = await whole.everything()
    for gone, harmless in (((2,), True), ((0, 2, 4), True), (((f0 - 1) // 2 - 1,), True), ((f0 // 2 + 1,), False)):
        kept = {segments[at]: await world.objects.get(segments[at]) for at in gone}
        for key in kept:
            await world.objects.delete(key)
        found = await dump.verify(first.id, objects=world.objects, archive=Archive(world.objects))
        site = Site(world)
        if harmless:
            assert found == []
            await site.restore(first.id)
            (*rows, log, metas), (*rows_wanted, log_wanted, metas_wanted) = await site.everything(), wanted
            assert rows == rows_wanted, "all but where the log begins"
            assert log[OWN] == log_wanted[OWN][-len(log[OWN]) :] and log[OWN][0].seq <= f0 + 1
            assert metas.pop("anchors") and metas.items() <= metas_wanted.items()
        else:
            assert [damage.object for damage in found] == [f"archive/{OWN}/"]
            with pytest.raises(Corrupt, match="1 object is damaged or missing"):
                await site.restore(first.id)
        for key, data in kept.items():
            await world.objects.put(key, data)


async def forked(world: World, manifest: Manifest) -> None:
    """Replaces what follows F0 of a lane by other records that chain just as well."""
    start, end = manifest.f0[OWN].top(), manifest.f1[OWN].top()
    archive = Archive(world.objects)
    kept = await archive.read(OWN, 0, start.seq)
    for key in await keys(world.objects, f"archive/{OWN}/"):
        await world.objects.delete(key)
    for previous, records in ((EMPTY, kept), (start, records_after(start, OWN, end.seq - start.seq + 3, "other"))):
        span, data = encode_segment(previous, records)
        await world.objects.put(span.key, data)


async def test_an_archive_that_leads_from_f0_to_another_f1_is_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    world, manifest = await lived()
    assert manifest.f0[OWN].seq < manifest.f1[OWN].seq
    await forked(world, manifest)
    found = await dump.verify(manifest.id, objects=world.objects, archive=Archive(world.objects))
    assert [(damage.object, "another record" in damage.what) for damage in found] == [(f"archive/{OWN}/", True)]

    async def blind(*_: Any, **__: Any) -> list[Any]:
        return []

    monkeypatch.setattr(restore, "verify", blind)
    site = Site(world)
    with pytest.raises(Forked, match=f"holds another record at seq {manifest.f1[OWN].seq}"):
        await site.restore(manifest.id)
    assert await target.unfinished(site.relational) == manifest.id


async def test_a_store_that_holds_other_events_than_the_archive_makes_no_snapshot() -> None:
    world, _ = await lived()
    world.step = _nothing  # type: ignore[method-assign]
    for store in (world.relational, world.messages):
        await store.set_frontier({lane: mark._replace(id=mark.id + 1) for lane, mark in (await world.both()).items()})
    with pytest.raises(Forked, match="store and archive hold different events"):
        await world.snapshot()


async def test_an_archive_may_begin_anywhere_before_f0() -> None:
    """Old segments may have been moved elsewhere."""
    world, manifest = await lived()
    moved = 0
    for key in await keys(world.objects, "archive/"):
        span = Span.of(key)
        if span is not None and span.last <= manifest.f0[span.lane].seq - 1:
            await world.objects.delete(key)
            moved += 1
    assert moved > 3
    assert await dump.verify(manifest.id, objects=world.objects, archive=Archive(world.objects)) == []
    site = Site(world)
    plan = await site.restore(manifest.id)
    assert all(lane.begin <= lane.f0 for lane in plan.lanes.values())
    assert await site.log.tops() == await Archive(world.objects).tops()


async def test_damage_before_f0_costs_only_the_refeeding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REFEED_RECORDS_MAX", 10**6)
    world, manifest = await lived()
    key = (await keys(world.objects, f"archive/{OWN}/"))[0]
    assert int(key[-16:-4]) < manifest.f0[OWN].seq
    await damage(world.objects, key)
    site = Site(world)
    plan = await site.restore(manifest.id)
    assert plan.lanes[OWN].begin == plan.lanes[OWN].f0 > 0
    assert plan.lanes[FOREIGN].begin == 0


async def test_a_damaged_manifest_is_named() -> None:
    world, manifest = await lived()
    text = (await world.objects.get(manifest.key)).decode()
    seq = manifest.f1[OWN].seq
    later = text.replace('"format": 1', '"format": 2').replace('"tables"', '"arrangement"')
    for harmed, words in (
        (text.replace(f'"seq": {seq}', f'"seq": {seq + 1}', 1), "changed after it was written (its checksum differs)"),
        (text[:-5], f"cut short: it has {len(text) - 5:,} bytes, and its JSON does not end"),
        ("", "empty"),
        (text.replace(": ", " ", 1), "not JSON"),
        (text.replace("{", "[", 1), "JSON, but no manifest"),
        ('["a list"]', "JSON, but no manifest"),
        ("{}", "JSON, but no manifest"),
        (text.replace('"world"', '"planet"'), "says it is of format 1, and is not"),
        (later, "written by a newer version: in format 2, this one reads 1"),
        (text.replace('"format": 1', '"format": 0'), "written by an older version: in format 0, this one reads 1"),
    ):
        assert harmed != text
        await world.objects.put(manifest.key, harmed.encode())
        with pytest.raises(Corrupt) as shown:
            await show(world.objects, manifest.id)
        assert shown.value.detail == f"{manifest.key}: {words}"
        with pytest.raises(Corrupt, match=f"snapshot {manifest.id} can't be restored: 1 object is") as refused:
            await Site(world).restore(manifest.id)
        assert damaged(refused.value) == [Damaged(manifest.key, [words], [manifest.id])]
    moved = f"snapshots/{manifest.id}-copy/manifest.json"
    with pytest.raises(Corrupt, match=f"it is the manifest of {manifest.id}: its folder has another name"):
        decode_manifest(moved, text.encode())


# -- choosing


async def test_a_dry_run_takes_the_newest_sound_snapshot_and_writes_nothing() -> None:
    world, old = await lived()
    later = await dump.create(
        relational=world.relational, messages=world.messages, archive=Archive(world.objects), objects=world.objects,
        site=restore_site(old), clock=lambda: NOW_MS + 60_000,
    )  # fmt: skip
    assert await list_snapshots(world.objects) == [old.id, later.id]
    before = await keys(world.objects)
    plan = await restore.plan(objects=world.objects, archive=Archive(world.objects), number=DC)
    assert (plan.snapshot.id, plan.skipped) == (later.id, [])
    assert await keys(world.objects) == before

    only_new = next(hash for hash in later.chunks() if hash not in old.chunks())
    await damage(world.objects, f"chunks/{only_new}")
    plan = await restore.plan(objects=world.objects, archive=Archive(world.objects), number=DC)
    assert plan.snapshot.id == old.id
    assert [name for name, _ in plan.skipped] == [later.id]
    assert only_new in plan.skipped[0][1]


def restore_site(manifest: Manifest) -> dump.Site:
    return dump.Site(manifest.world, manifest.dc, manifest.number, manifest.incarnation, manifest.epoch)


async def test_without_a_sound_snapshot_it_says_so_and_why() -> None:
    world = World(1)
    with pytest.raises(NotFound, match="there is no snapshot"):
        await restore.plan(objects=world.objects, archive=Archive(world.objects), number=DC)
    with pytest.raises(NotFound, match="there is no snapshot x"):
        await restore.plan(objects=world.objects, archive=Archive(world.objects), number=DC, snapshot="x")
    world, manifest = await lived()
    await damage(world.objects, manifest.key)
    with pytest.raises(Corrupt, match="none of 1 snapshots can be restored: 1 object is damaged or missing") as found:
        await restore.plan(objects=world.objects, archive=Archive(world.objects), number=DC)
    assert [one.object for one in damaged(found.value)] == [manifest.key]


def damaged(error: Corrupt) -> list[Damaged]:
    found: Any = error.members["damages"]
    return list(found)


async def test_one_damaged_object_that_every_snapshot_needs_is_named_once() -> None:
    world, old = await lived()
    new = await dump.create(
        relational=world.relational, messages=world.messages, archive=Archive(world.objects), objects=world.objects,
        site=restore_site(old), clock=lambda: NOW_MS + 60_000,
    )  # fmt: skip
    segment = [key for key in await keys(world.objects) if key.endswith(".seg")][-1]
    await damage(world.objects, segment)
    archive = Archive(world.objects)
    with pytest.raises(Corrupt, match="none of 2 snapshots can be restored: 1 object is damaged or missing") as found:
        await restore.plan(objects=world.objects, archive=archive, number=DC)
    both = [Damaged(segment, ["damaged (its checksum differs)"], [old.id, new.id])]
    assert damaged(found.value) == both
    of_one = await dump.verify(new.id, objects=world.objects, archive=archive)
    assert await spoiled(new.id, of_one, objects=world.objects, archive=archive) == both


async def test_what_is_lost_with_an_object_is_found_by_what_the_manifests_name() -> None:
    """As a restore finds it by reading everything."""
    world, old = await lived()
    for _ in range(40):
        await world.step()
    new = await dump.create(
        relational=world.relational, messages=world.messages, archive=Archive(world.objects), objects=world.objects,
        site=restore_site(old), clock=lambda: NOW_MS + 60_000,
    )  # fmt: skip
    own = [f"archive/{OWN}/"] if new.f0[OWN].seq > old.f1[OWN].seq else []
    lost_both = own_only = 0
    for key in [*(f"chunks/{hash}" for hash in new.chunks()), *own, *await keys(world.objects, f"archive/{FOREIGN}/")]:
        kept = {one: await world.objects.get(one) for one in await keys(world.objects, key)}
        for one in kept:
            await damage(world.objects, one) if one == key else await world.objects.delete(one)
        archive = Archive(world.objects)
        everything = {id: await dump.verify(id, objects=world.objects, archive=archive) for id in (old.id, new.id)}
        if everything[new.id]:
            (quick,) = await spoiled(new.id, everything[new.id], objects=world.objects, archive=archive)
            assert quick.snapshots == [id for id, found in everything.items() if found]
            lost_both += len(quick.snapshots) == 2
            own_only += quick.snapshots == [new.id]
        for one, data in kept.items():
            await world.objects.put(one, data)
    assert lost_both and own_only


async def test_whatever_is_in_the_stores_already_stops_a_restore_before_it_reads() -> None:
    world, manifest = await lived()
    site = Site(world)
    assert await target.interrupted(site.relational, site.messages, site.log) is None
    assert await target.interrupted(None, None, site.log) is None, "files that do not exist are empty"
    with pytest.raises(Conflict, match=r"the relational store has rows \(users.*holds \d+ lanes"):
        await target.interrupted(world.relational, world.messages, world.log)
    with pytest.raises(Conflict, match=r"but the event log holds \d+ lanes\. Move"):
        await target.interrupted(None, None, world.log)
    with pytest.raises(Crash):
        await site.restore(manifest.id, Crashes(5, after=True))
    assert await target.interrupted(site.relational, site.messages, site.log) == manifest.id
    assert await target.interrupted(site.relational, site.messages, site.log, manifest.id) == manifest.id
    with pytest.raises(Conflict, match=f"a restore of {manifest.id} was interrupted"):
        await target.interrupted(site.relational, site.messages, site.log, "20990101T000000.000Z-fra")


async def test_a_process_that_began_while_a_restore_read_is_not_written_into() -> None:
    """All that is needed is read first, which takes minutes where it is much."""
    world, manifest = await lived()
    site = Site(world)

    class Meanwhile:
        async def get(self, key: str) -> bytes:
            if not await site.log.tops():
                await site.log.store(records_after(EMPTY, OWN, 1))
            return await world.objects.get(key)

        def __getattr__(self, name: str) -> Any:
            return getattr(world.objects, name)

    site.objects = Meanwhile()  # type: ignore[assignment]
    with pytest.raises(Conflict, match="the event log holds 1 lane"):
        await site.restore(manifest.id)
    assert await target.unfinished(site.relational) is None
    assert not any((await state(site.relational, site.messages)).values())


async def test_a_disk_that_surely_can_not_hold_the_rows_is_named() -> None:
    _, manifest = await lived()
    needed = sum(chunk.raw_bytes for chunk in manifest.chunks().values())
    target.check_room(manifest, "/data", needed)
    with pytest.raises(StoreUnavailable, match=r"^/data has .* bytes left; the rows of .* need more than"):
        target.check_room(manifest, "/data", needed - 1)


def test_ids_of_snapshots_sort_by_time() -> None:
    ids = [id_at(ms, "fra") for ms in (0, 999, 1_000, 1_700_000_000_123, 1_700_000_060_000, 4_000_000_000_000)]
    assert ids == sorted(ids)
    assert ids[3] == "20231114T221320.123Z-fra"
    assert key_of(ids[3]) == "snapshots/20231114T221320.123Z-fra/manifest.json"


async def test_an_id_that_is_taken_makes_the_second_snapshot_void() -> None:
    world, manifest = await lived()
    with pytest.raises(dump.SnapshotVoid, match=f"there is a snapshot {manifest.id} already"):
        await world.snapshot()
    assert await show(world.objects, manifest.id) == manifest


# -- chunks


async def test_unchanged_data_is_reused_and_one_row_more_changes_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHUNK_ROWS_MAX", 200)
    monkeypatch.setattr(limits, "CHUNK_ROWS_MEAN", 20)

    def cut(users: list[int]) -> list[bytes]:
        cutter = Cutter()
        rows = [{"user": f"U{user:05d}", "name": "n"} for user in sorted(users)]
        chunks = [raw for at in range(0, len(rows), 33) for _, raw in cutter.feed(rows[at : at + 33])]
        return chunks + [raw for _, raw in cutter.finish()]

    users = list(range(0, 4000, 2))
    before = cut(users)
    assert 50 < len(before) < 200
    for new in (-1, 1001, 2999, 9999):
        after = cut([*users, new])
        assert len(set(after) - set(before)) <= 2
    assert b"".join(before).count(b"\n") == len(users)


async def test_a_reused_chunk_that_was_damaged_is_made_whole_again() -> None:
    world, manifest = await lived()
    hash = next(iter(manifest.tables["message_rows"].chunks)).hash
    sound = await world.objects.get(f"chunks/{hash}")
    await damage(world.objects, f"chunks/{hash}")
    await dump.create(
        relational=world.relational, messages=world.messages, archive=Archive(world.objects), objects=world.objects,
        site=restore_site(manifest), clock=lambda: NOW_MS + 60_000,
    )  # fmt: skip
    assert await world.objects.get(f"chunks/{hash}") == sound


async def test_several_snapshots_are_verified_with_one_look_at_a_chunk_that_they_share() -> None:
    world, manifest = await lived()
    other = await dump.create(
        relational=world.relational, messages=world.messages, archive=Archive(world.objects), objects=world.objects,
        site=restore_site(manifest), clock=lambda: NOW_MS + 60_000,
    )  # fmt: skip
    hash = next(iter(manifest.chunks().keys() & other.chunks().keys()))
    await damage(world.objects, f"chunks/{hash}")
    looks: list[str] = []

    async def look(key: str) -> None:
        looks.append(key)

    objects = BusyObjects(world.objects, look)
    read: dict[str, Damage | None] = {}
    for id in (manifest.id, other.id):
        found = await dump.verify(id, objects=objects, archive=Archive(objects), read=read)
        assert [damage.object for damage in found] == [f"chunks/{hash}"], "both are told"
    assert looks.count(f"chunks/{hash}") == 1


async def test_chunks_can_be_read_by_hand() -> None:
    world, manifest = await lived()
    chunk = manifest.tables["users"].chunks[0]
    rows = await get_rows(world.objects, chunk)
    assert all(row["user"].startswith("U") and row["name_at"] if "name" in row else True for row in rows)


# -- on a disk


async def test_over_a_directory_snapshots_restore_as_over_memory(tmp_path: Path) -> None:
    world = World(8)
    world.objects = DirectoryObjects(tmp_path)  # type: ignore[assignment]
    world.archiver._objects = world.objects
    world.archiver._archive = Archive(world.objects)
    for _ in range(60):
        await world.step()
    manifest = await world.snapshot()
    await world.archiver.seal()
    stages: dict[str, tuple[int, int]] = {}
    site = Site(world)
    await site.restore(manifest.id, progress=lambda stage, done, total: stages.update({stage: (done, total)}))
    assert set(stages) == {"verify chunks", "verify the archive", "load rows", "fill the log"}
    assert all(done == total for done, total in stages.values())
    assert await site.log.tops() == await world.log.tops()
