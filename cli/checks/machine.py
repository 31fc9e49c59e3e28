"""This machine: files and folders that the settings name, its disks, its clock, how many files may be open."""

import ctypes
import os
import resource
from pathlib import Path

from cli.checks.notes import Notes, in_thread
from cli.file_limit import Room, needed, room_of
from cli.settings import Settings
from cli.settings_files import unusable
from cli.units import size
from core import limits
from core.system import entropy, steady_clock_ms

PROBE_BYTES = 4_096
SYNC_MS_NOTED = 100
"""A disk that takes longer to sync a page is worth a word."""
_TIME_ERROR = 5
_TIMEX_BYTES = 1_024


async def files(settings: Settings, notes: Notes) -> None:
    found = await in_thread(lambda: list(unusable(settings)))
    for clash in found:
        notes.wrong(f"{clash.keys[0]}: {clash.problem}", clash.advice)
    if not found:
        notes.ok("keys, passwords and folders can be used")


async def disks(settings: Settings, notes: Notes) -> None:
    folders = {"data_dir": settings.stores.data_dir}
    if settings.stores.objects_dir:
        folders["objects_dir"] = settings.stores.objects_dir
    on: dict[str, int] = {}
    for name, folder in folders.items():
        there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
        disk = await in_thread(lambda there=there: os.statvfs(there))  # type: ignore[misc]  # a lambda's default
        free, whole = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        fact = f"{name}: {size(free)} free of {size(whole)}"
        if free < limits.DISK_FREE_BYTES_MIN:
            notes.down(fact, f"make room in {folder} (docs/operations.md, A disk is full)")
        elif there == folder:
            await _probe(folder, fact, notes)
        else:
            notes.ok(f"{fact}; the folder is made by the first start")
        on[name] = there.stat().st_dev
    if len(set(on.values())) < len(on):
        notes.warning(
            "data_dir and objects_dir are on one disk, and burn together", "objects_dir on another one, or S3"
        )


async def _probe(folder: Path, fact: str, notes: Notes) -> None:
    """A page, written and synced; it is gone again in the end."""

    def write() -> float:
        path = folder / f".probe-{entropy(8).hex()}"
        began = steady_clock_ms()
        try:
            with path.open("xb") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
            return steady_clock_ms() - began
        finally:
            path.unlink(missing_ok=True)

    try:
        took_ms = await in_thread(write)
    except OSError as error:
        notes.down(f"{fact}; a probe could not be written: {error.strerror}", f"make {folder} writable, or make room")
        return
    fact = f"{fact}; a page is synced in {took_ms} ms"
    if took_ms > SYNC_MS_NOTED:
        notes.warning(fact, "a faster disk, or less load on it")
    else:
        notes.ok(fact)


async def open_files(settings: Settings, notes: Notes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed(limits.HTTP_CONNECTIONS_MAX)
    most = wanted if resource.RLIM_INFINITY in (soft, hard) else min(wanted, max(soft, hard))
    room: Room = room_of(most)
    fact = f"at most {hard if hard != resource.RLIM_INFINITY else 'any number of'} files may be open in this shell"
    fix = f"ulimit -n {wanted}; in a systemd unit LimitNOFILE={wanted}"
    if room.public < limits.HTTP_CONNECTIONS_MIN:
        notes.wrong(f"{fact}: {needed(limits.HTTP_CONNECTIONS_MIN)} are needed at least", fix)
    elif room.public < limits.HTTP_CONNECTIONS_MAX:
        notes.warning(f"{fact}: room for {room.public:,} clients at a time", fix)
    else:
        notes.ok(f"{fact}: room for all {room.public:,} clients")


async def clock(settings: Settings, notes: Notes) -> None:
    """Whether anybody keeps it right, as the kernel says. How far it is off is seen at the peers."""
    state = await in_thread(_kernel_clock)
    if state is None:
        notes.ok("the kernel does not tell whether anybody keeps this clock right")
    elif state == _TIME_ERROR:
        notes.warning(
            "nobody keeps this machine's clock right (the kernel calls it unsynchronised)",
            "run chronyd or ntpd: timedatectl set-ntp true",
        )
    else:
        notes.ok("somebody keeps this machine's clock right, says its kernel")


def _kernel_clock() -> int | None:
    """What adjtimex(2) answers when it is asked to change nothing."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None  # no Linux
    state = ask(ctypes.create_string_buffer(_TIMEX_BYTES))
    return state if state >= 0 else None
