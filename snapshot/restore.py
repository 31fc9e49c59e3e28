"""Bringing up a DC from a snapshot and the archive.

A restore loads the rows, sets both stores' frontiers to F0, begins the log's lanes at F0 and fills them with what the
archive holds after it. It applies no event: the datacenter does that when it starts, from its stores' frontiers. It
serves nothing before it has applied F1 (`serve_after`), and writes as a new incarnation in a new epoch.

Everything that will be needed is read and checked before anything is written. While the meta entry `restoring` is
set, no process of the DC may start; running the same restore again completes it, because every step is repeatable.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from core import limits
from core.errors import ConfigError, Conflict, Corrupt, NotFound
from core.ids import Lane
from core.messages import Row
from core.system import Clock
from core.tables import MESSAGE_ROWS, TABLES
from events.ports import EventLog, Top
from events.record import Record
from snapshot.archive import EMPTY, Archive
from snapshot.chunks import chunk_key, get_rows
from snapshot.dump import PARKED, RESULTS, Damage, verify
from snapshot.manifest import Manifest, Progress, list_snapshots, seqs_of, show, silent, tops_of
from stores.ports import Frontier, Mark, MessageStore, ObjectStore, Parked, RelationalBatch, RelationalStore, Result

RESTORING = "restoring"
"""Meta: the snapshot whose restore has begun and not ended; "" or nothing otherwise."""
SERVE_AFTER = "serve_after"
"""Meta: JSON object lane number -> seq, as strings and integers: serve nothing before all of it is applied."""
ANCHORS = "anchors"
"""Meta: JSON object lane number -> place: where the log's lanes begin (for `Archiver(anchors=)`)."""
INCARNATION = "incarnation"
EPOCH = "epoch"


class Plan(NamedTuple):
    """What a restore would do."""

    snapshot: Manifest
    incarnation: int
    lanes: dict[int, tuple[int, int, int]]
    """lane -> (F0, F1, the archive's end): seqs. The records after F0 go into the log."""
    skipped: list[tuple[str, str]]
    """Newer snapshots that are not usable, and why."""

    @property
    def records(self) -> int:
        """How many records will be brought into the log."""
        return sum(end - f0 for f0, _, end in self.lanes.values())


