"""Making a snapshot while writes go on, and verifying one.

F0 is the smallest of the stores' frontiers before the copy, F1 the greatest after it: every event at or below F0 is
in the rows, none above F1 is, and of those between some are, in part. Merging makes such a copy right once all of
(F0, F1] has been replayed over it; hence the snapshot is published only when the archive holds every lane through F1.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from core import limits
from core.errors import Corrupt, Forked, NotFound, SnapshotVoid
from core.ids import make_id, tick_at
from core.system import Clock
from core.tables import MESSAGE_ROWS, TABLES
from snapshot.archive import EMPTY, Archive
from snapshot.chunks import Cutter, check_chunk, chunk_key, put_chunk
from snapshot.damage import Damage
from snapshot.manifest import (
    FORMAT,
    Chunk,
    Manifest,
    Place,
    Progress,
    Site,
    TableCopy,
    encode_manifest,
    id_at,
    key_of,
    show,
    silent,
)
from snapshot.segment import lane_folder
from stores.ports import Frontier, Mark, MessageStore, ObjectStore, Parked, RelationalStore, Result

OVERWRITES = "overwrites"
RESULTS = "results"
PARKED = "parked"
"""Tables of this DC alone that belong to a copy all the same: a restored DC lists the same conflicts, gives the same
answers to the keys of the last day, and still has the events that could not be applied."""

HotFrontier = Callable[[], Awaitable[Frontier | None]]
"""The hot store's frontier; None while it is being rebuilt."""


async def create(
    *,
    relational: RelationalStore,
    messages: MessageStore,
    archive: Archive,
    objects: ObjectStore,
    site: Site,
    clock: Clock,
    hot_frontier: HotFrontier | None = None,
    wait_s: float = limits.ARCHIVE_WAIT_S_MAX,
    lane_name: Callable[[int], str] = str,
    progress: Progress = silent,
) -> Manifest:
    """A new snapshot, published (durably) when this returns.

    SnapshotVoid, and nothing published: a store's frontier went back during the copy; the archive did not reach F1
    within `wait_s`; the id is taken. Forked: store and archive disagree about a lane. StoreUnavailable as the stores
    say. Chunks that were written stay and are reused by the next attempt. `lane_name`: what messages call a lane.
    """
    created_ms = clock()
    watch = _Watch(relational, messages, hot_frontier, lane_name)
    # Over-reporting is safe (a retry is exact), so the parked events are taken before F0 and after it.
    parked = list(await relational.parked())
    await watch.look()
    f0 = watch.smallest()
    parked += [event for event in await relational.parked() if event not in parked]
    await messages.flush()  # what left the list of parked events is now in the rows

    copy = _Copy(objects, watch, progress)
    since = make_id(tick_at(max(0, created_ms - 1_000 * limits.RESULT_KEPT_S)), 0)
    tables = {table: await copy.table(table, relational.dump(table)) for table in (*TABLES, OVERWRITES)}
    tables[MESSAGE_ROWS] = await copy.table(MESSAGE_ROWS, messages.dump())
    tables[RESULTS] = await copy.table(RESULTS, _results(relational, since))
    tables[PARKED] = await copy.table(PARKED, _once([p for p in parked if p.seq <= _seq(f0, p.lane)]))

    await messages.flush()  # the copy may have seen rows that were only queued
    await watch.look()
    f1 = watch.greatest()
    await _wait_for(archive, {lane: mark.seq for lane, mark in f1.items()}, wait_s, lane_name, progress)
    manifest = Manifest(
        format=FORMAT,
        id=id_at(created_ms, site.dc),
        **site._asdict(),
        created_ms=created_ms,
        took_ms=clock() - created_ms,
        f0=await _places(archive, f0),
        f1=await _places(archive, f1),
        tables=tables,
    )
    for damage in await _check_archive(manifest, archive, progress, to_the_end=False):
        raise Corrupt(str(damage), object=damage.object)
    if not await objects.put_new(manifest.key, encode_manifest(manifest)):
        raise SnapshotVoid(f"there is a snapshot {manifest.id} already")
    return await show(objects, manifest.id)


async def verify(
    snapshot: str,
    *,
    objects: ObjectStore,
    archive: Archive,
    progress: Progress = silent,
    read: dict[str, Damage | None] | None = None,
) -> list[Damage]:
    """Everything that a restore of this snapshot would need, read and checked; [] when it is sound.

    Every chunk is there and its hash is right; the archive continues F0 without a gap (its own record at F0 is the
    same), reaches F1, and what follows in it is whole. Of one whose manifest is damaged nothing else is known. NotFound
    when there is no such snapshot. `read`: chunks that were looked at before, by hash, and what was wrong with them;
    what this one looks at is added, so that several snapshots read what they share once.
    """
    try:
        manifest = await show(objects, snapshot)
    except Corrupt as error:
        return [Damage.of(error, key_of(snapshot))]
    read = {} if read is None else read
    chunks = manifest.chunks().values()
    for done, chunk in enumerate(chunks, 1):
        if chunk.hash not in read:
            try:
                await check_chunk(objects, chunk)
                read[chunk.hash] = None
            except Corrupt as error:
                read[chunk.hash] = Damage.of(error, chunk_key(chunk.hash))
        progress("verify chunks", done, len(chunks))
    damages = [damage for chunk in chunks if (damage := read[chunk.hash]) is not None]
    return damages + await _check_archive(manifest, archive, progress, to_the_end=True)


