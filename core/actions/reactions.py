"""Reactions. Rows of the message: the greatest stamp per (message, user, emoji) is shown, counts are derived."""

from collections.abc import Iterable

from core import action, limits
from core.action import Origin, Route
from core.actions.conversations import reach_about, readable, require_may_write, require_written
from core.actions.fields import Emoji, MessageId
from core.actions.messages import AboutMessage, MessageArgs, row
from core.errors import Forbidden, Gone, MessageFull, NotFound
from core.event import Event
from core.messages import Message
from core.tables import Effect

_RULE = (
    "A row that only appears; per message, user and emoji the greatest stamp is shown, across all ids of the message. "
    "Counts are derived from the rows, so they can not drift. How many a message may have, and how many of one user, "
    "is looked at where a reaction is taken; two datacenters may overshoot together."
)


class ReactionArgs(MessageArgs, frozen=True, kw_only=True):
    emoji: str


class _Request(action.Request):
    message: MessageId
    emoji: Emoji


async def _resolve(request: _Request, origin: Origin, on: bool) -> ReactionArgs:
    message = await readable(origin.view, origin.actor, int(request.message))
    if message.recalled:
        raise Gone("the message was recalled")
    require_written(message)
    await require_may_write(origin.view, message.conversation, origin.actor)
    _require_room(message, origin.actor, request.emoji, on)
    reach = await reach_about(origin.view, message)
    return ReactionArgs(
        conversation=message.conversation,
        message=message.id,
        to=reach.to,
        knew=reach.knew,
        emoji=request.emoji,
    )


def _require_room(message: Message, user: str, emoji: str, on: bool) -> None:
    """MessageFull. What is on may always be taken back, and nothing else once there are too many rows, of this user or
    in all."""
    mine = [one for one, users in message.reactions.items() if user in users]
    if emoji in mine and not on:
        return
    if sum(message.reacted.values()) >= limits.MESSAGE_REACTIONS_MAX:
        raise MessageFull(f"a message has at most {limits.MESSAGE_REACTIONS_MAX} reactions, those taken back included")
    # What is on counts twice: it may be taken back without being asked for room.
    more = 2 if on and emoji not in mine else 1
    if message.reacted.get(user, 0) + len(mine) + more > limits.REACTED_PER_USER_MAX:
        raise MessageFull("you have set and taken back as many reactions to this message as one user may")
    if not on or emoji in mine:
        return
    if len(mine) >= limits.REACTIONS_PER_USER_MAX:
        raise MessageFull(f"you have {len(mine)} reactions to this message: take one back first")
    if emoji not in message.reactions and len(message.reactions) >= limits.EMOJI_PER_MESSAGE_MAX:
        raise MessageFull(f"a message has at most {limits.EMOJI_PER_MESSAGE_MAX} different emoji; use one of those")


def _effect(event: Event, on: bool) -> Effect:
    args: ReactionArgs = event.args
    return row(event, args.conversation, args.message, "react", {"emoji": args.emoji, "on": on})


class Set(AboutMessage):
    name = "reaction.set"
    summary = "React to a message"
    consistency = _RULE
    route = Route("PUT", "/v1/messages/{message}/reactions/{emoji}")
    errors = (Forbidden, NotFound, Gone, MessageFull)
    Request = _Request
    Args = ReactionArgs

    @staticmethod
    async def resolve(request: _Request, origin: Origin) -> ReactionArgs:
        return await _resolve(request, origin, True)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return (_effect(event, True),)


class Clear(AboutMessage):
    name = "reaction.clear"
    summary = "Take a reaction back"
    consistency = _RULE
    route = Route("DELETE", "/v1/messages/{message}/reactions/{emoji}")
    errors = (Forbidden, NotFound, Gone, MessageFull)
    Request = _Request
    Args = ReactionArgs

    @staticmethod
    async def resolve(request: _Request, origin: Origin) -> ReactionArgs:
        return await _resolve(request, origin, False)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        return (_effect(event, False),)
