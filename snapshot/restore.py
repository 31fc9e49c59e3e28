"""Bringing up a DC from a snapshot and the archive.

A restore loads the rows, sets both stores' frontiers to F0, and fills the log's lanes from the archive. It applies no
event: the datacenter does that when it starts, from its stores' frontiers, so nothing at or below F0 is applied again.
It serves nothing before it has applied F1 (`serve_after`), and writes as a new incarnation in a new epoch.

The log begins somewhat before F0: with the records that updates are fed again from, and those of parked events.

Everything that will be needed is read and checked before anything is written. While the meta entry `restoring` is
set, no process of the DC may start; running the same restore again completes it, because every step is repeatable.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from core import limits
from core.errors import ConfigError, Corrupt, NotFound
from core.ids import Lane
from core.messages import Row
from core.system import Clock
from core.tables import MESSAGE_ROWS, TABLES
from events.ports import EventLog, Top
from events.record import Record
from snapshot import target
from snapshot.archive import EMPTY, Archive, another
from snapshot.chunks import get_rows
from snapshot.damage import Damage, gathered, in_short
from snapshot.dump import OVERWRITES, PARKED, RESULTS, verify
from snapshot.manifest import Chunk, Manifest, Place, Progress, key_of, list_snapshots, seqs_of, show, silent, tops_of
from snapshot.segment import lane_folder
from stores.ports import Frontier, Mark, MessageStore, ObjectStore, Parked, RelationalBatch, RelationalStore, Result

_log = logging.getLogger(__name__)

SERVE_AFTER = "serve_after"
"""Meta: JSON object lane number -> seq, as strings and integers: serve nothing before all of it is applied."""
ANCHORS = "anchors"
"""Meta: JSON object lane number -> place: where the log's lanes begin (for `Archiver(anchors=)`)."""
INCARNATION = "incarnation"
EPOCH = "epoch"


KNOWN_TABLES = frozenset((*TABLES, MESSAGE_ROWS, OVERWRITES, RESULTS, PARKED))


class LanePlan(NamedTuple):
    """One lane's seqs: the log begins after `begin`, the stores after `f0`; serving begins after `f1`."""

    begin: int
    f0: int
    f1: int
    end: int
    """The archive's end: the log is filled through it."""


class Plan(NamedTuple):
    """What a restore would do."""

    snapshot: Manifest
    incarnation: int
    lanes: dict[int, LanePlan]
    skipped: list[tuple[str, str]]
    """Newer snapshots that are not usable, and why."""

    @property
    def records(self) -> int:
        """How many records will be brought into the log."""
        return sum(lane.end - lane.begin for lane in self.lanes.values())

    @property
    def replayed(self) -> int:
        """How many of them the datacenter will apply when it starts."""
        return sum(lane.end - lane.f0 for lane in self.lanes.values())


async def plan(
    *,
    objects: ObjectStore,
    archive: Archive,
    number: int,
    snapshot: str | None = None,
    peer_lanes: Collection[int] = (),
    progress: Progress = silent,
) -> Plan:
    """A dry run for the DC with this number; reads only.

    Without `snapshot` it takes the newest one that is sound (everything is read: `dump.verify`). `peer_lanes`: all
    lane numbers that other DCs know of. NotFound when there is no snapshot; Corrupt when none is sound, or not the one
    that is asked for (member `damages`: each object once); ConfigError when the DC has used up its incarnations.
    """
    skipped: list[tuple[str, str]] = []
    found: dict[str, list[Damage]] = {}
    for candidate in [snapshot] if snapshot else reversed(await list_snapshots(objects)):
        found[candidate] = await verify(candidate, objects=objects, archive=archive, progress=progress)
        try:
            if found[candidate]:
                raise _unusable(f"snapshot {candidate} can't be restored", {candidate: found[candidate]})
            manifest = await show(objects, candidate)
            unknown = manifest.tables.keys() - KNOWN_TABLES
            if unknown:
                what = f"of a newer version: it has {', '.join(sorted(unknown))}"
                raise Corrupt(f"{manifest.key}: {what}", object=manifest.key)
            lanes = await _lanes(manifest, archive, objects)
        except Corrupt as error:
            if snapshot:
                raise
            found[candidate] = found[candidate] or [Damage.of(error, key_of(candidate))]
            skipped.append((candidate, in_short(gathered({candidate: found[candidate]}))))
            continue
        own = Lane(manifest.number, manifest.incarnation, 0).number
        return Plan(manifest, next_incarnation(number, [*lanes, *peer_lanes, own]), lanes, skipped)
    if not skipped:
        raise NotFound("there is no snapshot")
    raise _unusable(f"none of {len(skipped)} snapshots can be restored", found)


