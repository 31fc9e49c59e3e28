"""Messages that are to be sent later. They concern their sender alone until they are sent."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from core import action, limits
from core.action import Audience, Origin, Route, Touch
from core.actions.conversations import made_before, new_id
from core.actions.fields import ScheduledId, UntilMs, UserId
from core.actions.messages import Send
from core.errors import AccountFull, Conflict, Forbidden, Gone, Invalid, NotFound, TooLarge
from core.event import Event
from core.ids import time_ms_of
from core.scheduled import Scheduled
from core.tables import Effect

_ONCE = (
    "It is sent by its home datacenter, the one that took the call, under a key that follows from its id. Where that "
    "one is away, another takes it over after a while by an event of its own (lww); should both send, that is one "
    "message under one key."
)


class _Scheduled(action.OwnAction):
    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("scheduled", (event.actor, event.args.scheduled)),)


class Schedule(_Scheduled):
    name = "message.schedule"
    summary = "Have a message sent later"
    consistency = (
        "A row that only appears (insert); its id follows from the caller, the key and the request, so a retry in any "
        f"datacenter makes the same one. {_ONCE} What it replies to, forwards and mentions is looked up when it is "
        "sent. With `draft` it clears the sender's draft up to that revision (max)."
    )
    route = Route("POST", "/v1/scheduled")
    example = {"at_ms": 1_900_000_000_000, "to": "Ugrace", "text": "Happy birthday"}
    answer = {"scheduled": ScheduledId}
    errors = (Invalid, Forbidden, NotFound, Gone, Conflict, AccountFull, TooLarge)
    makes_once = True

    class Request(Send.Request):
        at_ms: UntilMs

    class Args(action.Args, frozen=True, kw_only=True):
        scheduled: str
        message: dict[str, Any]
        at_ms: int
        home: str
        conversation: str
        draft: int = 0

    @staticmethod
    async def resolve(request: "Schedule.Request", origin: Origin) -> "Schedule.Args":
        ahead_ms = request.at_ms - origin.now_ms
        if not 0 < ahead_ms <= limits.SCHEDULED_AHEAD_MS_MAX:
            text = f"must lie ahead, by at most {limits.SCHEDULED_AHEAD_MS_MAX // 86_400_000} days"
            raise Invalid(f"at_ms: {text}", errors=[{"field": "at_ms", "problem": text}])
        sent = await Send.resolve(request, origin)  # what could not be sent now is refused now
        scheduled = new_id("S", Schedule.name, origin)
        made = await origin.view.scheduled(origin.actor, scheduled)
        if made is not None:
            raise made_before(scheduled, time_ms_of(made.made), origin)
        most = limits.SCHEDULED_OF_USER_MAX
        if len(await origin.view.scheduled_of(origin.actor)) >= most:
            raise AccountFull(f"at most {most} messages wait, or were not sent: unschedule one first")
        return Schedule.Args(
            scheduled=scheduled,
            message=request.model_dump(mode="json", exclude_unset=True, exclude={"at_ms", "draft"}),
            at_ms=request.at_ms,
            home=origin.dc,
            conversation=sent.conversation,
            draft=sent.draft,
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Schedule.Args = event.args
        columns = {"message": args.message, "at_ms": args.at_ms, "made": event.id, "home": args.home}
        yield Effect("scheduled", (event.actor, args.scheduled), columns, {"home": 0})
        if args.draft:
            yield Effect("drafts", (event.actor, args.conversation), {"cleared": args.draft})

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        args: Schedule.Args = event.args
        found = _Scheduled.touches(event)
        return (*found, Touch("dialog", (args.conversation,))) if args.draft else found

    @staticmethod
    def result(event: Event) -> dict[str, Any]:
        return {"scheduled": event.args.scheduled}


class Unschedule(_Scheduled):
    name = "message.unschedule"
    summary = "Do not send a message that waits, or dismiss one that was not sent"
    consistency = (
        "Set once, where it is applied: its home datacenter sends nothing from then on. A message that was sent "
        "meanwhile stays and is shown as sent: recall it."
    )
    route = Route("DELETE", "/v1/scheduled/{scheduled}")
    errors = (NotFound, Gone)

    class Request(action.Request):
        scheduled: ScheduledId

    class Args(action.Args, frozen=True, kw_only=True):
        scheduled: str

    @staticmethod
    async def resolve(request: "Unschedule.Request", origin: Origin) -> "Unschedule.Args":
        found = await origin.view.scheduled(origin.actor, request.scheduled)
        if found is None or found.state == "unscheduled":
            raise NotFound(f"there is no scheduled message {request.scheduled}")
        if found.state == "sent":
            raise Gone(f"{request.scheduled} was sent: it is the message {found.sent}")
        return Unschedule.Args(scheduled=request.scheduled)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return (Effect("scheduled", (event.actor, event.args.scheduled), {"done": 1, "gone": 1}),)


# -- what a datacenter does with them


class _OneOf(action.Request):
    user: UserId
    scheduled: ScheduledId


class _ForOne(action.Action):
    """By the datacenter itself, or an operator, of one user's."""

    errors = (Forbidden, NotFound, Conflict)

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=(event.args.user,))

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("scheduled", (event.args.user, event.args.scheduled)),)


