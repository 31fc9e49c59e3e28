"""What an operator does with snapshots: make, list, show and verify them, and rebuild a datacenter from one.

`snapshot` works beside a running DC (it reads the same files and writes to the same object storage) and without one;
`restore` wants the log's Valkey up, the DC's process down and its stores empty.
"""

import argparse
import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from api.internal_auth import InternalAuth
from cli import settings as configuration
from cli.progress import Bar
from cli.settings import Settings
from core.errors import Conflict, Corrupt, Invalid, NotFound
from core.system import wall_clock_ms
from events.adapters.valkey import ValkeyLog
from events.ports import EventLog
from replicator.bootstrap import ask
from replicator.link import HttpLink
from replicator.names import DcNames
from replicator.repair import PeerTops
from snapshot import dump
from snapshot import restore as restoring
from snapshot.archive import Archive
from snapshot.manifest import Manifest, Site, list_snapshots, show
from snapshot.target import check_room, interrupted
from stores.adapters.directory_objects import DirectoryObjects
from stores.adapters.object_keys import is_key
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore

WORLD = "main"
ASK_S_MAX = 3.0


@dataclass(frozen=True)
class Opened:
    """The stores of a DC whose process we are not."""

    relational: SqliteRelationalStore
    messages: SqliteMessageStore
    log: EventLog


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Opened]:
    """Opens the SQLite files and the log of a datacenter; makes files that are missing."""
    files = settings.stores
    files.make_data_dir()
    async with contextlib.AsyncExitStack() as stack:
        relational = await SqliteRelationalStore.open(files.relational_file, clock=wall_clock_ms)
        stack.push_async_callback(relational.close)
        messages = await SqliteMessageStore.open(files.messages_file)
        stack.push_async_callback(messages.close)
        log = await ValkeyLog.connect(settings.stores.log_url)
        stack.push_async_callback(log.close)
        yield Opened(relational, messages, log)


# -- snapshots


def _objects(settings: Settings) -> DirectoryObjects:
    """Its object storage, which has to be there: an empty one in its place would only say that there is nothing."""
    return DirectoryObjects(settings.stores.objects_dir, create=False)


async def snapshot(args: argparse.Namespace) -> Any:
    settings = configuration.load(args.config)
    objects = _objects(settings)
    if args.verb == "list":
        return {"snapshots": [await _listed(objects, id) for id in await list_snapshots(objects)]}
    if args.verb == "create":
        return await _create(settings, objects)
    id = args.id or await _newest(objects, settings)
    if "/" in id or not is_key(id):
        raise Invalid(f"{id!r} is not a snapshot id; `planb snapshot list` shows them")
    if args.verb == "show":
        return _shown(await show(objects, id), _names(settings))
    return await _verify_snapshot(id, objects)


async def _create(settings: Settings, objects: DirectoryObjects) -> dict[str, Any]:
    bar = Bar()
    async with opened(settings) as stores:
        meta = stores.relational.meta
        site = Site(
            WORLD,
            settings.dc.name,
            settings.dc.number,
            int(await meta(restoring.INCARNATION) or 0),
            int(await meta(restoring.EPOCH) or 0),
        )
        manifest = await dump.create(
            relational=stores.relational,
            messages=stores.messages,
            archive=Archive(objects),
            objects=objects,
            site=site,
            clock=wall_clock_ms,
            progress=bar,
        )
    bar.end()
    return _line(manifest)


async def _verify_snapshot(id: str, objects: DirectoryObjects) -> dict[str, Any]:
    bar = Bar()
    damages = await dump.verify(id, objects=objects, archive=Archive(objects), progress=bar)
    bar.end()
    found = {"id": id, "ok": not damages, "damages": [damage._asdict() for damage in damages]}
    return found if not damages else found | {"exit_code": Corrupt.exit_code}


