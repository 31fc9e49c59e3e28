"""`planb serve`: runs a datacenter until it is told to stop."""

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from pathlib import Path

from cli import edge, settings
from cli.datacenter import Datacenter
from cli.process import Process
from cli.settings import Settings
from cli.sys_process import SysProcess
from core.errors import ClockRefused, Invalid, LaneLost, LeaseLost
from core.system import CLOCK_OFFSET_FILE

log = logging.getLogger(__name__)

GC_YOUNG = 50_000
PORT_MAX = 65_535
_PARTS = {
    "replicator": "replication is a part of `planb serve sys`",
    "cron": "what a datacenter does once (archive, trimming, collection, measurements) is a part of `planb serve sys`",
    "push": "there is no push service yet",
}
"""Roles that are no processes of their own."""


async def run(config: Path, role: str = "all", port: int | None = None) -> None:
    """Serves until SIGTERM or SIGINT, then drains; raises if a part of the datacenter fails for good. Begins again by
    itself when the lane that it wrote on ends too far ahead of a clock that was put right, and when another process
    runs the datacenter now: then it stands by."""
    make = _maker(role, port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if CLOCK_OFFSET_FILE:
        log.warning("for a test: the wall clock is moved by what %s says", CLOCK_OFFSET_FILE)
    while (reason := await _serve(make, config, stop)) is not None:
        log.warning("begins again: %s", reason)


def _maker(role: str, port: int | None) -> Callable[[Settings], Process]:
    """Makes a process of this role. Invalid for a role that is none of its own, and a port where none is public."""
    if role in _PARTS:
        raise Invalid(f"planb serve {role}: {_PARTS[role]}")
    if port is not None and not 1 <= port <= PORT_MAX:
        raise Invalid(f"--port {port}: a port is a number from 1 to {PORT_MAX}")
    if role in ("all", "sys"):
        if port is not None:
            raise Invalid(f"--port is for api and broker; the settings say where `planb serve {role}` listens")
        return Datacenter if role == "all" else SysProcess
    made = edge.api if role == "api" else edge.broker
    return lambda settings: made(settings, port)


async def _serve(
    make: Callable[[Settings], Process], config: Path, stop: asyncio.Event
) -> ClockRefused | LeaseLost | None:
    """One life. None when it was told to stop; why it has to begin again otherwise."""
    datacenter = make(settings.load(config))
    try:
        if not await _started(datacenter, stop):
            return None
    except LeaseLost as error:
        return None if stop.is_set() else error
    # What is there now stays, so no collection needs to look at it; and a batch makes many small things that die with
    # it: collecting after every 700 of them, the default, cost as much as applying them.
    gc.freeze()
    gc.set_threshold(GC_YOUNG, 20, 100)
    log.info("%s serves on port %d", datacenter.settings.dc.name, datacenter.where.port)
    ended = asyncio.create_task(stop.wait())
    failed = asyncio.create_task(datacenter.failure())
    try:
        await asyncio.wait((ended, failed), return_when=asyncio.FIRST_COMPLETED)
        if not failed.done():
            return None
        reason = failed.result()
        if isinstance(reason, LaneLost) and not datacenter.membership.unbroken:
            reason = LeaseLost("while there was no lease, another process took over the lane", private=reason.private)
        if not isinstance(reason, ClockRefused | LeaseLost):
            raise reason
        return None if stop.is_set() else reason
    finally:
        ended.cancel()
        failed.cancel()
        await datacenter.stop()


async def _started(datacenter: Process, stop: asyncio.Event) -> bool:
    """False if it was told to stop meanwhile: standing by has no end of its own, and neither has an append without an
    outcome."""
    start = asyncio.create_task(datacenter.start())
    ended = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((start, ended), return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
            return False
        await start
        return True
    finally:
        ended.cancel()
