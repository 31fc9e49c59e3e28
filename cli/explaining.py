"""`planb explain`: everything that the datacenters know of one event, or of the message that an event made."""

import argparse
import asyncio
from typing import Any

from cli import settings as configuration
from cli.operate import everywhere
from cli.origins import event_id, origin_of
from cli.sys_client import SysClient
from core import limits
from core.errors import NotFound, PlanBError
from core.system import wall_clock_ms
from replicator.names import DcNames

ANSWER_S_MAX = 10.0
"""A datacenter that takes longer is one that can't be reached: an archive may have to be read."""
KNOWN = ("applied", "parked", "dropped", "held", "opened")
"""States of an event of which the datacenter has the record."""


async def run(args: argparse.Namespace) -> dict[str, Any]:
    """Asks all datacenters of the settings at once. `ok` is false where none that answered has it; one that did not
    answer is named in `unasked`."""
    settings = configuration.load(args.config)
    id = event_id(args.event)
    names = DcNames({name: number for number, name in settings.names.items()})
    async with everywhere(settings, settings.peers, ANSWER_S_MAX) as clients:
        told = dict(zip(clients, await asyncio.gather(*(_ask(sys, id) for sys in clients.values())), strict=True))
    answer: dict[str, Any] = origin_of(id, names)
    having = [one for one in told.values() if one.get("state") in KNOWN]
    answer["ok"] = bool(having)
    answer["exit_code"] = 0 if having else NotFound.exit_code
    best = next((one for one in having if "event" in one), having[0] if having else {})
    answer["event"] = _event(best, names)
    answer["datacenters"] = told
    answer["unasked"] = [name for name, one in told.items() if "error" in one]
    answer["not_known"] = _not_known(answer, settings.names.values(), settings.dc.name)
    return answer


async def _ask(sys: SysClient, id: int) -> dict[str, Any]:
    try:
        return await sys.call("GET", f"/sys/v1/events/{id}")
    except PlanBError as error:
        return {"error": error.detail}


def _event(best: dict[str, Any], names: DcNames) -> dict[str, Any] | None:
    event: dict[str, Any] | None = best.get("event")
    if event is None:
        return None
    causes = [cause | origin_of(int(cause["id"]), names) for cause in event["causes"]]
    return event | {"seq": best["seq"], "causes": causes}


def _not_known(answer: dict[str, Any], dcs: Any, here: str) -> list[str]:
    """In sentences: what nobody could tell, and why."""
    lines = [f"{name} could not be asked: {answer['datacenters'][name]['error']}" for name in answer["unasked"]]
    if answer["dc"] not in dcs:
        lines.append(f"{answer['dc']} is in no settings of {here}: is it an event of this platform?")
    if answer["time_ms"] > wall_clock_ms() + limits.CLOCK_SKEW_MS_MAX:
        lines.append("its time lies ahead of this machine's clock: is it an id at all?")
    for name, one in answer["datacenters"].items():
        if one.get("state") == "unreadable":
            lines.append(f"{name}: neither log nor archive gives the records of that time any more")
        if one.get("state") == "applied" and one["applied_after_ms"] is None:
            lines.append(f"{name}: when exactly it was applied is not kept beyond a restart of its process")
        if any(field["state"] == "forgotten" for field in one.get("fields", ())):
            kept_days = limits.CONFLICTS_KEPT_S // 86_400
            lines.append(f"{name}: what it won or lost against is forgotten (kept for {kept_days} days)")
    if not answer["ok"]:
        nothing = [name for name, one in answer["datacenters"].items() if one.get("state") == "nothing"]
        lines.append(
            f"there is no event {answer['id']}: the lane goes on beyond it in {', '.join(nothing)} without it"
            if nothing
            else f"no datacenter that answered has an event {answer['id']}: it has not come yet, or never was"
        )
    return lines
