"""What is wrong in object storage, by object, and which snapshots can't be restored for it."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple

from core.errors import Corrupt, PlanBError
from snapshot.archive import Archive
from snapshot.chunks import PREFIX as CHUNKS
from snapshot.manifest import Manifest, key_of, list_snapshots, show
from snapshot.segment import Span, lane_folder
from stores.ports import ObjectStore

SHOWN = 3
"""So many objects are named in a sentence."""


class Damage(NamedTuple):
    """An object, or a lane's folder of the archive, and what is wrong with it."""

    object: str
    what: str

    @classmethod
    def of(cls, error: PlanBError, object: str) -> "Damage":
        """What an error says, of the object that it names, else of this one."""
        name = str(error.members.get("object", object))
        return cls(name, error.detail.removeprefix(f"{name}: "))

    def __str__(self) -> str:
        return f"{self.object}: {self.what}"


class Damaged(NamedTuple):
    """All that is known of one object."""

    object: str
    reasons: list[str]
    snapshots: list[str]
    """Those that can't be restored for it, oldest first."""


def gathered(found: Mapping[str, Iterable[Damage]]) -> list[Damaged]:
    """What was found wrong with each snapshot, as each object once, in the order of the first finding."""
    reasons: dict[str, dict[str, None]] = {}
    spoiled: dict[str, set[str]] = {}
    for snapshot, damages in found.items():
        for damage in damages:
            reasons.setdefault(damage.object, {})[damage.what] = None
            spoiled.setdefault(damage.object, set()).add(snapshot)
    return [Damaged(object, list(why), sorted(spoiled[object])) for object, why in reasons.items()]


def in_short(damaged: list[Damaged]) -> str:
    """A sentence that names the first of them."""
    named = "; ".join(f"{one.object}: {one.reasons[0]}" for one in damaged[:SHOWN])
    more = len(damaged) - SHOWN
    return named + (f"; and {more:,} more objects" if more > 0 else "")


async def spoiled(snapshot: str, damages: Iterable[Damage], *, objects: ObjectStore, archive: Archive) -> list[Damaged]:
    """What was found wrong with one snapshot, and which others need the same objects. These are found by what they name
    and by what the archive lists: nothing is read but manifests, so further damage in others is not looked for."""
    damaged = gathered({snapshot: damages})
    lanes, holes = await archive.lanes(), await archive.holes()
    others = [manifest async for manifest in _others(snapshot, objects)] if damaged else []
    return [
        one._replace(snapshots=sorted({*one.snapshots, *(m.id for m in others if _needs(m, one.object, lanes, holes))}))
        for one in damaged
    ]


async def _others(snapshot: str, objects: ObjectStore) -> AsyncIterator[Manifest]:
    for id in await list_snapshots(objects):
        if id != snapshot:
            try:
                yield await show(objects, id)
            except Corrupt:
                continue  # lost by itself


def _needs(manifest: Manifest, object: str, lanes: Mapping[int, tuple[int, int]], holes: Mapping[int, Span]) -> bool:
    """`lanes` and `holes`: what the archive lists."""
    if object.startswith(CHUNKS):
        return object.removeprefix(CHUNKS) in manifest.chunks()
    span = Span.of(object)
    if span is not None:
        return span.last >= _f0(manifest, span.lane)
    if any(object == lane_folder(lane) and hole.last > _f0(manifest, lane) for lane, hole in holes.items()):
        return True  # the replay leads through it
    for lane, end in manifest.f1.items():
        if object == lane_folder(lane):
            first, last = lanes.get(lane, (1, 0))
            return last < end.seq or first > _f0(manifest, lane) + 1
    return object == key_of(manifest.id)


def _f0(manifest: Manifest, lane: int) -> int:
    return manifest.f0[lane].seq if lane in manifest.f0 else 0