async def _waiting(origin: Origin, user: str, scheduled: str) -> Scheduled:
    """The message, if it is still to be sent."""
    if origin.actor != "sys":
        raise Forbidden("only the datacenter itself or an operator may do this")
    found = await origin.view.scheduled(user, scheduled)
    if found is None:
        raise NotFound(f"{user} has no scheduled message {scheduled}")
    if found.state != "waiting":
        raise Conflict(f"{scheduled} is {found.state}")
    return found


class Take(_ForOne):
    name = "schedule.take"
    summary = "Make this datacenter the home of a message that waits: it sends it"
    consistency = (
        f"The later write wins (lww). {_ONCE} A datacenter does this itself when a message is overdue for "
        f"{limits.SCHEDULED_TAKEOVER_MS // 1000} s, since no lease spans datacenters."
    )
    route = Route("POST", "/sys/v1/scheduled/take", listener="sys")
    example = {"user": "Uada", "scheduled": "S123"}

    class Request(_OneOf):
        pass

    class Args(action.Args, frozen=True, kw_only=True):
        user: str
        scheduled: str
        home: str
        basis: int

    @staticmethod
    async def resolve(request: "Take.Request", origin: Origin) -> "Take.Args":
        found = await _waiting(origin, request.user, request.scheduled)
        basis = found.stamps["home"]
        return Take.Args(user=request.user, scheduled=request.scheduled, home=origin.dc, basis=basis)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Take.Args = event.args
        return (Effect("scheduled", (args.user, args.scheduled), {"home": args.home}, {"home": args.basis}),)


class Fail(_ForOne):
    name = "schedule.fail"
    summary = "Give a message up that waits, and say why"
    consistency = (
        "Done is set once: it is not tried again. Why is the later write (lww). A datacenter does this itself when the "
        "message is refused at its time: its sender may not write there any more, or what it replies to is gone. Where "
        "another one has sent it, it is sent."
    )
    route = Route("POST", "/sys/v1/scheduled/fail", listener="sys")
    example = {"user": "Uada", "scheduled": "S123", "code": "forbidden", "detail": "you are not a member of G1"}

    class Request(_OneOf):
        code: Annotated[str, Field(pattern=r"^[a-z_]{1,64}$")]
        detail: Annotated[str, Field(max_length=limits.ERROR_TEXT_CHARS_MAX)]

    class Args(action.Args, frozen=True, kw_only=True):
        user: str
        scheduled: str
        code: str
        detail: str
        basis: int

    @staticmethod
    async def resolve(request: "Fail.Request", origin: Origin) -> "Fail.Args":
        found = await _waiting(origin, request.user, request.scheduled)
        return Fail.Args(**request.model_dump(), basis=found.stamps["failure"])

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Fail.Args = event.args
        columns = {"failure": {"code": args.code, "detail": args.detail}, "done": 1}
        return (Effect("scheduled", (args.user, args.scheduled), columns, {"failure": args.basis}),)
