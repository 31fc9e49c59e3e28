"""One user's settings of one conversation: marks, pin, mute. They concern nobody but himself.

Pin and mute have paths of their own, so that each call is one event of one action.
"""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable

from core import action
from core.action import Audience, Origin, Route, Touch
from core.actions.conversations import conversation_of, covered
from core.actions.fields import MessageId, Peer, Rank, UntilMs
from core.errors import Invalid, NotFound
from core.event import Event
from core.tables import Effect


class _Own(action.Action):
    """Whom and what a write to one's own dialog concerns."""

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=(event.actor,))

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("dialog", (event.args.conversation,)),)


class _SettingArgs(action.Args, frozen=True, kw_only=True):
    conversation: str
    pair: tuple[str, ...] = ()
    """Both users of a direct that was named by its other user: there may be no message yet that says who they are."""


def _pair(actor: str, peer: str) -> tuple[str, ...]:
    return tuple(sorted((actor, peer))) if peer[0] == "U" else ()


def _setting(event: Event, column: str, value: str | int, basis: int) -> Iterable[Effect]:
    args: _SettingArgs = event.args
    yield Effect("dialogs", (event.actor, args.conversation), {column: value}, {column: basis})
    if args.pair:
        yield Effect("directs", (args.conversation,), {"low": args.pair[0], "high": args.pair[-1]})


class _MarkRequest(action.Request):
    peer: Peer
    message: MessageId


class _MarkArgs(action.Args, frozen=True, kw_only=True):
    conversation: str
    marks: dict[int, int]
    """lane -> greatest id covered. Empty where nothing up to the message had been delivered by the position."""


async def _mark(request: _MarkRequest, origin: Origin) -> _MarkArgs:
    conversation = await conversation_of(origin.view, origin.actor, request.peer)
    return _MarkArgs(conversation=conversation, marks=await covered(origin, conversation, int(request.message)))


def _marks(table: str, event: Event) -> Iterable[Effect]:
    args: _MarkArgs = event.args
    for lane, id in args.marks.items():
        yield Effect(table, (event.actor, args.conversation, lane), {"mark": id})


class Read(_Own):
    name = "dialog.read"
    summary = "Mark a dialog as read up to a message"
    consistency = (
        "The greatest id per lane is kept (max), so a mark never goes back. Only messages that were delivered within "
        "the client's position count as read: one that comes late stays unread, though its id is smaller."
    )
    route = Route("POST", "/v1/dialogs/{peer}/read")
    example = {"message": "1234567890123456789"}
    errors = (Invalid, NotFound)
    needs_position = True
    Request = _MarkRequest
    Args = _MarkArgs

    @staticmethod
    async def resolve(request: _MarkRequest, origin: Origin) -> _MarkArgs:
        return await _mark(request, origin)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return _marks("read_marks", event)


class Clear(_Own):
    name = "dialog.clear"
    summary = "Clear a dialog up to a message, for me"
    consistency = (
        "The greatest id per lane is kept (max). Only messages that were delivered within the client's position are "
        "cleared: one that comes late is shown, though its id is smaller."
    )
    route = Route("POST", "/v1/dialogs/{peer}/clear")
    example = {"message": "1234567890123456789"}
    errors = (Invalid, NotFound)
    needs_position = True
    Request = _MarkRequest
    Args = _MarkArgs

    @staticmethod
    async def resolve(request: _MarkRequest, origin: Origin) -> _MarkArgs:
        return await _mark(request, origin)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return _marks("clear_marks", event)


class Pin(_Own):
    name = "dialog.pin"
    summary = "Pin a dialog, move it among the pinned, or unpin it"
    consistency = (
        "One value per dialog, the rank: a fraction between its neighbours, or none. The later write wins (lww) and "
        "the other is listed as a conflict; pins of other dialogs are never lost."
    )
    route = Route("PUT", "/v1/dialogs/{peer}/pin")
    example = {"rank": "i"}
    errors = (NotFound,)

    class Request(action.Request):
        peer: Peer
        rank: Rank | None
        """None: not pinned."""

    class Args(_SettingArgs, frozen=True, kw_only=True):
        rank: str
        basis: int

    @staticmethod
    async def resolve(request: "Pin.Request", origin: Origin) -> "Pin.Args":
        conversation = await conversation_of(origin.view, origin.actor, request.peer)
        dialog = await origin.view.dialog(origin.actor, conversation)
        return Pin.Args(
            conversation=conversation,
            pair=_pair(origin.actor, request.peer),
            rank=request.rank or "",
            basis=dialog.stamps.get("pin", 0),
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return _setting(event, "pin", event.args.rank, event.args.basis)


class Mute(_Own):
    name = "dialog.mute"
    summary = "Mute a dialog until a time, or unmute it"
    consistency = (
        "An absolute time, so that a replay does not stretch it. The later write wins (lww) and the other is listed "
        "as a conflict."
    )
    route = Route("PUT", "/v1/dialogs/{peer}/mute")
    example = {"until_ms": 1_900_000_000_000}
    errors = (NotFound,)

    class Request(action.Request):
        peer: Peer
        until_ms: UntilMs | None
        """None: not muted."""

    class Args(_SettingArgs, frozen=True, kw_only=True):
        until_ms: int
        basis: int

    @staticmethod
    async def resolve(request: "Mute.Request", origin: Origin) -> "Mute.Args":
        conversation = await conversation_of(origin.view, origin.actor, request.peer)
        dialog = await origin.view.dialog(origin.actor, conversation)
        return Mute.Args(
            conversation=conversation,
            pair=_pair(origin.actor, request.peer),
            until_ms=request.until_ms or 0,
            basis=dialog.stamps.get("muted_until_ms", 0),
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return _setting(event, "muted_until_ms", event.args.until_ms, event.args.basis)