async def unfinished(relational: RelationalStore) -> str | None:
    """The snapshot whose restore did not end: with one, nothing of this DC may start."""
    return await relational.meta(RESTORING) or None


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
    lane numbers that other DCs know of. NotFound when there is no sound snapshot; Corrupt, naming the damage, when the
    one asked for is not; ConfigError when the DC has used up its incarnations.
    """
    skipped: list[tuple[str, str]] = []
    for candidate in [snapshot] if snapshot else reversed(await list_snapshots(objects)):
        try:
            damages = await verify(candidate, objects=objects, archive=archive, progress=progress)
            if damages:
                raise Corrupt(_summary(candidate, damages), object=damages[0].object)
            return await _planned(await show(objects, candidate), archive, number, peer_lanes, skipped)
        except Corrupt as error:
            if snapshot:
                raise
            skipped.append((candidate, error.detail))
    reasons = "; ".join(reason for _, reason in skipped)
    raise NotFound(f"there is no sound snapshot{': ' if reasons else ''}{reasons}")


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
    begun = await unfinished(relational)
    if begun not in (None, snapshot):
        raise Conflict(f"a restore of {begun} was interrupted here: complete that one, or empty the stores and the log")
    if begun is None:
        await _refuse_unless_empty(relational, messages, log)
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

    await relational.set_meta(RESTORING, snapshot)
    await _load_rows(manifest, relational, messages, objects, progress)
    f0: Frontier = {lane: Mark(top.seq, top.id) for lane, top in tops_of(manifest.f0).items() if top.seq}
    await relational.set_frontier(f0)
    await messages.set_frontier(f0)
    await _fill_log(planned, log, archive, progress)

    epoch = max(manifest.epoch + 1, int(await relational.meta(EPOCH) or 0) + 1, clock())
    places = {lane: place for lane, place in manifest.f0.items() if place.seq}
    await relational.set_meta(INCARNATION, str(planned.incarnation))
    await relational.set_meta(EPOCH, str(epoch))
    await relational.set_meta(SERVE_AFTER, msgspec.json.encode(seqs_of(manifest.f1)).decode())
    await relational.set_meta(ANCHORS, msgspec.json.encode(places).decode())
    await relational.set_meta(RESTORING, "")
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


async def _planned(
    manifest: Manifest, archive: Archive, number: int, peer_lanes: Collection[int], skipped: list[tuple[str, str]]
) -> Plan:
    ends = {lane: last for lane, (_, last) in (await archive.lanes()).items()}
    f0, f1 = seqs_of(manifest.f0), seqs_of(manifest.f1)
    lanes = {
        lane: (f0.get(lane, 0), f1.get(lane, 0), ends.get(lane, 0))
        for lane in sorted(f0.keys() | f1.keys() | ends.keys())
    }
    own = Lane(manifest.number, manifest.incarnation, 0).number
    return Plan(manifest, next_incarnation(number, [*lanes, *peer_lanes, own]), lanes, skipped)


def _summary(snapshot: str, damages: Sequence[Damage]) -> str:
    more = f" and {len(damages) - 1} more" if len(damages) > 1 else ""
    return f"snapshot {snapshot} is damaged: {damages[0].what}{more}"


async def _refuse_unless_empty(relational: RelationalStore, messages: MessageStore, log: EventLog) -> None:
    found = []
    if await relational.frontier():
        found.append("the relational store has a frontier")
    for table in TABLES:
        async for page in relational.dump(table):
            if page:
                found.append(f"table {table} has rows")
            break
    if await messages.frontier():
        found.append("the message store has a frontier")
    async for page in messages.dump():
        if page:
            found.append("the message store has rows")
        break
    lanes = await log.tops()
    if lanes:
        found.append(f"the event log holds {len(lanes)} lanes")
    if found:
        raise Conflict(f"a restore needs empty stores, but {', '.join(found)}")


# -- doing


async def _load_rows(
    manifest: Manifest,
    relational: RelationalStore,
    messages: MessageStore,
    objects: ObjectStore,
    progress: Progress,
) -> None:
    done = 0
    for name, table in manifest.tables.items():
        for chunk in table.chunks:
            if name == MESSAGE_ROWS:
                await messages.load(await get_rows(objects, chunk, Row))
            elif name == RESULTS:
                await relational.apply(_local(results=await get_rows(objects, chunk, Result)))
            elif name == PARKED:
                await relational.apply(_local(parked=await get_rows(objects, chunk, Parked)))
            elif name in TABLES:
                await relational.load(name, await get_rows(objects, chunk))
            else:
                raise Corrupt(f"{chunk_key(chunk.hash)}: rows of table {name}, which this version does not know")
            done += chunk.rows
            progress("load rows", done, manifest.rows)
    await messages.flush()


def _local(results: Sequence[Result] = (), parked: Sequence[Parked] = ()) -> RelationalBatch:
    return RelationalBatch(effects=(), results=results, parked=parked, unparked=(), frontier={})


async def _fill_log(planned: Plan, log: EventLog, archive: Archive, progress: Progress) -> None:
    f0, f1 = tops_of(planned.snapshot.f0), tops_of(planned.snapshot.f1)
    await log.seed({lane: top for lane, top in f0.items() if top.seq})
    done = 0
    for lane in planned.lanes:
        top = f0.get(lane, EMPTY)
        async for records in archive.following(lane, top):
            for batch in _batches(records):
                await log.store(batch)
                done += len(batch)
                progress("fill the log", done, planned.records)
            top = Top.of(records[-1])
        if lane in f1 and top.seq < f1[lane].seq:
            raise Corrupt(f"the archive of lane {lane} ends at seq {top.seq}, before F1 ({f1[lane].seq})")


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
