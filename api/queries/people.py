"""Profiles, sessions, chats and their members."""

from typing import Annotated, Any

import pydantic

from api import answers
from api.calls import Call
from api.decoding import refused
from api.operations import Read
from api.queries.paging import LIMIT_DEFAULT, Limit
from core import limits
from core.access import kind_of
from core.action import Request
from core.actions.conversations import known_chat, owner_in_force, standing
from core.actions.fields import ChatId, Handle, UserId
from core.errors import Forbidden, Invalid, NotFound
from core.handles import holder_of
from core.membership import Membership
from core.system import Clock
from stores import render
from stores.ports import HotStore
from stores.view import StoreView

_LOCAL = "As this datacenter has applied it."


class UserRequest(Request):
    user: UserId


class HandleRequest(Request):
    handle: Handle


class ChatRequest(Request):
    chat: ChatId


class MembersRequest(Request):
    chat: ChatId
    limit: Limit = LIMIT_DEFAULT
    after: Annotated[UserId, pydantic.Field(description="The last user of the page before")] | None = None


class PresenceRequest(Request):
    users: Annotated[
        str,
        pydantic.Field(
            pattern=r"^U[A-Za-z0-9._-]{1,63}(,U[A-Za-z0-9._-]{1,63})*$",
            max_length=65 * limits.PAGE_MAX,
            description="User ids, separated by commas",
        ),
    ]


class People:
    def __init__(self, view: StoreView, hot: HotStore, wall: Clock) -> None:
        self._view = view
        self._hot = hot
        self._wall = wall

    def reads(self) -> list[Read]:
        return [
            Read("me.get", "GET", "/v1/me", "My profile", _LOCAL, self.me, answers.Me, errors=(NotFound,)),
            Read(
                "user.get",
                "GET",
                "/v1/users/{user}",
                "A profile",
                _LOCAL,
                self.user,
                answers.PublicProfile,
                UserRequest,
                (NotFound,),
            ),
            Read(
                "handle.get",
                "GET",
                "/v1/handles/{handle}",
                "Whose a handle is",
                _LOCAL,
                self.handle,
                answers.Handle,
                HandleRequest,
                (NotFound,),
            ),
            Read(
                "presence.get",
                "GET",
                "/v1/presence",
                "Who is connected",
                "Of this datacenter's websockets alone; a lease, so it may be late by a few heartbeats.",
                self.presence,
                answers.Presences,
                PresenceRequest,
                (Invalid,),
            ),
            Read(
                "sessions.list",
                "GET",
                "/v1/sessions",
                "My sessions that are still valid, the newest first",
                _LOCAL,
                self.sessions,
                answers.Sessions,
            ),
            Read(
                "chat.get",
                "GET",
                "/v1/chats/{chat}",
                "A chat of mine",
                _LOCAL,
                self.chat,
                answers.ChatOfMine,
                ChatRequest,
                (NotFound,),
            ),
            Read(
                "members.list",
                "GET",
                "/v1/chats/{chat}/members",
                "Who is in a chat of mine, by user id",
                f"{_LOCAL} The owner in force follows from the members' registers, so it is the same everywhere. A "
                "page may hold fewer than asked for where many have gone; `after` is null at the end. A supergroup's "
                "members are not counted.",
                self.members,
                answers.Members,
                MembersRequest,
                (Forbidden, NotFound),
            ),
        ]

    async def me(self, call: Call, _: Request) -> dict[str, Any]:
        user = call.caller.user
        shown = await self._profile(user)
        return shown | {"dnd": await render.dnd(self._view, user), "session": call.caller.session}

    async def user(self, _: Call, request: UserRequest) -> dict[str, Any]:
        return await self._profile(request.user)

    async def _profile(self, user: str) -> dict[str, Any]:
        if await self._view.user(user) is None:
            raise NotFound(f"there is no user {user}")
        handles = await self._view.handles_of(user)
        return await render.profile(self._view, user) | {"handle": handles[0] if handles else None}

    async def handle(self, _: Call, request: HandleRequest) -> dict[str, Any]:
        owner = holder_of(await self._view.handle(request.handle)).user
        if not owner:
            raise NotFound(f"nobody has the handle {request.handle}")
        return {"handle": request.handle, "user": await render.profile(self._view, owner)}

    async def presence(self, _: Call, request: PresenceRequest) -> dict[str, Any]:
        users = request.users.split(",")
        if len(users) > limits.PAGE_MAX:
            raise refused(f"at most {limits.PAGE_MAX} of them", "users")
        online = await self._hot.online(users)
        return {"presence": [{"user": user, "online": on} for user, on in zip(users, online, strict=True)]}

    async def sessions(self, call: Call, _: Request) -> dict[str, Any]:
        found = await self._view.sessions_of(call.caller.user, self._wall(), limits.SESSIONS_OF_USER_MAX)
        return {
            "sessions": [
                {
                    "session": one.session,
                    "device": one.device,
                    "expires_ms": one.expires_ms,
                    "current": one.session == call.caller.session,
                }
                for one in found
            ]
        }

    async def _membership(self, chat: str, user: str) -> Membership:
        """NotFound for whoever never was in it: what one may not see is not told apart from what is not there."""
        await known_chat(self._view, chat)
        membership = await self._view.membership(chat, user)
        if not membership.ever:
            raise NotFound(f"there is no chat {chat}")
        return membership

    async def chat(self, call: Call, request: ChatRequest) -> dict[str, Any]:
        user = call.caller.user
        membership = await self._membership(request.chat, user)
        chat = await known_chat(self._view, request.chat)
        mine = {"present": membership.present, "role": await standing(self._view, chat, user)}
        former = membership if membership.former else None
        return await render.chat(self._view, request.chat, former) | {"me": mine}

    async def members(self, call: Call, request: MembersRequest) -> dict[str, Any]:
        membership = await self._membership(request.chat, call.caller.user)
        if not membership.present:
            raise Forbidden(f"you are not a member of {request.chat}")
        owner = await owner_in_force(self._view, await known_chat(self._view, request.chat))
        count: int | None = None
        if kind_of(request.chat) == "group":
            present, users, _ = await self._view.roll(request.chat)
            left = [user for user in users if user > (request.after or "")]
            page = {user: present[user] for user in left[: request.limit]}
            count, after = len(users), left[request.limit - 1] if len(left) > request.limit else None
        else:
            page, after = await self._view.members(request.chat, request.after or "", request.limit)
        return {
            "members": [
                {
                    "user": user,
                    "role": "owner" if user == owner else its.valid_role or "member",
                    "joined": str(its.joined_at),
                }
                for user, its in page.items()
            ],
            "count": count,
            "after": after,
        }
