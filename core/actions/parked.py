"""Giving up an event that can't be applied. The rule is in core/drops.py."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from core import action
from core.action import Origin, Route, View
from core.errors import Conflict, Forbidden, NotFound
from core.event import Event
from core.ids import Lane, lane_of
from core.tables import Effect


class Drop(action.Action):
    name = "parked.drop"
    summary = "Give this datacenter's word that a parked event is to be dropped"
    consistency = (
        "One word per datacenter, set once: agreed where the event is parked, applied where it was applied. It is "
        "dropped when all datacenters have agreed; whoever agreed does not apply it any more, so that no datacenter "
        "has applied what another one drops. Where one has applied it, the drop has lost for ever and the others retry."
    )
    route = Route("POST", "/sys/v1/parked/drop", listener="sys")
    example = {"lane": 2048, "seq": 17}
    answer = {"agreed": bool}
    errors = (Conflict, Forbidden, NotFound)

    class Request(action.Request):
        lane: Annotated[int, Field(ge=0, le=65_535)]
        seq: Annotated[int, Field(ge=1, le=(1 << 63) - 1)]

    class Args(action.Args, frozen=True, kw_only=True):
        lane: int
        seq: int
        dcs: list[int]
        """The datacenters of the origin's map: all of them have to agree."""
        agreed: bool
        """False: the origin has applied it."""

    @staticmethod
    async def resolve(request: "Drop.Request", origin: Origin) -> "Drop.Args":
        if origin.actor != "sys":
            raise Forbidden("only an operator may do this")
        place = await origin.view.parking(request.lane, request.seq)
        if not (place.parked or place.passed):
            raise NotFound("this datacenter has not got as far as that event")
        if place.said or (place.dropped and not place.parked):
            raise Conflict("this datacenter has given its word already, or the event is dropped")
        return Drop.Args(lane=request.lane, seq=request.seq, dcs=sorted(place.dcs), agreed=place.parked)

    @staticmethod
    def forgo(request: "Drop.Request", view: View) -> None:
        view.forgo(request.lane, request.seq)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Drop.Args = event.args
        word = {"agreed": 1} if args.agreed else {"applied": 1}
        dc = Lane.of(lane_of(event.id)).dc
        return (Effect("drops", (args.lane, args.seq, dc), {"dcs": args.dcs, **word}),)

    @staticmethod
    def result(event: Event) -> dict[str, Any]:
        return {"agreed": event.args.agreed}
