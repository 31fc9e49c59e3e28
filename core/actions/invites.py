"""Links into a chat: they are made and revoked by its owner and admins, and accepted by whoever has them."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from core import action, limits
from core.access import kind_of
from core.action import Audience, Origin, Route, Touch
from core.actions.adding import ADD_RULE, AddArgs, Adding, adding
from core.actions.conversations import live_chat, made_before, new_id, require_manager
from core.actions.fields import ChatId, InviteId, LinkText, UntilMs
from core.actions.requests import asked, require_asking
from core.errors import ChatFull, Conflict, Forbidden, Full, Gone, Invalid, NotFound, NotYetHere, UserFull
from core.event import Event
from core.ids import lane_of, time_ms_of
from core.invites import NEVER_MS, Invite, Link, claimed, spelled
from core.tables import Effect


class _Args(action.Args, frozen=True, kw_only=True):
    chat: str
    invite: str
    managers: tuple[str, ...]
    """Who is told."""


class _Invite(action.Action):
    """Whom and what it concerns."""

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=(event.actor, *event.args.managers))

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("invite", (event.args.chat, event.args.invite)),)


class Create(_Invite):
    name = "invite.create"
    summary = "Make a link by which people come into a chat"
    consistency = (
        "The link's row only appears (insert); its id follows from the caller, the key and the request, so a retry in "
        "any datacenter makes the same link. It is made once: when its answer is forgotten (24 h), the same call is "
        "refused. What it allows is in the link and signed by the datacenters: it works before its row has arrived, "
        "and is kept nowhere."
    )
    route = Route("POST", "/v1/chats/{chat}/invites")
    example = {"expires_ms": 1_900_000_000_000, "uses_max": 10, "approval": False}
    answer = {"invite": InviteId, "link": LinkText}
    errors = (Invalid, Forbidden, NotFound, Gone, Conflict, ChatFull)
    makes_once = True

    class Request(action.Request):
        chat: ChatId
        expires_ms: UntilMs | None = None
        uses_max: Annotated[int, Field(ge=1, le=limits.INVITE_USES_MAX)] | None = None
        approval: bool = False

    class Args(_Args, frozen=True, kw_only=True):
        expires_ms: int
        uses_max: int
        approval: bool

    @staticmethod
    def turn(request: "Create.Request") -> str:
        return f"invites {request.chat}"

    @staticmethod
    async def resolve(request: "Create.Request", origin: Origin) -> "Create.Args":
        view = origin.view
        chat = await live_chat(view, request.chat)
        await require_manager(view, chat, origin.actor)
        expires_ms = NEVER_MS if request.expires_ms is None else request.expires_ms
        if expires_ms <= origin.now_ms:
            raise Invalid("expires_ms: lies in the past")
        invite = new_id("i", Create.name, origin)
        made = await view.invite(chat.chat, invite)
        if made is not None:
            raise made_before(invite, time_ms_of(made.made), origin)
        if len(await view.invites_of(chat.chat, origin.now_ms)) >= limits.INVITES_OF_CHAT_MAX:
            raise ChatFull(f"{chat.chat} has {limits.INVITES_OF_CHAT_MAX} links; revoke one")
        return Create.Args(
            chat=chat.chat,
            invite=invite,
            managers=tuple(await view.managers(chat.chat)),
            expires_ms=expires_ms,
            uses_max=request.uses_max or 0,
            approval=request.approval,
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Create.Args = event.args
        columns = {
            "creator": event.actor,
            "expires_ms": args.expires_ms,
            "uses_max": args.uses_max,
            "approval": int(args.approval),
            "made": event.id,
        }
        return (Effect("invites", (args.chat, args.invite), columns),)

    @staticmethod
    def result(event: Event) -> dict[str, Any]:
        """The link without a signature: the listener that answers adds it, so what is kept of the answer is no link."""
        args: Create.Args = event.args
        link = Link(args.chat, args.invite, args.expires_ms, args.uses_max, args.approval)
        return {"invite": args.invite, "link": spelled(link)}


class Revoke(_Invite):
    name = "invite.revoke"
    summary = "Make a link useless"
    consistency = (
        "Revoked is set once and never unset. Who came in by the link where that was not known is in the chat. "
        "Answered when another datacenter holds it durably, if one is reachable."
    )
    route = Route("DELETE", "/v1/chats/{chat}/invites/{invite}")
    errors = (Forbidden, NotFound, Gone)
    durability = "remote"
    Args = _Args

    class Request(action.Request):
        chat: ChatId
        invite: InviteId

    @staticmethod
    async def resolve(request: "Revoke.Request", origin: Origin) -> _Args:
        chat = await live_chat(origin.view, request.chat)
        await require_manager(origin.view, chat, origin.actor)
        found = await origin.view.invite(chat.chat, request.invite)
        if found is None or found.revoked:
            raise NotFound(f"{chat.chat} has no link {request.invite}")
        managers = tuple(await origin.view.managers(chat.chat))
        return _Args(chat=chat.chat, invite=request.invite, managers=managers)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return (Effect("invites", (event.args.chat, event.args.invite), {"revoked": 1}),)


class Accept(Adding):
    name = "invite.accept"
    summary = "Come into a chat by a link, or ask to be let in by one that wants that"
    consistency = (
        f"{ADD_RULE} So a kick beats a concurrent accept as well. Uses are counted per lane (max): several datacenters "
        "may overshoot a link's bound together; who came in stays, it is shown, and nobody else comes in. What a link "
        "allows, and whether it was revoked, is looked at where it is accepted. A request is a row that only appears."
    )
    route = Route("POST", "/v1/invites/accept")
    example = {"link": "PL1.lbRHMTIz.c2lnbmF0dXJl"}
    answer = {"chat": ChatId, "joined": bool}
    errors = (Forbidden, NotFound, NotYetHere, Gone, Conflict, Full, UserFull, ChatFull)

    class Request(action.Request):
        link: LinkText

    class Args(AddArgs, frozen=True, kw_only=True):
        invite: str
        asks: bool = False
        """It makes a request. `to` is then who is told of it, and nobody is added."""
        uses: dict[int, int] = {}
        """lane -> uses that the origin had applied."""

    @staticmethod
    def turn(request: "Accept.Request") -> str:
        """A group's members, a chat's requests or a link's uses are bounded."""
        link = claimed(request.link)
        if link is None:
            return ""
        if link.approval:
            return f"requests {link.chat}"
        return link.chat if kind_of(link.chat) == "group" else f"invite {link.invite}" if link.uses_max else ""

    @staticmethod
    async def resolve(request: "Accept.Request", origin: Origin) -> "Accept.Args":
        view, actor = origin.view, origin.actor
        link = origin.link(request.link)
        if link is None:
            raise NotFound("there is no such link")
        if await view.chat(link.chat) is None:
            raise NotYetHere(f"{link.chat} is on its way", retry_after_s=1)
        chat = (await live_chat(view, link.chat)).chat
        uses = await view.invite_uses(link.invite)
        _require_good(link, await view.invite(chat, link.invite), sum(uses.values()), origin.now_ms)
        if link.approval:
            await require_asking(origin, chat)
            told = tuple(sorted({actor, *await view.managers(chat)}))
            return Accept.Args(chat=chat, to=told, adds={}, invite=link.invite, asks=True, uses=dict(uses))
        added = await adding(origin, chat, (actor,))
        return Accept.Args(
            chat=chat,
            to=added.to,
            knew=added.knew,
            adds=added.adds,
            before=added.before,
            ended=added.ended,
            invite=link.invite,
            uses=dict(uses),
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Accept.Args = event.args
        lane = lane_of(event.id)
        if args.asks:
            yield asked(event, args.invite)
        yield from Adding.effects(event)
        yield Effect("invite_uses", (args.invite, lane), {"uses": args.uses.get(lane, 0) + 1})

    @staticmethod
    def audience(event: Event) -> Audience:
        args: Accept.Args = event.args
        return Adding.audience(event) if args.adds else Audience(users=args.to)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        args: Accept.Args = event.args
        return Adding.touches(event) if args.adds else (Touch("request", (args.chat, event.actor)),)

    @staticmethod
    def result(event: Event) -> dict[str, Any]:
        return {"chat": event.args.chat, "joined": not event.args.asks}


def _require_good(link: Link, known: Invite | None, used: int, now_ms: int) -> None:
    """Gone for a link that is revoked, over or used up, as far as this datacenter knows."""
    if known is not None and known.revoked:
        raise Gone("the link was revoked")
    if link.expires_ms <= now_ms:
        raise Gone("the link has expired")
    if link.uses_max and used >= link.uses_max:
        raise Gone(f"the link was used {used} times")
