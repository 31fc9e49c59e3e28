"""How people come into chats: links, and requests to be let in."""

from typing import Annotated, Any

import pydantic

from api import answers
from api.calls import Call
from api.links import Links
from api.operations import Read
from api.queries.paging import LIMIT_DEFAULT, Limit
from core.action import ChatView, Request
from core.actions.conversations import known_chat, require_manager
from core.actions.fields import ChatId, LinkText, MessageId, UserId
from core.errors import Forbidden, Gone, NotFound
from core.invites import NEVER_MS, Invite, standing
from core.system import Clock
from stores import render
from stores.view import StoreView

_LOCAL = "As this datacenter has applied it."


class OfChatRequest(Request):
    chat: ChatId


class BansRequest(OfChatRequest):
    limit: Limit = LIMIT_DEFAULT
    after: Annotated[UserId, pydantic.Field(description="The last user of the page before")] | None = None


class LookRequest(Request):
    link: LinkText


class AskingRequest(Request):
    chat: ChatId
    limit: Limit = LIMIT_DEFAULT
    after: Annotated[MessageId, pydantic.Field(description="The last event of the page before")] | None = None


class Entry:
    def __init__(self, view: StoreView, links: Links, wall: Clock) -> None:
        self._view = view
        self._links = links
        self._wall = wall

    def reads(self) -> list[Read]:
        return [
            Read(
                "invites.list",
                "GET",
                "/v1/chats/{chat}/invites",
                "The links into a chat that I manage, without those that are over or revoked",
                f"{_LOCAL} Uses are the sum of what each lane has counted.",
                self.invites,
                answers.Invites,
                OfChatRequest,
                (Forbidden, NotFound),
            ),
            Read(
                "bans.list",
                "GET",
                "/v1/chats/{chat}/bans",
                "Who is kept out of a chat that I manage, by user id",
                _LOCAL,
                self.bans,
                answers.Bans,
                BansRequest,
                (Forbidden, NotFound),
            ),
            Read(
                "invite.look",
                "POST",
                "/v1/invites/look",
                "What a link leads to",
                f"{_LOCAL} A link whose chat has not arrived here is not found.",
                self.look,
                answers.InviteShown,
                LookRequest,
                (NotFound, Gone),
                example={"link": "PL1.lbRHMTIz.c2lnbmF0dXJl"},
            ),
            Read(
                "requests.list",
                "GET",
                "/v1/chats/{chat}/requests",
                "Who asks to be let into a chat that I manage",
                f"{_LOCAL} A page may hold fewer than asked for: those who have come in by another way are left out.",
                self.asking,
                answers.JoinRequests,
                AskingRequest,
                (Forbidden, NotFound),
            ),
            Read(
                "requests.mine",
                "GET",
                "/v1/me/requests",
                "Chats that I ask to be let into",
                _LOCAL,
                self.mine,
                answers.MyJoinRequests,
            ),
        ]

    async def _managed(self, call: Call, chat: str) -> ChatView:
        """Forbidden for all but owner and admins; NotFound for who never was in it."""
        found = await known_chat(self._view, chat)
        if not (await self._view.membership(chat, call.caller.user)).ever:
            raise NotFound(f"there is no chat {chat}")
        await require_manager(self._view, found, call.caller.user)
        return found

    async def invites(self, call: Call, request: OfChatRequest) -> dict[str, Any]:
        chat = await self._managed(call, request.chat)
        return {"invites": [self._shown(one) for one in await self._view.invites_of(chat.chat, self._wall())]}

    def _shown(self, invite: Invite) -> dict[str, Any]:
        link = invite.link
        return {
            "invite": link.invite,
            "link": self._links.signed(link),
            "creator": invite.creator,
            "made": str(invite.made),
            "expires_ms": None if link.expires_ms == NEVER_MS else link.expires_ms,
            "uses_max": link.uses_max or None,
            "used": invite.used,
            "approval": link.approval,
        }

    async def bans(self, call: Call, request: BansRequest) -> dict[str, Any]:
        chat = (await self._managed(call, request.chat)).chat
        users = await self._view.bans_of(chat, request.after or "", request.limit)
        after = users[-1] if len(users) == request.limit else None
        return {"users": [await render.profile(self._view, user) for user in users], "after": after}

    async def look(self, call: Call, request: LookRequest) -> dict[str, Any]:
        link = self._links.opened(request.link)
        chat = await self._view.chat(link.chat) if link is not None else None
        if link is None or chat is None:
            raise NotFound("there is no such link")
        known = await self._view.invite(link.chat, link.invite)
        if chat.dissolved or (known is not None and known.revoked) or link.expires_ms <= self._wall():
            raise Gone("the link leads nowhere any more")
        return {
            "chat": chat.chat,
            "kind": chat.kind,
            "title": chat.title,
            "about": chat.about,
            "avatar": chat.avatar,
            "approval": link.approval,
            "present": (await self._view.membership(chat.chat, call.caller.user)).present,
        }

    async def asking(self, call: Call, request: AskingRequest) -> dict[str, Any]:
        chat = (await self._managed(call, request.chat)).chat
        rows = await self._view.asking(chat, int(request.after or 0), request.limit)
        shown = []
        for row in rows:
            if standing((row,), await self._view.membership(chat, row.user)):
                profile = await render.profile(self._view, row.user)
                shown.append({"event": str(row.event), "user": profile, "invite": row.invite or None})
        return {"requests": shown, "after": str(rows[-1].event) if len(rows) == request.limit else None}

    async def mine(self, call: Call, _: Request) -> dict[str, Any]:
        user = call.caller.user
        rows = [
            (chat, row)
            for chat, row in await self._view.asked_by(user)
            if standing((row,), await self._view.membership(chat, user))
        ]
        return {"requests": [{"event": str(row.event), "chat": chat} for chat, row in rows]}
