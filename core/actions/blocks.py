"""Whose direct messages a user does not take. It concerns his own devices only: the other one is not told."""

from collections.abc import Iterable

from core import action, limits
from core.action import Origin, Route, Touch
from core.actions.conversations import require_users
from core.actions.fields import UserId
from core.errors import AccountFull, Invalid, NotFound
from core.event import Event
from core.tables import Effect


class _Request(action.Request):
    user: UserId


class _Args(action.Args, frozen=True, kw_only=True):
    target: str
    basis: int


class _Block(action.OwnAction):
    """What both share: one value, on or off."""

    Request = _Request
    Args = _Args
    on: int

    @classmethod
    def _effects(cls, event: Event) -> Iterable[Effect]:
        args: _Args = event.args
        return (Effect("blocks", (event.actor, args.target), {"blocked": cls.on}, {"blocked": args.basis}),)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("block", (event.actor, event.args.target)),)


class Set(_Block):
    name = "block.set"
    summary = "Block a user: I get no direct messages from him"
    consistency = (
        "One value per (blocker, target): the later write wins (lww) and the other is listed as a conflict. Direct "
        "messages of a blocked user, his edits and reactions there, and chats that he would put the blocker into, are "
        "refused where he asks, once that datacenter has applied the block. What another one accepted meanwhile "
        "stays. Chats that both are in are not touched."
    )
    route = Route("PUT", "/v1/blocks/{user}")
    errors = (Invalid, NotFound, AccountFull)
    on = 1

    @staticmethod
    async def resolve(request: _Request, origin: Origin) -> _Args:
        if request.user == origin.actor:
            raise Invalid("user: you can not block yourself")
        await require_users(origin.view, (request.user,))
        blocked = await origin.view.blocks_of(origin.actor)
        if request.user not in blocked and len(blocked) >= limits.BLOCKS_OF_USER_MAX:
            raise AccountFull(f"at most {limits.BLOCKS_OF_USER_MAX} users are blocked at a time")
        return _Args(target=request.user, basis=await origin.view.block_stamp(origin.actor, request.user))

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return Set._effects(event)


class Clear(_Block):
    name = "block.clear"
    summary = "Take a block back"
    consistency = Set.consistency
    route = Route("DELETE", "/v1/blocks/{user}")
    errors = (NotFound,)
    on = 0

    @staticmethod
    async def resolve(request: _Request, origin: Origin) -> _Args:
        if request.user not in await origin.view.blocks_of(origin.actor):
            raise NotFound(f"{request.user} is not blocked")
        return _Args(target=request.user, basis=await origin.view.block_stamp(origin.actor, request.user))

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return Clear._effects(event)
