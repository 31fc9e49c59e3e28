"""Who is in a chat. The registers and their rule are in core/membership.py.

Whoever knows the id of a chat that is open joins it, also after a kick that his datacenter knew.
"""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import Field

from core import action
from core.action import Audience, Origin, Route, Touch
from core.actions.adding import ADD_RULE, AddArgs, Adding, adding
from core.actions.conversations import (
    ChatArgs,
    audience_of,
    known_chat,
    live_chat,
    reach_of,
    require_manager,
    require_takers,
    standing,
)
from core.actions.fields import ChatId, UserId, Users
from core.actions.lines import line, line_touch
from core.errors import Conflict, Forbidden, Full, Gone, Invalid, NotFound, UserFull
from core.event import Event
from core.ids import lane_of
from core.membership import Membership
from core.tables import Effect


class Add(Adding):
    name = "member.add"
    summary = "Add members to a chat"
    consistency = ADD_RULE
    route = Route("POST", "/v1/chats/{chat}/members")
    example = {"users": ["Ugrace", "Ulinus"]}
    errors = (Forbidden, NotFound, Gone, Conflict, Full, UserFull)
    Args = AddArgs

    class Request(action.Request):
        chat: ChatId
        users: Users = Field(min_length=1)

    @staticmethod
    async def resolve(request: "Add.Request", origin: Origin) -> AddArgs:
        chat = await live_chat(origin.view, request.chat)
        await require_manager(origin.view, chat, origin.actor)
        users = sorted(set(request.users))
        await require_takers(origin.view, origin.actor, users)
        return await adding(origin, chat.chat, users)


class Join(Adding):
    name = "member.join"
    summary = "Join an open chat whose id I know"
    consistency = (
        f"{ADD_RULE} Whether the chat is open is looked at where the call is taken: who comes in while it is closed "
        "elsewhere is in it."
    )
    route = Route("POST", "/v1/chats/{chat}/join")
    errors = (Forbidden, NotFound, Gone, Conflict, Full, UserFull)
    Args = AddArgs

    class Request(action.Request):
        chat: ChatId

    @staticmethod
    async def resolve(request: "Join.Request", origin: Origin) -> AddArgs:
        chat = await live_chat(origin.view, request.chat)
        if chat.entry == "approval":
            raise Forbidden("this chat is entered by a request: POST /v1/chats/{chat}/requests")
        if chat.entry != "open":
            raise Forbidden("this chat is entered by invitation only")
        return await adding(origin, chat.chat, (origin.actor,))


class Leave(action.Action):
    name = "member.leave"
    summary = "Leave a chat"
    consistency = (
        "Takes with it, per lane, the adds that the origin had applied (max): an invitation that it had not seen "
        "still holds. Owner and admins keep their role should they come back. I still read what the origin had applied "
        "(max per lane)."
    )
    route = Route("DELETE", "/v1/chats/{chat}/members/me")
    errors = (NotFound,)

    class Request(action.Request):
        chat: ChatId

    class Args(ChatArgs, frozen=True, kw_only=True):
        adds: dict[int, int]
        """lane -> greatest add of mine that the origin had applied."""
        seen: dict[int, int] = {}
        """lane -> the last id that the origin had applied: what I still read."""

    @staticmethod
    async def resolve(request: "Leave.Request", origin: Origin) -> "Leave.Args":
        chat = await known_chat(origin.view, request.chat)
        membership = await origin.view.membership(chat.chat, origin.actor)
        if not membership.present:
            raise NotFound(f"you are not a member of {chat.chat}")
        reach = await reach_of(origin.view, chat.chat)
        return Leave.Args(
            chat=chat.chat,
            to=tuple(sorted({*reach.to, origin.actor})),
            knew=reach.knew,
            adds=membership.known_adds(),
            seen=dict(origin.v()),
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Leave.Args = event.args
        for lane, add in args.adds.items():
            yield Effect("member_left", (args.chat, event.actor, lane), {"left": add})
        yield Effect("members", (args.chat, event.actor), {"left_at": event.id})
        yield from went(event, event.actor, args.seen)
        yield line(event, args.to, args.knew, users=(event.actor,))

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.chat, event.args.to, event.args.knew)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("member", (event.args.chat, event.actor)), line_touch(event))


