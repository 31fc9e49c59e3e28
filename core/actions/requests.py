"""Requests to be let into a chat, and their answers. The rule is in core/invites.py."""

from collections.abc import Iterable

from core import action, limits
from core.action import Audience, Origin, Route, Touch
from core.actions.adding import ADD_RULE, AddArgs, Adding, adding, ended
from core.actions.conversations import known_chat, live_chat, require_manager, require_unbanned
from core.actions.fields import ChatId, UserId
from core.errors import ChatFull, Conflict, Forbidden, Full, Gone, NotFound, UserFull
from core.event import Event
from core.invites import standing
from core.tables import Effect

_RULE = (
    "A request is a row that only appears (insert). An answer ends those that its origin had applied (once): one that "
    "it had not seen stands on. Who is let in while another datacenter refuses him is in the chat. Who is a member, or "
    "was added after he asked, asks no more."
)


async def require_asking(origin: Origin, chat: str) -> None:
    """Conflict for a member and for who waits already, ChatFull where too many do. Asked at the origin only."""
    view, actor = origin.view, origin.actor
    membership = await view.membership(chat, actor)
    if membership.present:
        raise Conflict("already a member")
    await require_unbanned(view, chat, actor)
    rows = await view.asked(chat, actor)
    if standing(rows, membership):
        raise Conflict("you have asked already")
    if len(rows) >= limits.JOIN_REQUESTS_OF_ONE_MAX:
        raise ChatFull(f"you have asked {len(rows)} times")
    if len(await view.asking(chat, 0, limits.JOIN_REQUESTS_OF_CHAT_MAX)) >= limits.JOIN_REQUESTS_OF_CHAT_MAX:
        raise ChatFull(f"{limits.JOIN_REQUESTS_OF_CHAT_MAX} ask to be let into {chat}")


def asked(event: Event, invite: str) -> Effect:
    """The request that its actor makes with this event."""
    return Effect("join_requests", (event.id,), {"chat": event.args.chat, "user": event.actor, "invite": invite})


class _OneRequest(action.Request):
    chat: ChatId
    user: UserId


class _OwnRequest(action.Request):
    chat: ChatId


class _Args(action.Args, frozen=True, kw_only=True):
    chat: str
    user: str
    managers: tuple[str, ...]
    """Who is told beside him."""


class _Request(action.Action):
    """Whom and what it concerns."""

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=tuple(dict.fromkeys((event.args.user, event.actor, *event.args.managers))))

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("request", (event.args.chat, event.args.user)),)


class Ask(_Request):
    name = "request.ask"
    summary = "Ask to be let into a chat"
    consistency = _RULE
    route = Route("POST", "/v1/chats/{chat}/requests")
    errors = (Forbidden, NotFound, Gone, Conflict, ChatFull)
    Request = _OwnRequest
    Args = _Args

    @staticmethod
    def turn(request: _OwnRequest) -> str:
        return f"requests {request.chat}"

    @staticmethod
    async def resolve(request: _OwnRequest, origin: Origin) -> _Args:
        chat = await live_chat(origin.view, request.chat)
        if chat.entry != "approval":
            raise Forbidden("this chat is not entered by requests")
        await require_asking(origin, chat.chat)
        managers = tuple(await origin.view.managers(chat.chat))
        return _Args(chat=chat.chat, user=origin.actor, managers=managers)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return (asked(event, ""),)


class _Ending(_Request):
    """Answers without letting him in."""

    class Args(_Args, frozen=True, kw_only=True):
        ended: dict[int, str]
        """Request -> who made it: those that the origin had applied."""

    @classmethod
    async def _resolve(cls, chat: str, user: str, origin: Origin) -> "_Ending.Args":
        rows = [one for one in await origin.view.asked(chat, user) if not one.ended]
        if not standing(rows, await origin.view.membership(chat, user)):
            raise NotFound(f"{user} does not ask to be let into {chat}")
        managers = tuple(await origin.view.managers(chat))
        return cls.Args(chat=chat, user=user, managers=managers, ended={one.event: user for one in rows})

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return ended(event.args.chat, event.args.ended)


class Withdraw(_Ending):
    name = "request.withdraw"
    summary = "Take my request back"
    consistency = _RULE
    route = Route("DELETE", "/v1/chats/{chat}/requests/me")
    errors = (NotFound,)
    Request = _OwnRequest

    @staticmethod
    async def resolve(request: _OwnRequest, origin: Origin) -> _Ending.Args:
        chat = await known_chat(origin.view, request.chat)
        return await Withdraw._resolve(chat.chat, origin.actor, origin)


class Reject(_Ending):
    name = "request.reject"
    summary = "Refuse to let somebody in who asks for it"
    consistency = _RULE
    route = Route("DELETE", "/v1/chats/{chat}/requests/{user}")
    errors = (Forbidden, NotFound, Gone)
    Request = _OneRequest

    @staticmethod
    async def resolve(request: _OneRequest, origin: Origin) -> _Ending.Args:
        chat = await live_chat(origin.view, request.chat)
        await require_manager(origin.view, chat, origin.actor)
        return await Reject._resolve(chat.chat, request.user, origin)


class Approve(Adding):
    name = "request.approve"
    summary = "Let somebody in who asks for it"
    consistency = f"{ADD_RULE} {_RULE}"
    route = Route("POST", "/v1/chats/{chat}/requests/{user}/approve")
    errors = (Forbidden, NotFound, Gone, Conflict, Full, UserFull)
    Request = _OneRequest
    Args = AddArgs

    @staticmethod
    async def resolve(request: _OneRequest, origin: Origin) -> AddArgs:
        chat = await live_chat(origin.view, request.chat)
        await require_manager(origin.view, chat, origin.actor)
        membership = await origin.view.membership(chat.chat, request.user)
        if not standing(await origin.view.asked(chat.chat, request.user), membership):
            raise NotFound(f"{request.user} does not ask to be let into {chat.chat}")
        return await adding(origin, chat.chat, (request.user,))
