"""Handles: names of users that are found by everybody and belong to one."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable

from core import action, limits
from core.action import Origin, Route, Touch
from core.actions.fields import Handle
from core.errors import AccountFull, Conflict, NotFound
from core.event import Event
from core.handles import holder_of
from core.tables import Effect

_RULE = (
    "Claims and releases are rows that only appear (insert) and are folded in the order of their stamps: a claim takes "
    "only a free name, so of two the earlier one has it, and one that has lost does not come to life when the name "
    "gets free. Who has claimed the name and not released it is told whose it is, wherever that changes; the loser "
    "keeps his id. A claim releases what its user had before, as far as its origin knew."
)


def _row(event: Event, handle: str, kind: str) -> Effect:
    return Effect("handles", (handle, event.id), {"user": event.actor, "kind": kind})


class Claim(action.OwnAction):
    name = "handle.claim"
    summary = "Take a handle that is free"
    consistency = _RULE
    route = Route("PUT", "/v1/me/handle")
    example = {"handle": "ada_l"}
    errors = (Conflict, AccountFull)

    class Request(action.Request):
        handle: Handle

    class Args(action.Args, frozen=True, kw_only=True):
        handle: str
        released: tuple[str, ...]
        """What he had."""

    @staticmethod
    def turn(request: "Claim.Request") -> str:
        """In one datacenter the second of two is told at once."""
        return f"handle {request.handle}"

    @staticmethod
    async def resolve(request: "Claim.Request", origin: Origin) -> "Claim.Args":
        rows = await origin.view.handle(request.handle)
        owner = holder_of(rows).user
        if owner:
            raise Conflict(f"{request.handle} is {'yours already' if owner == origin.actor else 'taken'}")
        claims = sum(row.user == origin.actor and row.kind == "claim" for row in rows)
        if claims >= limits.HANDLE_CLAIMS_OF_USER_MAX:
            raise AccountFull(f"you have claimed {request.handle} {claims} times")
        if len(rows) >= limits.HANDLE_ROWS_MAX:
            raise Conflict(f"{request.handle} has changed hands too often")
        return Claim.Args(handle=request.handle, released=tuple(await origin.view.handles_of(origin.actor)))

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Claim.Args = event.args
        yield _row(event, args.handle, "claim")
        for handle in args.released:
            if handle != args.handle:
                yield _row(event, handle, "release")

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return tuple(Touch("handle", (handle,)) for handle in (event.args.handle, *event.args.released))


class Release(action.OwnAction):
    name = "handle.release"
    summary = "Give my handle up"
    consistency = _RULE
    route = Route("DELETE", "/v1/me/handle")
    errors = (NotFound,)

    class Args(action.Args, frozen=True, kw_only=True):
        released: tuple[str, ...]

    Request = action.Request

    @staticmethod
    async def resolve(request: action.Request, origin: Origin) -> "Release.Args":
        released = await origin.view.handles_of(origin.actor)
        if not released:
            raise NotFound("you have no handle")
        return Release.Args(released=tuple(released))

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        for handle in event.args.released:
            yield _row(event, handle, "release")

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return tuple(Touch("handle", (handle,)) for handle in event.args.released)
