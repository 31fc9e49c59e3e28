"""Sessions: a signed token names one; it is valid until it expires or is revoked."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from core import action, limits
from core.action import Audience, Origin, Route, Touch
from core.actions.conversations import made_before, new_id, require_users
from core.actions.fields import Device, SessionId, UntilMs, UserId
from core.errors import Conflict, Forbidden, NotFound
from core.event import Event
from core.refreshing import Use, use_of
from core.tables import Effect

_LIFE_MS = limits.SESSION_DAYS * 86_400_000


class Issue(action.Action):
    name = "token.issue"
    summary = "Open a session for a user's device"
    consistency = (
        "The session is a row that only appears (insert); its id follows from the caller, the key and the request, so "
        "a retry in any datacenter names the same session. It is made once: when its answer is forgotten (24 h), the "
        "same call is refused. The token itself is made from the row and never stored. A user has at most "
        f"{limits.SESSIONS_OF_USER_MAX} sessions at a time: one more names the oldest that its datacenter knows, and "
        "they are revoked with it (once)."
    )
    route = Route("POST", "/sys/v1/tokens", listener="sys")
    makes_once = True
    example = {"user": "Uada", "device": "phone"}
    answer = {"session": SessionId, "user": UserId, "device": Device, "expires_ms": UntilMs}
    errors = (Forbidden, NotFound, Conflict)

    class Request(action.Request):
        user: UserId
        device: Device

    class Args(action.Args, frozen=True, kw_only=True):
        session: str
        user: str
        device: str
        expires_ms: int
        ended: tuple[str, ...] = ()
        """His oldest sessions, which have no room beside this one."""

    @staticmethod
    async def resolve(request: "Issue.Request", origin: Origin) -> "Issue.Args":
        if origin.actor not in ("sys", request.user):
            raise Forbidden("a session may be opened by the user or by the customer's own system")
        await require_users(origin.view, (request.user,))
        session = new_id("s", Issue.name, origin)
        made = await origin.view.session(session)
        if made is not None:
            ends_ms = made.expires_ms or origin.now_ms + _LIFE_MS  # a later event may have come before the row
            raise made_before(session, ends_ms - _LIFE_MS, origin)
        most = limits.SESSIONS_OF_USER_MAX - 1
        alive = await origin.view.sessions_of(request.user, origin.now_ms, most + limits.SESSIONS_ENDED_MAX)
        return Issue.Args(
            session=session,
            user=request.user,
            device=request.device,
            expires_ms=origin.now_ms + _LIFE_MS,
            ended=tuple(one.session for one in alive[most:]),
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Issue.Args = event.args
        columns = {"user": args.user, "device": args.device, "expires_ms": args.expires_ms}
        yield Effect("sessions", (args.session,), columns)
        for session in args.ended:
            yield Effect("sessions", (session,), {"revoked": 1})

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=(event.args.user,))

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return tuple(Touch("session", (session,)) for session in (event.args.session, *event.args.ended))

    @staticmethod
    def result(event: Event) -> dict[str, Any]:
        args: Issue.Args = event.args
        return {
            "session": args.session,
            "user": args.user,
            "device": args.device,
            "expires_ms": args.expires_ms,
        }


class RefreshUsed(action.Action):
    name = "token.refresh"
    summary = "Say that a refresh token of a session was used"
    consistency = (
        "The greatest generation that was used is kept (max), so every datacenter comes to know the same one. A token "
        "that is not newer is believed only if it is the one that was used last: its answer may have been lost. "
        "Another one shows that two have the session's tokens, and ends the session (once)."
    )
    route = Route("POST", "/sys/v1/sessions/{session}/refresh", listener="sys")
    example = {"user": "Uada", "used": 1_099_511_627_777}
    answer = {"session": SessionId, "reused": bool}
    errors = (Forbidden, NotFound)

    class Request(action.Request):
        session: SessionId
        user: UserId
        used: Annotated[int, Field(ge=1, le=(1 << 62) - 1, description="Its generation, and behind 40 bits its number")]

    class Args(action.Args, frozen=True, kw_only=True):
        session: str
        user: str
        used: int
        reused: bool = False
        """What came of it had been used already."""

    @staticmethod
    async def resolve(request: "RefreshUsed.Request", origin: Origin) -> "RefreshUsed.Args":
        if origin.actor not in ("sys", request.user):
            raise Forbidden("a session is refreshed by its user or by the customer's own system")
        found = await origin.view.session(request.session)
        if found is not None and (found.revoked or found.user not in (None, "", request.user)):
            raise NotFound(f"there is no session {request.session}")
        stale = found is not None and use_of(request.used, found.used) is Use.STALE
        return RefreshUsed.Args(session=request.session, user=request.user, used=request.used, reused=stale)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: RefreshUsed.Args = event.args
        yield Effect("sessions", (args.session,), {"used": args.used} | ({"revoked": 1} if args.reused else {}))

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=(event.args.user,) if event.args.reused else ())

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("session", (event.args.session,)),) if event.args.reused else ()

    @staticmethod
    def result(event: Event) -> dict[str, Any]:
        return {"session": event.args.session, "reused": event.args.reused}


class Revoke(action.Action):
    name = "session.revoke"
    summary = "End one of my sessions"
    consistency = (
        "Revoked is set once and never unset, so a revoked token does not live again, whatever arrives later. "
        "Answered when another datacenter holds it durably, if one is reachable."
    )
    route = Route("DELETE", "/v1/sessions/{session}")
    errors = (NotFound,)
    durability = "remote"

    class Request(action.Request):
        session: SessionId

    class Args(action.Args, frozen=True, kw_only=True):
        session: str
        user: str

    @staticmethod
    async def resolve(request: "Revoke.Request", origin: Origin) -> "Revoke.Args":
        session = await origin.view.session(request.session)
        if session is None or session.user != origin.actor:
            raise NotFound(f"there is no session {request.session}")
        return Revoke.Args(session=session.session, user=session.user)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return (Effect("sessions", (event.args.session,), {"revoked": 1}),)

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=(event.args.user,))

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("session", (event.args.session,)),)
