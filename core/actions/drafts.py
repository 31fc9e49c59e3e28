"""What a user has begun to write in a conversation. It concerns nobody but himself."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable
from typing import Any

from core import action
from core.action import Origin, Route
from core.actions.conversations import conversation_of, readable
from core.actions.dialogs import Own, SettingArgs, pair_of, setting
from core.actions.fields import MessageId, Peer, Text
from core.errors import NotFound, TooLarge
from core.event import Event
from core.tables import Effect

_RULE = (
    "A draft with its stamp, which is its revision: the later write wins (lww) and the other is listed as a conflict. "
    "A message that is sent from it names the revision that it was sent from, and the greatest such revision is kept "
    "(max): what was set later stays, and what arrives late of what was sent does not come back."
)


class _Args(SettingArgs, frozen=True, kw_only=True):
    text: str = ""
    reply_to: int = 0
    basis: int


class Set(Own):
    name = "draft.set"
    summary = "Keep what I have begun to write in a dialog, for my other devices"
    consistency = _RULE
    route = Route("PUT", "/v1/dialogs/{peer}/draft")
    example = {"text": "Dear Grace, "}
    errors = (NotFound, TooLarge)
    Args = _Args

    class Request(action.Request):
        peer: Peer
        text: Text
        reply_to: MessageId | None = None

    @staticmethod
    async def resolve(request: "Set.Request", origin: Origin) -> _Args:
        conversation = await conversation_of(origin.view, origin.actor, request.peer)
        reply_to = 0
        if request.reply_to is not None:
            reply_to = (await readable(origin.view, origin.actor, int(request.reply_to), conversation)).id
        return _Args(
            conversation=conversation,
            pair=pair_of(origin.actor, request.peer),
            text=request.text,
            reply_to=reply_to,
            basis=(await origin.view.draft(origin.actor, conversation)).revision,
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: _Args = event.args
        draft: dict[str, Any] = {"text": args.text}
        if args.reply_to:
            draft["reply_to"] = str(args.reply_to)
        return setting(event, "drafts", "draft", draft, args.basis)


class Clear(Own):
    name = "draft.clear"
    summary = "Take the draft of a dialog away"
    consistency = _RULE
    route = Route("DELETE", "/v1/dialogs/{peer}/draft")
    errors = (NotFound,)
    Args = _Args

    class Request(action.Request):
        peer: Peer

    @staticmethod
    async def resolve(request: "Clear.Request", origin: Origin) -> _Args:
        conversation = await conversation_of(origin.view, origin.actor, request.peer)
        return _Args(
            conversation=conversation,
            pair=pair_of(origin.actor, request.peer),
            basis=(await origin.view.draft(origin.actor, conversation)).revision,
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return setting(event, "drafts", "draft", None, event.args.basis)
