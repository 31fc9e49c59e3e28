"""What an operator does with a datacenter: snapshots, restore, verify, parked events, status.

`snapshot` works beside a running DC (it reads the same files and writes to the same object storage) and without one;
`restore` wants the DC's Valkeys up, its process down and its stores empty.
"""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from api.internal_auth import InternalAuth
from cli import settings as configuration
from cli.progress import Bar
from cli.settings import Settings
from cli.sys_client import SysClient
from cli.waiting import until
from core.errors import ConfigError, Conflict, Corrupt, DigestDiffers, Invalid, NotFound
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
from stores.adapters.directory_objects import DirectoryObjects
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore

WORLD = "main"
ASK_S_MAX = 3.0
ANSWER_S_MIN = 5.0
"""So long a datacenter may take to answer, even if nothing is to be waited for."""


@dataclass(frozen=True)
class Opened:
    """The stores of a DC whose process we are not."""

    relational: SqliteRelationalStore
    messages: SqliteMessageStore
    log: EventLog


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Opened]:
    """Opens the SQLite files and the log of a datacenter."""
    folder = settings.stores.make_data_dir()
    async with contextlib.AsyncExitStack() as stack:
        relational = await SqliteRelationalStore.open(folder / "relational.db", clock=wall_clock_ms)
        stack.push_async_callback(relational.close)
        messages = await SqliteMessageStore.open(folder / "messages.db")
        stack.push_async_callback(messages.close)
        log = await ValkeyLog.connect(settings.stores.log_url)
        stack.push_async_callback(log.close)
        yield Opened(relational, messages, log)


# -- snapshots


async def snapshot(args: argparse.Namespace) -> Any:
    settings = configuration.load(args.config)
    objects = DirectoryObjects(settings.stores.objects_dir)
    if args.verb == "list":
        return {"snapshots": [await _listed(objects, id) for id in await list_snapshots(objects)]}
    if args.verb == "create":
        return await _create(settings, objects)
    id = args.id or await _newest(objects)
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


async def _newest(objects: DirectoryObjects) -> str:
    ids = await list_snapshots(objects)
    if not ids:
        raise NotFound("there is no snapshot")
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
    settings = configuration.load(args.config)
    await _refuse_running(settings)
    objects = DirectoryObjects(settings.stores.objects_dir)
    archive = Archive(objects)
    peer_lanes = await _peer_lanes(settings)
    bar = Bar()
    number = settings.dc.number
    planned = await restoring.plan(
        objects=objects,
        archive=archive,
        number=number,
        snapshot=args.snapshot,
        peer_lanes=peer_lanes,
        progress=bar,
    )
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


# -- a running datacenter


async def status(args: argparse.Namespace) -> dict[str, Any]:
    async with SysClient.of(configuration.load(args.config)) as sys:
        return await sys.call("GET", "/sys/v1/status")


async def parked(args: argparse.Namespace) -> dict[str, Any]:
    async with SysClient.of(configuration.load(args.config)) as sys:
        if args.verb == "list":
            return await sys.call("GET", "/sys/v1/parked")
        if not args.places:
            return await sys.call("POST", "/sys/v1/parked/retry", {})
        found: dict[str, list[Any]] = {"applied": [], "parked": []}
        for place in args.places:
            lane, _, seq = place.rpartition(":")
            if not lane or not seq.isdecimal():
                raise Invalid(f"{place}: name it as the list does, <lane>:<seq>, e.g. fra/0.0:17")
            answer = await sys.call("POST", "/sys/v1/parked/retry", {"lane": lane, "seq": int(seq)})
            found["applied"] += answer["applied"]
            found["parked"] += answer["parked"]
        return found


async def verify(args: argparse.Namespace) -> dict[str, Any]:
    """Digests of this DC and its peers at equal frontiers; where they differ, tables and key ranges."""
    settings = configuration.load(args.config)
    unknown = [name for name in args.against if name not in settings.peers]
    if unknown:
        raise ConfigError(f"no peer is called {unknown[0]}; there are {', '.join(settings.peers)}")
    key = configuration.secret(settings.secrets.sys_key_file)
    urls = {settings.dc.name: f"http://{settings.sys.host}:{settings.sys.port}"}
    urls |= {name: settings.peers[name].sys_url for name in args.against or settings.peers}
    answer_s_max = max(args.wait, ANSWER_S_MIN)  # a peer behind a cut link never answers
    async with contextlib.AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(SysClient(name, url, key, settings.dc.name, answer_s_max))
            for name, url in urls.items()
        }
        found = await equal_frontiers(clients, args.wait)
    totals = {name: answer["digest"]["total"] for name, answer in found.items()}
    equal = len(set(totals.values())) == 1
    answer: dict[str, Any] = {"ok": equal, "digests": totals, "digests_equal": equal}
    if not equal:
        answer |= {"differences": _differences(found), "exit_code": DigestDiffers.exit_code}
    return answer


async def equal_frontiers(clients: dict[str, SysClient], wait_s: float) -> dict[str, dict[str, Any]]:
    """The digests of several DCs, taken at one frontier. Conflict when they don't reach one in `wait_s` seconds:
    writes go on, or a link is cut."""
    behind: dict[str, dict[str, str]] = {}

    async def look() -> dict[str, dict[str, Any]]:
        statuses = await asyncio.gather(*(client.call("GET", "/sys/v1/status") for client in clients.values()))
        most: dict[str, int] = {}
        for one in statuses:
            for lane, seq in one["durable"].items():
                most[lane] = max(seq, most.get(lane, 0))
        behind.clear()
        for name, one in zip(clients, statuses, strict=True):
            applied = one["applied"]
            behind[name] = {
                lane: f"{applied.get(lane, 0)}/{seq}" for lane, seq in most.items() if applied.get(lane) != seq
            }
        if any(behind.values()):
            return {}
        answers = await asyncio.gather(*(client.call("GET", "/sys/v1/digest") for client in clients.values()))
        if any(answer["applied"] != most for answer in answers):
            return {}
        return dict(zip(clients, answers, strict=True))

    found = await until(look, wait_s)
    if not found:
        raise Conflict(f"the frontiers are not equal after {wait_s:.0f} s (applied/held): {behind}")
    return found


def _differences(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Table and key range, with each DC's number of rows, wherever two DCs differ."""
    differences = []
    first = next(iter(found.values()))["digest"]["tables"]
    for table, parts in first.items():
        for place in range(len(parts["ranges"])):
            here = {name: answer["digest"]["tables"][table]["ranges"][place] for name, answer in found.items()}
            if len({part["sum"] for part in here.values()}) > 1:
                rows = {name: part["rows"] for name, part in here.items()}
                differences.append({"table": table, "range": place, "rows": rows})
    return differences