async def restore(
    snapshot: str,
    *,
    relational: RelationalStore,
    messages: MessageStore,
    log: EventLog,
    archive: Archive,
    objects: ObjectStore,
    number: int,
    clock: Clock,
    world: str | None = None,
    peer_lanes: Collection[int] = (),
    progress: Progress = silent,
) -> Plan:
    """Makes empty stores and an empty log those of `snapshot`; what it did.

    Conflict when something is in them already (unless a restore of the same snapshot was interrupted: that one is
    completed). ConfigError for another world, or when no incarnation is left. Corrupt names what is damaged, before
    anything is written.
    """
    await target.interrupted(relational, messages, log, snapshot)
    planned = await plan(
        objects=objects,
        archive=archive,
        number=number,
        snapshot=snapshot,
        peer_lanes={*peer_lanes, *await log.tops()},
        progress=progress,
    )
    manifest = planned.snapshot
    if world is not None and manifest.world != world:
        raise ConfigError(f"snapshot {snapshot} is of world {manifest.world}, this datacenter belongs to {world}")

    await target.interrupted(relational, messages, log, snapshot)  # a process may have begun while so much was read
    await relational.set_meta(target.RESTORING, snapshot)
    await _load_rows(manifest, relational, messages, objects, progress)
    f0: Frontier = {lane: Mark(top.seq, top.id) for lane, top in tops_of(manifest.f0).items() if top.seq}
    await relational.set_frontier(f0)
    await messages.set_frontier(f0)
    begins = await _fill_log(planned, log, archive, progress)

    epoch = max(manifest.epoch + 1, int(await relational.meta(EPOCH) or 0) + 1, clock())
    places = {lane: Place.of(top) for lane, top in begins.items()}
    await relational.set_meta(INCARNATION, str(planned.incarnation))
    await relational.set_meta(EPOCH, str(epoch))
    await relational.set_meta(SERVE_AFTER, msgspec.json.encode(seqs_of(manifest.f1)).decode())
    await relational.set_meta(ANCHORS, msgspec.json.encode(places).decode())
    await relational.set_meta(target.RESTORING, "")
    return planned


def next_incarnation(number: int, lanes: Iterable[int]) -> int:
    """The one after the greatest that this DC is known to have used; 0 for a number that was never used.

    ConfigError after 15: the lane numbers of a DC number are then used up.
    """
    used = [lane.incarnation for lane in map(Lane.of, lanes) if lane.dc == number]
    following = max(used, default=-1) + 1
    if following > limits.INCARNATION_MAX:
        raise ConfigError(
            f"datacenter number {number} has used its last incarnation ({limits.INCARNATION_MAX}):"
            " it needs a new number (0 to 31, never used before)"
        )
    return following


# -- planning


