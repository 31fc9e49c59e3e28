"""Reactions. Rows of the message: the greatest stamp per (message, user, emoji) is shown, counts are derived."""

from collections.abc import Iterable

from core import action
from core.action import Origin, Route
from core.actions.conversations import reach_about, readable, require_may_write
from core.actions.fields import Emoji, MessageId
from core.actions.messages import AboutMessage, MessageArgs, row
from core.errors import Forbidden, Gone, NotFound
from core.event import Event
from core.tables import Effect

_RULE = (
    "A row that only appears; per message, user and emoji the greatest stamp is shown, across all ids of the message. "
    "Counts are derived from the rows, so they can not drift."
)


class ReactionArgs(MessageArgs, frozen=True, kw_only=True):
    emoji: str


class _Request(action.Request):
    message: MessageId
    emoji: Emoji


async def _resolve(request: _Request, origin: Origin) -> ReactionArgs:
    message = await readable(origin.view, origin.actor, int(request.message))
    if message.recalled:
        raise Gone("the message was recalled")
    await require_may_write(origin.view, message.conversation, origin.actor)
    reach = await reach_about(origin.view, message)
    return ReactionArgs(
        conversation=message.conversation,
        message=message.id,
        to=reach.to,
        knew=reach.knew,
        emoji=request.emoji,
    )


def _effect(event: Event, on: bool) -> Effect:
    args: ReactionArgs = event.args
    return row(event, args.conversation, args.message, "react", {"emoji": args.emoji, "on": on})


class Set(AboutMessage):
    name = "reaction.set"
    summary = "React to a message"
    consistency = _RULE
    route = Route("PUT", "/v1/messages/{message}/reactions/{emoji}")
    errors = (Forbidden, NotFound, Gone)
    Request = _Request
    Args = ReactionArgs

    @staticmethod
    async def resolve(request: _Request, origin: Origin) -> ReactionArgs:
        return await _resolve(request, origin)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return (_effect(event, True),)


class Clear(AboutMessage):
    name = "reaction.clear"
    summary = "Take a reaction back"
    consistency = _RULE
    route = Route("DELETE", "/v1/messages/{message}/reactions/{emoji}")
    errors = (Forbidden, NotFound, Gone)
    Request = _Request
    Args = ReactionArgs

    @staticmethod
    async def resolve(request: _Request, origin: Origin) -> ReactionArgs:
        return await _resolve(request, origin)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return (_effect(event, False),)
