"""Handing a chat over. Who owns it while its owner is no member is decided by state alone: core/ownership.py."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable

from core import action
from core.action import Audience, Origin, Route, Touch
from core.actions.conversations import ChatArgs, audience_of, live_chat, reach_of, standing
from core.actions.fields import ChatId, UserId
from core.actions.lines import line, line_touch
from core.errors import Conflict, Forbidden, Gone, NotFound
from core.event import Event
from core.tables import Effect


class Hand(action.Action):
    name = "chat.owner"
    summary = "Hand a chat that I own to another member"
    consistency = (
        "The later write wins (lww) and the other is listed as a conflict, so two that are made at once leave one "
        "owner. He owns the chat only while he is a member: where he was removed or left meanwhile it is the "
        "longest-standing admin's, then the longest-standing member's, by the smallest add and then user id; alike in "
        "every datacenter. Who hands it over is an admin from then on (lww)."
    )
    route = Route("PUT", "/v1/chats/{chat}/owner")
    example = {"user": "Ugrace"}
    errors = (Conflict, Forbidden, NotFound, Gone)

    class Request(action.Request):
        chat: ChatId
        user: UserId

    class Args(ChatArgs, frozen=True, kw_only=True):
        user: str
        basis: int
        role_basis: int
        """Of the caller's role."""

    @staticmethod
    async def resolve(request: "Hand.Request", origin: Origin) -> "Hand.Args":
        view, actor = origin.view, origin.actor
        chat = await live_chat(view, request.chat)
        if await standing(view, chat, actor) != "owner":
            raise Forbidden("only the owner may hand a chat over")
        if request.user == actor:
            raise Conflict("the chat is yours already")
        if not (await view.membership(chat.chat, request.user)).present:
            raise NotFound(f"{request.user} is not a member of {chat.chat}")
        reach = await reach_of(view, chat.chat)
        mine = await view.membership(chat.chat, actor)
        return Hand.Args(
            chat=chat.chat,
            to=reach.to,
            knew=reach.knew,
            user=request.user,
            basis=chat.stamps["owner"],
            role_basis=mine.role_at,
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Hand.Args = event.args
        yield Effect("chats", (args.chat,), {"owner": args.user}, {"owner": args.basis})
        yield Effect("members", (args.chat, event.actor), {"role": "admin"}, {"role": args.role_basis})
        old, new = {"owner": event.actor}, {"owner": args.user}
        yield line(event, args.to, args.knew, users=(args.user,), old=old, new=new)

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.chat, event.args.to, event.args.knew)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("chat", (event.args.chat,)), Touch("member", (event.args.chat, event.actor)), line_touch(event))
