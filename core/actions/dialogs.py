"""One user's settings of one conversation: marks, pin, mute, marked as unread. They concern nobody but himself.

Each has a path of its own, so that each call is one event of one action.
"""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable
from typing import Any

from core import action
from core.action import Origin, Route, Touch
from core.actions.conversations import conversation_of, covered
from core.actions.fields import MessageId, Peer, Rank, UntilMs
from core.errors import Invalid, NotFound
from core.event import Event
from core.tables import Effect


class Own(action.OwnAction):
    """What a write to one's own dialog concerns."""

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("dialog", (event.args.conversation,)),)


class SettingArgs(action.Args, frozen=True, kw_only=True):
    conversation: str
    pair: tuple[str, ...] = ()
    """Both users of a direct that was named by its other user: there may be no message yet that says who they are."""


def pair_of(actor: str, peer: str) -> tuple[str, ...]:
    """See SettingArgs."""
    return tuple(sorted((actor, peer))) if peer[0] == "U" else ()


def setting(event: Event, table: str, column: str, value: Any, basis: int) -> Iterable[Effect]:
    """One lww column of the caller's row of a conversation."""
    args: SettingArgs = event.args
    yield Effect(table, (event.actor, args.conversation), {column: value}, {column: basis})
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


class Read(Own):
    name = "dialog.read"
    summary = "Mark a dialog as read up to a message"
    consistency = (
        "The greatest id per lane is kept (max), so a mark never goes back. Only messages that were delivered within "
        "the client's position count as read: one that comes late stays unread, though its id is smaller. It also "
        "takes back a flag that was set before (the greatest stamp of a read is kept, max)."
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
        yield from _marks("read_marks", event)
        yield Effect("dialogs", (event.actor, event.args.conversation), {"read_at": event.id})


class Clear(Own):
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


class Pin(Own):
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

    class Args(SettingArgs, frozen=True, kw_only=True):
        rank: str
        basis: int

    @staticmethod
    async def resolve(request: "Pin.Request", origin: Origin) -> "Pin.Args":
        conversation = await conversation_of(origin.view, origin.actor, request.peer)
        dialog = await origin.view.dialog(origin.actor, conversation)
        return Pin.Args(
            conversation=conversation,
            pair=pair_of(origin.actor, request.peer),
            rank=request.rank or "",
            basis=dialog.stamps.get("pin", 0),
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return setting(event, "dialogs", "pin", event.args.rank, event.args.basis)


class Mute(Own):
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

    class Args(SettingArgs, frozen=True, kw_only=True):
        until_ms: int
        basis: int

    @staticmethod
    async def resolve(request: "Mute.Request", origin: Origin) -> "Mute.Args":
        conversation = await conversation_of(origin.view, origin.actor, request.peer)
        dialog = await origin.view.dialog(origin.actor, conversation)
        return Mute.Args(
            conversation=conversation,
            pair=pair_of(origin.actor, request.peer),
            until_ms=request.until_ms or 0,
            basis=dialog.stamps.get("muted_until_ms", 0),
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return setting(event, "dialogs", "muted_until_ms", event.args.until_ms, event.args.basis)


class MarkUnread(Own):
    name = "dialog.mark_unread"
    summary = "Mark a dialog as unread, or take that back"
    consistency = (
        "A flag with its stamp: the later write wins (lww) and the other is listed as a conflict. A read with a "
        "greater stamp takes it back, also one that did not know of it; one with a smaller stamp leaves it, however "
        "late it arrives. What is counted as unread does not change."
    )
    route = Route("PUT", "/v1/dialogs/{peer}/unread")
    example = {"on": True}
    errors = (NotFound,)

    class Request(action.Request):
        peer: Peer
        on: bool

    class Args(SettingArgs, frozen=True, kw_only=True):
        on: bool
        basis: int

    @staticmethod
    async def resolve(request: "MarkUnread.Request", origin: Origin) -> "MarkUnread.Args":
        conversation = await conversation_of(origin.view, origin.actor, request.peer)
        dialog = await origin.view.dialog(origin.actor, conversation)
        return MarkUnread.Args(
            conversation=conversation,
            pair=pair_of(origin.actor, request.peer),
            on=request.on,
            basis=dialog.stamps.get("unread", 0),
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return setting(event, "dialogs", "unread", int(event.args.on), event.args.basis)
