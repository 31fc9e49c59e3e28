"""`planb doctor`: tries every engine that the settings name, and says of each what was measured, and what to do about
what is wrong. It changes nothing but for probes that it takes away again, and works before the first start, beside a
datacenter that runs, and beside engines that are down: checks run at the same time, and each has its bound.
"""

import argparse
import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from cli import settings as configuration
from cli.checks import machine, meeting, others, pulsars, rows, storage, valkeys
from cli.checks.notes import Check, Finding, Notes
from cli.settings import Settings
from core.errors import ConfigError, PlanBError, Unavailable
from core.limits import DOCTOR_CHECK_S_MAX
from core.system import steady_clock_ms

log = logging.getLogger(__name__)

GIVEN_UP_S = 1.0
"""So long one that was given up may take to put down what it holds."""


async def run(args: argparse.Namespace) -> dict[str, Any]:
    """Ends with 8 where something has to be set otherwise, else with 6 where something does not answer."""
    settings = configuration.load(args.config)
    began = steady_clock_ms()
    found = await examined(settings, checks_of(settings))
    codes = {one.exit_code for one in found if one.state == "problem"}
    return {
        "ok": not codes,
        "dc": settings.dc.name,
        "config": str(args.config),
        "problems": sum(one.state == "problem" for one in found),
        "warnings": sum(one.state == "warning" for one in found),
        "took_ms": steady_clock_ms() - began,
        "checks": [{"check": one.check, "state": one.state, "fact": one.fact, "fix": one.fix} for one in found],
        **({"exit_code": max(codes)} if codes else {}),
    }


def checks_of(settings: Settings) -> dict[str, Check]:
    """All that there is to be looked at, by name."""
    return {
        "files": machine.files,
        "disks": machine.disks,
        "open files": machine.open_files,
        "clock": machine.clock,
        "log": pulsars.log if settings.stores.on_pulsar else valkeys.log,
        "hot": valkeys.hot,
        "relational": rows.relational,
        "messages": rows.messages,
        "objects": storage.storage,
        "processes": meeting.processes,
        "series": rows.series,
        "this process": others.itself,
        **{f"peer {name}": others.peer(name) for name in settings.peers},
    }


async def examined(
    settings: Settings, checks: Mapping[str, Check], check_s_max: float = DOCTOR_CHECK_S_MAX
) -> list[Finding]:
    """What each has found, in their order."""
    tasks = [asyncio.create_task(_one(name, check, settings, check_s_max)) for name, check in checks.items()]
    return [finding for found in await asyncio.gather(*tasks) for finding in found]


async def _one(name: str, check: Check, settings: Settings, check_s_max: float) -> list[Finding]:
    notes = Notes(name)
    task = asyncio.ensure_future(check(settings, notes))
    done, _ = await asyncio.wait((task,), timeout=check_s_max)
    if not done:
        task.cancel()
        notes.down(f"no answer in {check_s_max:g} s", "is it frozen, or is a network between that swallows everything?")
        found = list(notes.found)
        await asyncio.wait((task,), timeout=GIVEN_UP_S)
        return found
    error = task.exception()
    if isinstance(error, PlanBError):
        notes.failed(error, f"planb config check, and docs/operations.md, of {name}")
    elif error is not None:
        log.debug("the check of %s is broken", name, exc_info=error)
        notes.down(f"could not be looked at: {type(error).__name__} {error}", "a defect of this check: please tell us")
    return notes.found


assert Unavailable.exit_code < ConfigError.exit_code, "`max` takes what has to be set before what may pass"
