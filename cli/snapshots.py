"""What an operator does with snapshots: make, list, show and verify them, beside a running DC (from the same files and
the same object storage) and without one."""

import argparse
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import event_log, stores
from cli import settings as configuration
from cli.damages import described
from cli.objects import setting, there, where
from cli.progress import Bar
from cli.settings import Settings
from core.errors import Corrupt, Invalid, NotFound
from core.system import wall_clock_ms
from events.ports import EventLog
from replicator.names import DcNames
from snapshot import dump
from snapshot import restore as restoring
from snapshot.archive import Archive
from snapshot.damage import Damage, gathered, spoiled
from snapshot.manifest import Manifest, Site, list_snapshots, show
from stores.adapters.object_keys import is_key
from stores.ports import MessageStore, ObjectStore, RelationalStore

WORLD = "main"
SHOWN = 5
"""So many names of a folder that is no bucket are listed."""


@dataclass(frozen=True)
class Opened:
    """The stores of a DC whose process we are not."""

    relational: RelationalStore
    messages: MessageStore
    log: EventLog


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Opened]:
    """Opens the stores and the log of a datacenter; makes stores that are missing."""
    stores.make_ready(settings)
    async with contextlib.AsyncExitStack() as stack:
        relational = await stores.relational(settings)
        stack.push_async_callback(relational.close)
        messages = await stores.messages(settings)
        stack.push_async_callback(messages.close)
        log = await event_log.opened(settings)
        stack.push_async_callback(log.close)
        yield Opened(relational, messages, log)


# -- snapshots


async def snapshot(args: argparse.Namespace) -> Any:
    settings = configuration.load(args.config)
    async with there(settings) as objects:
        return await _snapshot(args, settings, objects)


async def _snapshot(args: argparse.Namespace, settings: Settings, objects: ObjectStore) -> Any:
    if args.verb == "list":
        listed = [await _listed(objects, id) for id in await list_snapshots(objects)]
        return {"snapshots": listed, "objects": where(settings)}
    if args.verb == "create":
        return await _create(settings, objects)
    if getattr(args, "all", False):
        return await _verify_all(args, settings, objects)
    id = args.id or await _newest(objects, args, settings)
    if "/" in id or not is_key(id):
        raise Invalid(f"{id!r} is not a snapshot id; `planb snapshot list` shows them")
    if id not in await list_snapshots(objects):
        raise await lacking(objects, settings, args.config, id)
    if args.verb == "show":
        return _shown(await show(objects, id), names_of(settings))
    return await _verify_snapshot(id, objects, names_of(settings))


async def _create(settings: Settings, objects: ObjectStore) -> dict[str, Any]:
    bar = Bar()
    async with opened(settings) as here:
        meta = here.relational.meta
        site = Site(
            WORLD,
            settings.dc.name,
            settings.dc.number,
            int(await meta(restoring.INCARNATION) or 0),
            int(await meta(restoring.EPOCH) or 0),
        )
        manifest = await dump.create(
            relational=here.relational,
            messages=here.messages,
            archive=Archive(objects),
            objects=objects,
            site=site,
            clock=wall_clock_ms,
            lane_name=names_of(settings).lane,
            progress=bar,
        )
    bar.end()
    return _line(manifest)


async def _verify_snapshot(id: str, objects: ObjectStore, names: DcNames) -> dict[str, Any]:
    bar = Bar()
    archive = Archive(objects)
    damages = await dump.verify(id, objects=objects, archive=archive, progress=bar)
    bar.end()
    damaged = await spoiled(id, damages, objects=objects, archive=archive)
    found = {"id": id, "ok": not damages, "damages": described(damaged, names)}
    return found if not damages else found | {"exit_code": Corrupt.exit_code}


async def _verify_all(args: argparse.Namespace, settings: Settings, objects: ObjectStore) -> dict[str, Any]:
    """Every snapshot that is listed, oldest first; `damages` names each object once. One that is deleted meanwhile is
    none any more."""
    if args.id:
        raise Invalid("give either an id or --all")
    await _newest(objects, args, settings)
    bar, archive = Bar(), Archive(objects)
    found: dict[str, list[Damage]] = {}
    read: dict[str, Damage | None] = {}
    ids = await list_snapshots(objects)
    for count, id in enumerate(ids, 1):

        def progress(stage: str, done: int, total: int, of: str = f"{count}/{len(ids)}") -> None:
            bar(f"{of} {stage}", done, total)

        try:
            found[id] = await dump.verify(id, objects=objects, archive=archive, progress=progress, read=read)
        except NotFound:
            continue
    bar.end()
    answer = {
        "ok": not any(found.values()),
        "snapshots": [{"id": id, "ok": not damages} for id, damages in found.items()],
        "damages": described(gathered(found), names_of(settings)),
    }
    return answer if answer["ok"] else answer | {"exit_code": Corrupt.exit_code}


async def _newest(objects: ObjectStore, args: argparse.Namespace, settings: Settings) -> str:
    ids = await list_snapshots(objects)
    if not ids:
        raise await lacking(objects, settings, args.config)
    return ids[-1]


async def lacking(objects: ObjectStore, settings: Settings, config: Path, id: str = "") -> NotFound:
    """What to say where there is no snapshot, or not this one: where it was looked for, and what to do about it."""
    place, name = where(settings), setting(settings)
    ids = await list_snapshots(objects)
    if ids:
        newest = f"there are {len(ids)}, the newest is {ids[-1]}"
        return NotFound(f"no snapshot {id} in {place}: {newest}. List them: planb snapshot list --config {config}")
    lost = "If the bucket is lost, copy another datacenter's objects into it"
    folder = settings.stores.objects_dir
    if folder is None:
        return NotFound(f"no snapshot in {place}. Is stores.{name} in {config} right? {lost}")
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    deeper = [name for name in found if (folder / name / "snapshots").is_dir()]
    if deeper:
        advice = f"There are some in {folder / deeper[0]}: is stores.objects_dir in {config} right?"
    else:
        holds = f"holds {', '.join(found[:SHOWN])}{', …' if len(found) > SHOWN else ''}" if found else "is empty"
        advice = (
            f"The folder {holds}; a bucket has snapshots/ and archive/. Is stores.objects_dir in {config} right,"
            f" and its disk mounted? {lost}"
        )
    return NotFound(f"no snapshot in {folder}. {advice}")


async def _listed(objects: ObjectStore, id: str) -> dict[str, Any]:
    """One that is damaged does not hide the others."""
    try:
        return _line(await show(objects, id))
    except Corrupt as error:
        return {"id": id, "damaged": error.detail}


def _line(manifest: Manifest) -> dict[str, Any]:
    return {
        "id": manifest.id,
        "dc": manifest.dc,
        "incarnation": manifest.incarnation,
        "created_ms": manifest.created_ms,
        "took_ms": manifest.took_ms,
        "rows": manifest.rows,
        "bytes": manifest.bytes,
    }


def _shown(manifest: Manifest, names: DcNames) -> dict[str, Any]:
    return _line(manifest) | {
        "f0": {names.lane(lane): place.seq for lane, place in manifest.f0.items()},
        "f1": {names.lane(lane): place.seq for lane, place in manifest.f1.items()},
        "tables": {
            name: {"rows": table.rows, "bytes": table.bytes, "chunks": len(table.chunks)}
            for name, table in manifest.tables.items()
        },
        "world": manifest.world,
        "epoch": manifest.epoch,
    }


def names_of(settings: Settings) -> DcNames:
    return DcNames({name: number for number, name in settings.names.items()})