# -- frontiers


class _Watch:
    """Reads the stores' frontiers again and again; none may ever go back."""

    def __init__(
        self,
        relational: RelationalStore,
        messages: MessageStore,
        hot: HotFrontier | None,
        lane_name: Callable[[int], str],
    ) -> None:
        self._lane_name = lane_name
        self._stores = {"relational": relational.frontier, "message": messages.frontier}
        self._hot = hot
        self._last: dict[str, Frontier] = {}
        self._greatest: Frontier = {}

    async def look(self) -> None:
        """SnapshotVoid when a store no longer has what it had."""
        for store, read in self._stores.items():
            now = await read()
            for lane, before in self._last.get(store, {}).items():
                mark = now.get(lane, Mark(0, 0))
                if mark.seq < before.seq or (mark.seq == before.seq and mark.id != before.id):
                    raise SnapshotVoid(
                        f"the {store} store went back from seq {before.seq} to {mark.seq}"
                        f" of lane {self._lane_name(lane)} during the copy"
                    )
            self._note(store, now)
        hot = await self._hot() if self._hot is not None else None
        if hot is not None:
            self._note("hot", hot)  # it holds nothing that is copied, so it may be rebuilt meanwhile

    def smallest(self) -> Frontier:
        """What every store has."""
        lanes = set.intersection(*(set(frontier) for frontier in self._last.values()))
        return {lane: min(frontier[lane] for frontier in self._last.values()) for lane in sorted(lanes)}

    def greatest(self) -> Frontier:
        """What any store had at any look."""
        return dict(sorted(self._greatest.items()))

    def _note(self, store: str, frontier: Frontier) -> None:
        self._last[store] = dict(frontier)
        for lane, mark in frontier.items():
            self._greatest[lane] = max(mark, self._greatest.get(lane, mark))


async def _places(archive: Archive, frontier: Frontier) -> dict[int, Place]:
    """The frontier with each place's hash, which the archive knows."""
    places = {}
    for lane, mark in frontier.items():
        top = await archive.place(lane, mark.seq)
        if mark.seq and top.id != mark.id:
            raise Forked(f"{lane_folder(lane)}: store and archive hold different events at seq {mark.seq}")
        places[lane] = Place.of(top)
    return places


async def _wait_for(
    archive: Archive,
    frontier: Mapping[int, int],
    wait_s: float,
    lane_name: Callable[[int], str],
    progress: Progress,
) -> None:
    """Returns when the archive holds all of `frontier`. SnapshotVoid says what it lacks when the time is over."""
    lacking: dict[int, tuple[int, int]] = {}
    try:
        async with asyncio.timeout(wait_s):
            while lacking := await archive.lacking(frontier):
                progress("wait for the archive", len(frontier) - len(lacking), len(frontier))
                await asyncio.sleep(limits.ARCHIVE_INTERVAL_MS / 1_000)
    except TimeoutError:
        lanes = ", ".join(
            f"lane {lane_name(lane)} ends at {have}, wanted {want}" for lane, (have, want) in lacking.items()
        )
        raise SnapshotVoid(f"the archive did not reach the end of the copy within {wait_s:g} s: {lanes}") from None


async def _check_archive(manifest: Manifest, archive: Archive, progress: Progress, *, to_the_end: bool) -> list[Damage]:
    """Whether the archive continues F0 and reaches F1 (or its own end), by reading all of it between the two."""
    damages = []
    ends = {lane: place.top() for lane, place in manifest.f1.items()}
    known = manifest.f0.keys() | ends.keys()
    lanes = sorted(known | (await archive.lanes()).keys() if to_the_end else known)
    for done, lane in enumerate(lanes, 1):
        start = manifest.f0[lane].top() if lane in manifest.f0 else EMPTY
        end = ends.get(lane, start)
        try:
            await archive.prove(lane, start, end)
            if to_the_end:
                async for _ in archive.following(lane, end):
                    pass
        except (Corrupt, NotFound) as error:
            damages.append(Damage.of(error, lane_folder(lane)))
        progress("verify the archive", done, len(lanes))
    return damages


def _seq(frontier: Frontier, lane: int) -> int:
    return frontier[lane].seq if lane in frontier else 0


# -- rows


class _Copy:
    def __init__(self, objects: ObjectStore, watch: _Watch, progress: Progress) -> None:
        self._objects = objects
        self._watch = watch
        self._progress = progress

    async def table(self, name: str, pages: AsyncIterator[list[Any]]) -> TableCopy:
        """Copies one table, page by page."""
        cutter = Cutter()
        chunks: list[Chunk] = []
        rows = 0
        async for page in pages:
            for size, raw in await asyncio.to_thread(cutter.feed, page):
                chunks.append(await put_chunk(self._objects, size, raw))
            rows += len(page)
            self._progress(f"copy {name}", rows, 0)
            await self._watch.look()
        for size, raw in cutter.finish():
            chunks.append(await put_chunk(self._objects, size, raw))
        return TableCopy(rows, sum(chunk.bytes for chunk in chunks), chunks)


async def _once(rows: list[Parked]) -> AsyncIterator[list[Any]]:
    yield rows


async def _results(relational: RelationalStore, since: int) -> AsyncIterator[list[Result]]:
    while page := await relational.results(since, limits.CHUNK_ROWS_MAX):
        yield page
        since = page[-1].event
