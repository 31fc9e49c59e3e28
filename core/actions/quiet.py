"""When a user is not to be disturbed. It concerns his own devices only."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable

import pydantic

from core import action
from core.action import Origin, Route, Touch
from core.actions.fields import Days, TimeOfDay, UntilMs, Zone
from core.errors import NotFound
from core.event import Event
from core.tables import Effect


class Schedule(action.Request):
    """Each of these days from one time to another, which is on the next day where it is not later."""

    zone: Zone
    from_: TimeOfDay = pydantic.Field(alias="from")
    to: TimeOfDay
    days: Days = [1, 2, 3, 4, 5, 6, 7]


class Dnd(action.OwnAction):
    name = "user.dnd"
    summary = "Say until when, or at which hours, I am not to be disturbed"
    consistency = (
        "One value: an absolute time, so that a replay does not stretch it, and a schedule with its time zone, so that "
        "it means the same in every datacenter. The later write wins (lww) and the other is listed as a conflict."
    )
    route = Route("PUT", "/v1/me/dnd")
    example = {"until_ms": None, "schedule": {"zone": "Europe/Berlin", "from": "22:00", "to": "07:00"}}
    errors = (NotFound,)

    class Request(action.Request):
        until_ms: UntilMs | None
        """None: no such time."""
        schedule: Schedule | None
        """None: no such hours."""

    class Args(action.Args, frozen=True, kw_only=True):
        until_ms: int
        zone: str
        """ "" for no schedule."""
        begin: str
        end: str
        days: tuple[int, ...]
        basis: int

    @staticmethod
    async def resolve(request: "Dnd.Request", origin: Origin) -> "Dnd.Args":
        present = await origin.view.user(origin.actor)
        if present is None:
            raise NotFound(f"there is no user {origin.actor}")
        hours = request.schedule
        return Dnd.Args(
            until_ms=request.until_ms or 0,
            zone=hours.zone if hours else "",
            begin=hours.from_ if hours else "",
            end=hours.to if hours else "",
            days=tuple(sorted(set(hours.days))) if hours else (),
            basis=present.stamps.get("dnd", 0),
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Dnd.Args = event.args
        schedule = {"zone": args.zone, "from": args.begin, "to": args.end, "days": list(args.days)}
        dnd = {"until_ms": args.until_ms or None, "schedule": schedule if args.zone else None}
        value = dnd if args.until_ms or args.zone else None
        return (Effect("users", (event.actor,), {"dnd": value}, {"dnd": args.basis}),)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("dnd", (event.actor,)),)