async def _newest(objects: DirectoryObjects, settings: Settings) -> str:
    ids = await list_snapshots(objects)
    if not ids:
        raise NotFound(f"there is no snapshot in {settings.stores.objects_dir}")
    return ids[-1]


async def _listed(objects: DirectoryObjects, id: str) -> dict[str, Any]:
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


def _names(settings: Settings) -> DcNames:
    return DcNames({name: number for number, name in settings.names.items()})


# -- restore


async def restore(args: argparse.Namespace) -> dict[str, Any]:
    """Restores; with --dry-run makes all its checks and changes nothing."""
    settings = configuration.load(args.config)
    await _refuse_running(settings)
    objects = _objects(settings)
    archive = Archive(objects)
    begun = await _interrupted(settings, args.snapshot)
    peer_lanes = await _peer_lanes(settings)
    bar = Bar()
    number = settings.dc.number
    planned = await restoring.plan(
        objects=objects,
        archive=archive,
        number=number,
        snapshot=args.snapshot or begun,
        peer_lanes=peer_lanes,
        progress=bar,
    )
    check_room(planned.snapshot, *_room(settings.stores.data_dir))
    skipped = planned.skipped
    if not args.dry_run:
        async with opened(settings) as stores:
            planned = await restoring.restore(
                planned.snapshot.id,
                relational=stores.relational,
                messages=stores.messages,
                log=stores.log,
                archive=archive,
                objects=objects,
                number=number,
                clock=wall_clock_ms,
                world=WORLD,
                peer_lanes=peer_lanes,
                progress=bar,
            )
    bar.end()
    names = _names(settings)
    return {
        "ok": True,
        "done": not args.dry_run,
        "snapshot": planned.snapshot.id,
        "incarnation": planned.incarnation,
        "rows": planned.snapshot.rows,
        "log_records": planned.records,
        "events_to_replay": planned.replayed,
        "lanes": {names.lane(lane): plan._asdict() for lane, plan in planned.lanes.items()},
        "skipped_snapshots": [{"id": id, "reason": reason} for id, reason in skipped],
        "next": "run it without --dry-run" if args.dry_run else f"planb serve all --config {args.config}",
    }


async def _interrupted(settings: Settings, snapshot: str | None) -> str | None:
    """`target.interrupted`, of a datacenter whose files need not be there: none is made."""
    files = settings.stores
    async with contextlib.AsyncExitStack() as stack:
        log = await ValkeyLog.connect(settings.stores.log_url)
        stack.push_async_callback(log.close)
        relational = messages = None
        if files.relational_file.exists():
            relational = await SqliteRelationalStore.open(files.relational_file, clock=wall_clock_ms)
            stack.push_async_callback(relational.close)
        if files.messages_file.exists():
            messages = await SqliteMessageStore.open(files.messages_file)
            stack.push_async_callback(messages.close)
        return await interrupted(relational, messages, log, snapshot)


def _room(folder: Path) -> tuple[str, int]:
    """A folder that may not exist yet, and the bytes that are free where it will be."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return str(folder), shutil.disk_usage(there).free


async def _refuse_running(settings: Settings) -> None:
    """A restore under a running process would pull the files from under its feet."""
    try:
        _, writer = await asyncio.open_connection(settings.sys.host, settings.sys.port)
    except OSError:
        return
    writer.close()
    raise Conflict(f"{settings.dc.name} is running (port {settings.sys.port}): stop it first")


async def _peer_lanes(settings: Settings) -> set[int]:
    """Lanes that the peers know of, so that no incarnation is used twice. Peers that don't answer are left out: what
    they know beyond the archive shows when the DC starts."""
    auth = InternalAuth(configuration.secret(settings.secrets.sys_key_file), settings.dc.name, wall_clock_ms)
    async with aiohttp.ClientSession() as session:
        sources = {name: PeerTops(HttpLink(session, name, peer.sys_url, auth)) for name, peer in settings.peers.items()}
        return {lane for tops in (await ask(sources, ASK_S_MAX)).values() for lane in tops}
