"""`planb restore`: rebuilds a datacenter from a snapshot. The log's Valkey has to be up, the DC's process down and its
stores empty."""

import argparse
import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from api.internal_auth import InternalAuth
from cli import event_log, stores
from cli import settings as configuration
from cli.damages import described
from cli.objects import there
from cli.progress import Bar
from cli.settings import Settings
from cli.snapshots import WORLD, lacking, names_of, opened
from core.errors import Conflict, Corrupt
from core.system import wall_clock_ms
from replicator.bootstrap import ask
from replicator.link import HttpLink
from replicator.repair import PeerTops
from snapshot import restore as restoring
from snapshot.archive import Archive
from snapshot.manifest import list_snapshots
from snapshot.target import check_room, interrupted
from stores.ports import ObjectStore

ASK_S_MAX = 3.0


async def run(args: argparse.Namespace) -> dict[str, Any]:
    """Restores; with --dry-run makes all its checks and changes nothing."""
    settings = configuration.load(args.config)
    try:
        return await _restore(args, settings)
    except Corrupt as error:
        damaged: Any = error.members.get("damages")
        if not damaged:
            raise
        raise Corrupt(error.detail, damages=described(damaged, names_of(settings))) from error


async def _restore(args: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    await _refuse_running(settings)
    async with there(settings) as objects:
        return await _restored(args, settings, objects)


async def _restored(args: argparse.Namespace, settings: Settings, objects: ObjectStore) -> dict[str, Any]:
    ids = await list_snapshots(objects)
    if not ids or args.snapshot not in (None, *ids):
        raise await lacking(objects, settings, args.config, args.snapshot or "")
    archive = Archive(objects)
    begun = await _interrupted(settings, args.snapshot)
    peer_lanes, unasked = await _peer_lanes(settings)
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
    stores.check(settings)
    check_room(planned.snapshot, *_room(settings.stores.data_dir))
    skipped = planned.skipped
    if not args.dry_run:
        async with opened(settings) as here, _told_to_repeat():
            planned = await restoring.restore(
                planned.snapshot.id,
                relational=here.relational,
                messages=here.messages,
                log=here.log,
                archive=archive,
                objects=objects,
                number=number,
                clock=wall_clock_ms,
                world=WORLD,
                peer_lanes=peer_lanes,
                progress=bar,
            )
    bar.end()
    names = names_of(settings)
    return {
        "ok": True,
        "done": not args.dry_run,
        "snapshot": planned.snapshot.id,
        "of": planned.snapshot.dc,
        "incarnation": planned.incarnation,
        "rows": planned.snapshot.rows,
        "log_records": planned.records,
        "events_to_replay": planned.replayed,
        "lanes": {names.lane(lane): plan._asdict() for lane, plan in planned.lanes.items()},
        "unasked": unasked,
        "skipped_snapshots": [{"id": id, "reason": reason} for id, reason in skipped],
        "next": "run it without --dry-run" if args.dry_run else f"planb serve all --config {args.config}",
    }


@contextlib.asynccontextmanager
async def _told_to_repeat() -> AsyncIterator[None]:
    """Whoever ends it in the middle is told that it can be completed."""
    try:
        yield
    except asyncio.CancelledError:
        print("\nplanb restore: not finished. Run it again: it completes the same one", file=sys.stderr, flush=True)
        raise


async def _interrupted(settings: Settings, snapshot: str | None) -> str | None:
    """`target.interrupted`, of a datacenter whose stores need not be there: none is made."""
    async with contextlib.AsyncExitStack() as stack:
        log = await event_log.opened(settings)
        stack.push_async_callback(log.close)
        relational = await stores.relational_if_there(settings)
        if relational is not None:
            stack.push_async_callback(relational.close)
        messages = await stores.messages_if_there(settings)
        if messages is not None:
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


async def _peer_lanes(settings: Settings) -> tuple[set[int], list[str]]:
    """Lanes that the peers know of, so that no incarnation is used twice; and who did not answer: what they know beyond
    the archive shows when the DC starts."""
    auth = InternalAuth(configuration.secret(settings.secrets.sys_key_file), settings.dc.name, wall_clock_ms)
    async with aiohttp.ClientSession() as session:
        sources = {name: PeerTops(HttpLink(session, name, peer.sys_url, auth)) for name, peer in settings.peers.items()}
        known = await ask(sources, ASK_S_MAX)
    return {lane for tops in known.values() for lane in tops}, [name for name in sources if name not in known]
