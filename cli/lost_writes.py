"""`planb conflicts`: concurrent writes that lost, and writing one of them again."""

import argparse
from typing import Any
from urllib.parse import urlencode

from cli import settings as configuration
from cli.origins import event_id, origin_of
from cli.series import span_ms
from cli.settings import Settings
from cli.sys_client import SysClient
from core import ids, limits
from core.errors import Conflict, Invalid, NotFound
from core.system import wall_clock_ms
from replicator.names import DcNames

Answer = dict[str, Any]


async def run(args: argparse.Namespace) -> Answer:
    settings = configuration.load(args.config)
    async with SysClient.of(settings) as sys:
        command = _Command(settings, sys)
        if args.verb == "list":
            return await command.listed(args)
        if args.verb == "show":
            return await command.show(event_id(args.event), args.field)
        return await command.undo(event_id(args.event), args.field, dry=args.dry_run)


class _Command:
    def __init__(self, settings: Settings, sys: SysClient) -> None:
        self._sys = sys
        self._names = DcNames({name: number for number, name in settings.names.items()})

    async def listed(self, args: argparse.Namespace) -> Answer:
        """The newest first, page by page until there are `--limit`; `more`: the `--before` of what comes next."""
        if args.limit < 1:
            raise Invalid(f"--limit {args.limit}: at least 1")
        query = {"table": args.table, "of": args.of, "actor": args.actor}
        query = {name: value for name, value in query.items() if value}
        if args.since:
            query["since_ms"] = str(max(0, wall_clock_ms() - span_ms(args.since)))
        if args.until:
            query["until_ms"] = str(max(ids.EPOCH_MS, wall_clock_ms() - span_ms(args.until)))
        before = str(event_id(args.before)) if args.before else ""
        found: list[Answer] = []
        while True:
            wanted = query | {"limit": str(min(limits.PAGE_MAX, args.limit - len(found)))}
            wanted |= {"before": before} if before else {}
            page = await self._sys.call("GET", f"/sys/v1/conflicts?{urlencode(wanted)}")
            found += page["conflicts"]
            before = page["more"] or ""
            if not before or len(found) >= args.limit:
                return {"conflicts": [self._one(one) for one in found], "more": before or None}

    def _one(self, one: Answer) -> Answer:
        return {
            "event": one["stamp"],
            "field": f"{one['table']}.{one['column']}",
            "of": one["key"],
            "lost": {**self._origin(one["stamp"]), "value": one["value"]},
            "kept": {**self._origin(one["winner_stamp"]), "value": one["winner_value"]},
        }

    async def show(self, id: int, field: str) -> Answer:
        """Each field in which the event's write lost (or only `field`), and who wrote what."""
        known, fields = await self._fields(id, field)
        lost = [one for one in fields if one["state"] == "lost"]
        if not lost:
            raise NotFound(f"nothing that event {id} wrote is lost: {_states(fields)}")
        return {"event": str(id), "conflicts": [await self._shown(known, one) for one in lost]}

    async def _shown(self, known: Answer, field: Answer) -> Answer:
        winner = await self._event(int(field["winner"]))
        lost = self._write(known, field["value"])
        kept = self._write(winner, field["winner_value"])
        name = f"{field['table']}.{field['column']}"
        return {"field": name, "of": field["key"], "lost": lost, "kept": kept, "rule": rule_of(name, lost, kept)}

    def _write(self, known: Answer, value: Any) -> Answer:
        event = known.get("event") or {}
        return self._origin(known["id"]) | {
            "actor": event.get("actor"),
            "action": event.get("action"),
            "value": value,
        }

    async def undo(self, id: int, field: str, *, dry: bool) -> Answer:
        """Writes what lost again. Repeatable: what was undone is not undone again, and `done` is false then."""
        known, fields = await self._fields(id, field)
        lost = [one for one in fields if one["state"] == "lost"]
        if len(lost) > 1:
            names = " or ".join(f"--field {one['table']}.{one['column']}" for one in lost)
            raise Invalid(f"event {id} lost in several fields: say which, {names}")
        if not lost:
            return await self._nothing(id, fields)
        [one] = lost
        request = {"event": str(id), "table": one["table"], "column": one["column"], "winner": one["winner"]}
        shown = await self._shown(known, one)
        would = await self._sys.call("GET", f"/sys/v1/conflicts/undo?{urlencode(request)}")
        if dry:
            return {"done": False, "dry_run": True, **shown, "writes": would["args"]}
        # From both events: whoever undoes this once more, anywhere, means the same.
        parts = (str(id), f"{one['table']}.{one['column']}", one["winner"])
        made = await self._sys.call("POST", "/sys/v1/conflicts/undo", request, f"undo:{ids.derived_id('undo', *parts)}")
        return {"done": True, "dry_run": False, **shown, "by": self._origin(made["id"])}

    async def _nothing(self, id: int, fields: list[Answer]) -> Answer:
        """There is nothing to undo. Fine where the present value is the one that was lost; else Conflict."""
        equal = [one for one in fields if one["state"] == "equal"]
        if not equal:
            raise Conflict(f"nothing that event {id} wrote can be undone: {_states(fields)}")
        [one] = equal[:1]
        winner = await self._event(int(one["winner"]))
        event = winner.get("event") or {}
        undone = event.get("action") == "conflict.undo" and event["args"]["of"] == str(id)
        why = "it was undone before" if undone else "the present value is the same, written by another event"
        name = f"{one['table']}.{one['column']}"
        return {"done": False, "dry_run": False, "why": why, "field": name, "by": self._origin(one["winner"])}

    async def _fields(self, id: int, field: str) -> tuple[Answer, list[Answer]]:
        known = await self._event(id)
        if known["state"] != "applied":
            raise NotFound(
                f"event {id} is not applied here ({known['state']}): planb explain {id} asks all datacenters"
            )
        fields = [one for one in known["fields"] if field in ("", f"{one['table']}.{one['column']}")]
        if not fields:
            there = ", ".join(f"{one['table']}.{one['column']}" for one in known["fields"])
            raise NotFound(
                f"event {id} ({known['event']['action']}) did not write {field or 'a field that can lose'}"
                + (f"; it wrote {there}" if there else "")
            )
        return known, fields

    async def _event(self, id: int) -> Answer:
        return await self._sys.call("GET", f"/sys/v1/events/{id}")

    def _origin(self, id: str) -> Answer:
        return origin_of(int(id), self._names)


def rule_of(field: str, lost: Answer, kept: Answer) -> str:
    """Why one of two writes is kept, in a sentence."""
    apart_ms = kept["time_ms"] - lost["time_ms"]
    later = f"{apart_ms:,} ms later" if apart_ms else "in the same 10 ms, and has the greater id"
    return (
        f"{field} has one value, and the later write wins (lww) in every datacenter: that of {kept['dc']} was {later},"
        f" and its origin had not applied that of {lost['dc']} yet."
    )


_STATES = {
    "shown": "is the present value",
    "equal": "has the same value now, of event {winner}",
    "replaced": "was replaced by a later write that knew it; the present one is event {winner}",
    "secret": "is a secret, and what is lost of it is not kept",
    "forgotten": "is no longer kept (30 days)",
}


def _states(fields: list[Answer]) -> str:
    return "; ".join(
        f"{one['table']}.{one['column']} {_STATES[one['state']].format(winner=one.get('winner'))}"
        for one in fields
        if one["state"] in _STATES
    )
