"""Keeping somebody out of a chat: he is removed, and may not come in again until that is taken back."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable

from core import action, limits
from core.action import Audience, Origin, Route, Touch
from core.actions.adding import ended
from core.actions.conversations import (
    ChatArgs,
    audience_of,
    live_chat,
    reach_of,
    require_manager,
    require_users,
    standing,
)
from core.actions.fields import ChatId, UserId
from core.actions.lines import line, line_touch
from core.actions.members import went
from core.errors import ChatFull, Conflict, Forbidden, Gone, Invalid, NotFound
from core.event import Event
from core.ids import lane_of
from core.tables import Effect

_RULE = (
    "One value per (chat, user): the later write wins (lww) and the other is listed as a conflict. With a ban goes a "
    "kick, which beats every concurrent add, join and accept, and stays when the ban is lifted, also by a concurrent "
    "write: who is not banned any more has to come in again. Whether somebody is banned is looked at where he comes in."
)


class _Request(action.Request):
    chat: ChatId
    user: UserId


class _Args(ChatArgs, frozen=True, kw_only=True):
    user: str
    basis: int


class Ban(action.Action):
    name = "chat.ban"
    summary = "Keep somebody out of a chat"
    consistency = f"{_RULE} Answered when another datacenter holds it durably, if one is reachable."
    route = Route("PUT", "/v1/chats/{chat}/bans/{user}")
    errors = (Invalid, Forbidden, NotFound, Gone, Conflict, ChatFull)
    durability = "remote"
    Request = _Request

    class Args(_Args, frozen=True, kw_only=True):
        seen: dict[int, int] = {}
        """lane -> the last id that the origin had applied, for a member: what he still reads."""
        ended: dict[int, str] = {}
        """His requests to be let in."""

    @staticmethod
    def turn(request: _Request) -> str:
        return f"bans {request.chat}"

    @staticmethod
    async def resolve(request: _Request, origin: Origin) -> "Ban.Args":
        view, user = origin.view, request.user
        chat = await live_chat(view, request.chat)
        await require_manager(view, chat, origin.actor)
        if user == origin.actor:
            raise Invalid("user: you can not ban yourself")
        await require_users(view, (user,))
        if await standing(view, chat, user) == "owner":
            raise Forbidden("the owner can't be banned")
        banned, stamp = await view.ban(chat.chat, user)
        if banned:
            raise Conflict(f"{user} is banned already")
        if len(await view.bans_of(chat.chat, "", limits.BANS_OF_CHAT_MAX)) >= limits.BANS_OF_CHAT_MAX:
            raise ChatFull(f"at most {limits.BANS_OF_CHAT_MAX} users are banned from a chat at a time")
        reach = await reach_of(view, chat.chat)
        present = (await view.membership(chat.chat, user)).present
        asked = await view.asked(chat.chat, user)
        return Ban.Args(
            chat=chat.chat,
            to=tuple(sorted({*reach.to, user})),
            knew=reach.knew,
            user=user,
            basis=stamp,
            # One who has left reads no further for being banned.
            seen=dict(origin.v()) if present else {},
            ended={one.event: user for one in asked if not one.ended},
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Ban.Args = event.args
        yield Effect("chat_bans", (args.chat, args.user), {"banned": 1}, {"banned": args.basis})
        yield Effect("member_kicked", (args.chat, args.user, lane_of(event.id)), {"kicked": event.id})
        if args.seen:
            yield from went(event, args.user, args.seen)
        yield from ended(args.chat, args.ended)
        if args.seen:  # who was no member is not told of: he has no dialog of this chat
            yield line(event, args.to, args.knew, users=(args.user,))

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.chat, event.args.to, event.args.knew)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        place = (event.args.chat, event.args.user)
        told = (line_touch(event),) if event.args.seen else ()
        return (Touch("member", place), Touch("ban", place), *told)


class Unban(action.Action):
    name = "chat.unban"
    summary = "Let somebody come in again who was banned"
    consistency = _RULE
    route = Route("DELETE", "/v1/chats/{chat}/bans/{user}")
    errors = (Forbidden, NotFound, Gone)
    Request = _Request
    Args = _Args

    @staticmethod
    async def resolve(request: _Request, origin: Origin) -> _Args:
        chat = await live_chat(origin.view, request.chat)
        await require_manager(origin.view, chat, origin.actor)
        banned, stamp = await origin.view.ban(chat.chat, request.user)
        if not banned:
            raise NotFound(f"{request.user} is not banned")
        reach = await reach_of(origin.view, chat.chat)
        to = tuple(sorted({*reach.to, request.user}))
        return _Args(chat=chat.chat, to=to, knew=reach.knew, user=request.user, basis=stamp)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: _Args = event.args
        return (Effect("chat_bans", (args.chat, args.user), {"banned": 0}, {"banned": args.basis}),)

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.chat, event.args.to, event.args.knew)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("ban", (event.args.chat, event.args.user)),)