async def _lanes(manifest: Manifest, archive: Archive, objects: ObjectStore) -> dict[int, LanePlan]:
    spans = await archive.lanes()
    f0, f1 = seqs_of(manifest.f0), seqs_of(manifest.f1)
    wanted = {lane: seq - limits.REFEED_RECORDS_MAX - 1 for lane, seq in f0.items()}
    parked_copy = manifest.tables.get(PARKED)
    for chunk in parked_copy.chunks if parked_copy else ():
        for parked in await get_rows(objects, chunk, Parked):
            # To try it again its record is needed, and the id of the one before it.
            wanted[parked.lane] = min(wanted[parked.lane], parked.seq - 2)
    lanes = {}
    for lane in sorted(f0.keys() | f1.keys() | spans.keys()):
        at = f0.get(lane, 0)
        first, end = spans.get(lane, (1, 0))
        begin = await _begin(archive, lane, max(wanted.get(lane, 0), first - 1, 0), at)
        lanes[lane] = LanePlan(begin, at, f1.get(lane, 0), end)
    return lanes


async def _begin(archive: Archive, lane: int, wanted: int, f0: int) -> int:
    """Where the log is to begin. What lies before F0 is a convenience: if it is damaged, the log begins at F0."""
    if wanted >= f0:
        return f0
    try:
        await archive.prove(lane, await archive.place(lane, wanted), await archive.place(lane, f0))
    except (Corrupt, NotFound) as error:
        _log.warning("lane %d: the log will begin at F0 (seq %d): %s", lane, f0, error.detail)
        return f0
    return wanted


def _unusable(what: str, found: Mapping[str, Sequence[Damage]]) -> Corrupt:
    damaged = gathered(found)
    count = "1 object is" if len(damaged) == 1 else f"{len(damaged):,} objects are"
    return Corrupt(f"{what}: {count} damaged or missing", damages=damaged)


# -- doing


async def _load_rows(
    manifest: Manifest,
    relational: RelationalStore,
    messages: MessageStore,
    objects: ObjectStore,
    progress: Progress,
) -> None:
    async def load(name: str, chunk: Chunk) -> None:
        if name == MESSAGE_ROWS:
            await messages.load(await get_rows(objects, chunk, Row))
        elif name == RESULTS:
            await relational.apply(_local(results=await get_rows(objects, chunk, Result)))
        elif name == PARKED:
            await relational.apply(_local(parked=await get_rows(objects, chunk, Parked)))
        else:
            await relational.load(name, await get_rows(objects, chunk))

    done = 0
    for name, table in manifest.tables.items():
        for chunk in table.chunks:
            await load(name, chunk)
            done += chunk.rows
            progress("load rows", done, manifest.rows)
    await messages.flush()


def _local(results: Sequence[Result] = (), parked: Sequence[Parked] = ()) -> RelationalBatch:
    return RelationalBatch(effects=(), results=results, parked=parked, unparked=(), frontier={})


async def _fill_log(planned: Plan, log: EventLog, archive: Archive, progress: Progress) -> dict[int, Top]:
    """Seeds the lanes and brings the records; where the lanes begin."""
    f0, f1 = tops_of(planned.snapshot.f0), tops_of(planned.snapshot.f1)
    begins = {lane: await archive.place(lane, plan.begin) for lane, plan in planned.lanes.items()}
    begins = {lane: top for lane, top in begins.items() if top.seq}
    await log.seed(begins)
    done = 0
    for lane in planned.lanes:
        top = begins.get(lane, EMPTY)
        async for records in archive.following(lane, top):
            for known in (f0.get(lane, EMPTY), f1.get(lane, EMPTY)):
                at = known.seq - records[0].seq
                if 0 <= at < len(records) and records[at].hash != known.hash:
                    raise another(lane, known.seq)
            for batch in _batches(records):
                await log.store(batch)
                done += len(batch)
                progress("fill the log", done, planned.records)
            top = Top.of(records[-1])
        if lane in f1 and top.seq < f1[lane].seq:
            what = f"ends at seq {top.seq}, before F1 ({f1[lane].seq})"
            raise Corrupt(f"{lane_folder(lane)}: {what}", object=lane_folder(lane))
    return begins


def _batches(records: Sequence[Record]) -> Iterable[list[Record]]:
    """Stretches of at most PULL_BYTES_MAX, or one record."""
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and size + len(record.body) > limits.PULL_BYTES_MAX:
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += len(record.body)
    if batch:
        yield batch
