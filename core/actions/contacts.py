"""Contacts: a request each way. Both are told."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable

from core import action, limits
from core.action import Audience, Origin, Route, Touch, View
from core.actions.conversations import require_unblocked, require_users
from core.actions.fields import UserId
from core.contacts import Contact
from core.errors import AccountFull, Conflict, Forbidden, Invalid, NotFound
from core.event import Event
from core.ids import lane_of
from core.tables import Effect

_RULE = (
    "Registers per lane (max), as membership: a request holds until a deletion that had seen it, and two that hold, "
    "one each way, make contacts, whichever came first and wherever. A deletion takes with it what its origin had "
    "applied, from both sides: of an acceptance that it did not know the other side's request remains, so nobody is a "
    "contact of somebody whom he has deleted."
)


class _Request(action.Request):
    user: UserId


class _Args(action.Args, frozen=True, kw_only=True):
    user: str


class _Contact(action.Action):
    """Whom and what it concerns."""

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=(event.actor, event.args.user))

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("contact", (event.actor, event.args.user)),)


def _asks(event: Event) -> Iterable[Effect]:
    return (Effect("contacts", (event.actor, event.args.user, lane_of(event.id)), {"asked": event.id}),)


async def _present(view: View, actor: str, user: str) -> Contact:
    return (await view.contacts_of(actor)).get(user, Contact())


class Ask(_Contact):
    name = "contact.request"
    summary = "Ask a user to be a contact"
    consistency = _RULE
    route = Route("POST", "/v1/contacts")
    example = {"user": "Ugrace"}
    errors = (Invalid, Forbidden, NotFound, Conflict, AccountFull)
    Request = _Request
    Args = _Args

    @staticmethod
    async def resolve(request: _Request, origin: Origin) -> _Args:
        view, actor, user = origin.view, origin.actor, request.user
        if user == actor:
            raise Invalid("user: you can not be a contact of yourself")
        await require_users(view, (user,))
        await require_unblocked(view, actor, user)
        present = (await _present(view, actor, user)).state
        if present in ("contact", "asked"):
            raise Conflict(f"you have asked {user} already")
        if present == "none":
            for one, most in ((actor, limits.CONTACTS_OF_USER_MAX), (user, limits.CONTACTS_ASKED_MAX)):
                if len(await view.contacts_of(one)) >= most:
                    raise AccountFull(f"{one} has {most} contacts and requests")
        return _Args(user=user)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return _asks(event)


class Accept(_Contact):
    name = "contact.accept"
    summary = "Accept a user's request to be a contact"
    consistency = _RULE
    route = Route("POST", "/v1/contacts/{user}/accept")
    errors = (Forbidden, NotFound, Conflict)
    Request = _Request
    Args = _Args

    @staticmethod
    async def resolve(request: _Request, origin: Origin) -> _Args:
        present = (await _present(origin.view, origin.actor, request.user)).state
        if present == "contact":
            raise Conflict(f"{request.user} is a contact already")
        if present != "asks":
            raise NotFound(f"{request.user} does not ask you")
        await require_unblocked(origin.view, origin.actor, request.user)
        return _Args(user=request.user)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return _asks(event)


class Delete(_Contact):
    name = "contact.delete"
    summary = "Delete a contact, take a request back, or refuse one"
    consistency = _RULE
    route = Route("DELETE", "/v1/contacts/{user}")
    errors = (NotFound,)
    Request = _Request

    class Args(_Args, frozen=True, kw_only=True):
        mine: dict[int, int]
        """lane -> greatest request to him that the origin had applied."""
        his: dict[int, int]

    @staticmethod
    async def resolve(request: _Request, origin: Origin) -> "Delete.Args":
        present = await _present(origin.view, origin.actor, request.user)
        if present.state == "none":
            raise NotFound(f"{request.user} is no contact")
        return Delete.Args(user=request.user, mine=present.mine.asked, his=present.his.asked)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Delete.Args = event.args
        for lane, id in args.mine.items():
            yield Effect("contacts", (event.actor, args.user, lane), {"ended": id})
        for lane, id in args.his.items():
            yield Effect("contacts", (args.user, event.actor, lane), {"ended": id})
