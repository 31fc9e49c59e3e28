"""`planb serve`: runs a datacenter until it is told to stop."""

import asyncio
import gc
import logging
import signal
from pathlib import Path

from cli import settings
from cli.datacenter import Datacenter
from core.errors import ClockRefused, LaneLost, LeaseLost
from core.system import CLOCK_OFFSET_FILE

log = logging.getLogger(__name__)

GC_YOUNG = 50_000


async def run(config: Path) -> None:
    """Serves until SIGTERM or SIGINT, then drains; raises if a part of the datacenter fails for good. Begins again by
    itself when the lane that it wrote on ends too far ahead of a clock that was put right, and when another process
    runs the datacenter now: then it stands by."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if CLOCK_OFFSET_FILE:
        log.warning("for a test: the wall clock is moved by what %s says", CLOCK_OFFSET_FILE)
    while (reason := await _serve(config, stop)) is not None:
        log.warning("begins again: %s", reason)


async def _serve(config: Path, stop: asyncio.Event) -> ClockRefused | LeaseLost | None:
    """One life. None when it was told to stop; why it has to begin again otherwise."""
    datacenter = Datacenter(settings.load(config))
    try:
        if not await _started(datacenter, stop):
            return None
    except LeaseLost as error:
        return None if stop.is_set() else error
    # What is there now stays, so no collection needs to look at it; and a batch makes many small things that die with
    # it: collecting after every 700 of them, the default, cost as much as applying them.
    gc.freeze()
    gc.set_threshold(GC_YOUNG, 20, 100)
    log.info("%s serves on port %d", datacenter.settings.dc.name, datacenter.settings.public.port)
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


async def _started(datacenter: Datacenter, stop: asyncio.Event) -> bool:
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