def went(event: Event, user: str, seen: Mapping[int, int]) -> Iterable[Effect]:
    """What a member who goes with this event may still read: what its origin had applied, and its own lane so far."""
    for lane, id in {**seen, lane_of(event.id): event.id}.items():
        yield Effect("member_seen", (event.args.chat, user, lane), {"seen": id})


async def _other_member(origin: Origin, chat: str, user: str) -> Membership:
    membership = await origin.view.membership(chat, user)
    if not membership.present:
        raise NotFound(f"{user} is not a member of {chat}")
    return membership


class Kick(action.Action):
    name = "member.kick"
    summary = "Remove a member"
    consistency = (
        "The greatest kick per lane is kept (max); it beats every add that did not know it, so every concurrent one. "
        "The dialog stays with its user, who still reads what the kick's origin had applied (max per lane), whatever "
        "the stamps say. Answered when another datacenter holds it durably, if one is reachable."
    )
    route = Route("DELETE", "/v1/chats/{chat}/members/{user}")
    errors = (Invalid, Forbidden, NotFound, Gone)
    durability = "remote"

    class Request(action.Request):
        chat: ChatId
        user: UserId

    class Args(ChatArgs, frozen=True, kw_only=True):
        user: str
        seen: dict[int, int] = {}
        """lane -> the last id that the origin had applied: what the user still reads."""

    @staticmethod
    async def resolve(request: "Kick.Request", origin: Origin) -> "Kick.Args":
        chat = await live_chat(origin.view, request.chat)
        await require_manager(origin.view, chat, origin.actor)
        if request.user == origin.actor:
            raise Invalid("to go yourself, leave the chat")
        await _other_member(origin, chat.chat, request.user)
        if await standing(origin.view, chat, request.user) == "owner":
            raise Forbidden("the owner can't be removed")
        reach = await reach_of(origin.view, chat.chat)
        return Kick.Args(
            chat=chat.chat,
            to=tuple(sorted({*reach.to, request.user})),
            knew=reach.knew,
            user=request.user,
            seen=dict(origin.v()),
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Kick.Args = event.args
        yield Effect("member_kicked", (args.chat, args.user, lane_of(event.id)), {"kicked": event.id})
        yield from went(event, args.user, args.seen)
        yield line(event, args.to, args.knew, users=(args.user,))

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.chat, event.args.to, event.args.knew)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("member", (event.args.chat, event.args.user)), line_touch(event))


class Role(action.Action):
    name = "member.role"
    summary = "Make a member an admin, or an admin a member"
    consistency = (
        "The later write wins (lww) and the other is listed as a conflict; valid only with a stamp after every kick "
        "of the member. The owner is no role: without one it is the longest-standing admin, then member."
    )
    route = Route("PATCH", "/v1/chats/{chat}/members/{user}")
    example = {"role": "admin"}
    errors = (Forbidden, NotFound, Gone)

    class Request(action.Request):
        chat: ChatId
        user: UserId
        role: Literal["admin", "member"]

    class Args(ChatArgs, frozen=True, kw_only=True):
        user: str
        role: str
        basis: int
        was: str = ""
        """The role that the origin replaced; "" where it was this one: then there is nothing to tell."""

    @staticmethod
    async def resolve(request: "Role.Request", origin: Origin) -> "Role.Args":
        chat = await live_chat(origin.view, request.chat)
        await require_manager(origin.view, chat, origin.actor)
        membership = await _other_member(origin, chat.chat, request.user)
        if await standing(origin.view, chat, request.user) == "owner":
            raise Forbidden("the owner has no other role")
        reach = await reach_of(origin.view, chat.chat)
        was = membership.valid_role or "member"
        return Role.Args(
            chat=chat.chat,
            to=reach.to,
            knew=reach.knew,
            user=request.user,
            role=request.role,
            basis=membership.role_at,
            was=was if was != request.role else "",
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Role.Args = event.args
        yield Effect("members", (args.chat, args.user), {"role": args.role}, {"role": args.basis})
        if args.was:
            old, new = {"role": args.was}, {"role": args.role}
            yield line(event, args.to, args.knew, users=(args.user,), old=old, new=new)

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.chat, event.args.to, event.args.knew)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        member = Touch("member", (event.args.chat, event.args.user))
        return (member, line_touch(event)) if event.args.was else (member,)
