"""Object storage: what is there, and whether it does what archive and snapshots need of it."""

import errno

from cli import objects, stores
from cli.checks.notes import Notes
from cli.settings import Settings
from core.errors import ConfigError, PlanBError
from core.system import entropy, steady_clock_ms
from snapshot.manifest import list_snapshots
from stores.adapters.directory_objects import MARK
from stores.ports import ObjectStore

FULL = (errno.ENOSPC, errno.EDQUOT)


async def storage(settings: Settings, notes: Notes) -> None:
    where = objects.where(settings)
    try:
        missing = await objects.are_missing(settings)
    except PlanBError as error:
        notes.failed(error, _fix(error, settings))
        return
    if missing:
        await _nothing_there(settings, missing, notes)
        if settings.stores.objects_dir:
            return
    if settings.stores.objects_dir and not (settings.stores.objects_dir / MARK).exists():
        notes.ok(f"{where}: nothing was ever written there")  # a probe would leave the mark that something was
        return
    try:
        store, close = await objects.opened(settings, create=False, unchecked=bool(missing))
    except PlanBError as error:
        notes.failed(error, _fix(error, settings))
        return
    try:
        await _tried(store, where, not missing, notes)
        if not missing:
            await _not_restored(settings, store, notes)
    except PlanBError as error:
        notes.failed(error, _fix(error, settings))
    finally:
        await close()


async def _nothing_there(settings: Settings, missing: str, notes: Notes) -> None:
    """Right before the first start, and at no other time."""
    try:
        has_run = await stores.remembers(settings)
    except PlanBError:
        has_run = False  # its own check says what is wrong there
    if has_run:
        notes.wrong(
            f"{missing}, and this datacenter has run before",
            "mount its disk, or mend the setting; if it is really gone: docs/operations.md, Objects in S3, The mark",
        )
    else:
        notes.ok(f"{missing}: it is made by the first start")


async def _not_restored(settings: Settings, store: ObjectStore, notes: Notes) -> None:
    """Who burnt is restored before he is started: a start on empty disks fetches all that was ever written."""
    try:
        has_run = await stores.remembers(settings)
    except PlanBError:
        return  # its own check says what is wrong there
    snapshots = [] if has_run else await list_snapshots(store)
    if snapshots:
        notes.warning(
            f"there are snapshots, {snapshots[-1]} is the newest, and no rows: has this datacenter burnt down?",
            "planb restore --dry-run, before it is started",
        )


async def _tried(store: ObjectStore, where: str, marked: bool, notes: Notes) -> None:
    """A probe is put, put once more on condition that it is not there, read, listed, and deleted. What has no mark yet
    does not tell a missing object from missing objects, so there it is not listed."""
    key, one, other = f"probe-{entropy(8).hex()}", b"first", b"second"
    began = steady_clock_ms()
    made = await store.put_new(key, one)
    try:
        made_again = await store.put_new(key, other)
        read = await store.get(key)
        listed = [found async for found in store.list("probe-")] if marked else [key]
    finally:
        await store.delete(key)
    took_ms = steady_clock_ms() - began
    if not made or made_again or read != one:
        notes.wrong(
            f"{where} ignores conditional puts: two processes could take one incarnation",
            "a server that knows If-None-Match: *",
        )
    elif key not in listed:
        notes.wrong(f"{where}: what was put is not listed", f"the right to list {where}")
    elif marked and await store.exists(key):
        notes.wrong(f"{where}: what is deleted is still there", f"the right to delete in {where}")
    else:
        done = "once only, read, listed and deleted" if marked else "once only, read and deleted"
        notes.ok(f"{where}: a probe was put, {done} again, {took_ms} ms")


def _fix(error: PlanBError, settings: Settings) -> str:
    if settings.stores.objects_dir:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL:
            return f"make room in {settings.stores.objects_dir} (docs/operations.md, A disk is full)"
        return f"mount its disk, and let this user write in {settings.stores.objects_dir}"
    said = f"{error.detail} {error.private}"
    if "no bucket" in said:
        return "make the bucket (aws s3api create-bucket), or mend stores.objects_url"
    if isinstance(error, ConfigError) or "AccessDenied" in said or "403" in said:
        return "secrets.s3_credentials_file, with the rights that docs/operations.md, Objects in S3, names"
    return "start it; stores.s3.endpoint_url is where it is reached"
