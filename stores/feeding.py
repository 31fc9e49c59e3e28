"""Who gets an update: the recipients that the origin decided, and local members whom it could not know.

A message to a group names its recipients and what its origin knew of the membership (`knew`). A local member whose
add is not covered by `knew` is fed as well, once this DC has applied `knew` itself; an applied membership change
back-feeds later messages that are already here. Without the first, joiners miss messages; feeding all local members
instead leaks messages after a kick (tests/models/).

Only messages are back-fed. A client loads a group's dialog anew at each membership update of it, and what kept it from
being fed anything else is such an update (tests/models/test_joiner_roaming.py).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from core import audience as audience_rule
from core.action import Audience, Touch
from core.handles import concerned, holder_of
from core.ids import lane_of
from core.membership import Membership
from core.messages import Row
from stores import render
from stores.plan import Planned
from stores.ports import Feed, MessageStore
from stores.view import StoreView

_PART = 50
"""Messages that are looked at in one go."""
_MEMBERSHIP = ("member_adds", "member_left", "member_kicked")

Reached = Callable[[int], int]
"""Lane -> the last id that the updates will cover; 0 for none. What is beyond it has its own turn still to come and is
not back-fed: its row is here only because an earlier attempt did not get to the end."""


class Feeds(NamedTuple):
    feeds: list[Feed]
    back_feeds: list[Feed]
    """What was here before; the store looks whether somebody was fed it already."""


def changed_groups(planned: Iterable[Planned]) -> dict[str, None]:
    """The groups whose membership these events change, in order."""
    return dict.fromkeys(
        chat
        for item in planned
        for effect in item.effects
        if effect.table in _MEMBERSHIP and (chat := str(effect.key[0]))[0] == "G"
    )


async def feeds_of(planned: Sequence[Planned], view: StoreView, v: Mapping[int, int], reached: Reached) -> Feeds:
    """The updates that these events cause. `v` is V as it will be after the batch."""
    found = Feeds([], [])
    for item in planned:
        event, audience = item.event, item.audience
        sends = item.rows and item.rows[0].kind == "send"
        owners: Sequence[str] = audience.users
        if len(set(owners)) < len(owners):
            owners = tuple(dict.fromkeys(owners))
        if audience.channel is not None:
            owners = (*owners, audience.channel)
        owed = await _owed(audience, view, v) if audience.conversation is not None else ()
        for touch in item.touches:
            if touch.type == "handle":
                await _of_handle(found, event.id, event.actor, touch, view, reached)
                continue
            entry = render.encode(event.id, touch)
            conversation = str(touch.ref[0]) if sends and touch.type == "message" else ""
            for owner in (touch.user,) if touch.user else (*owners, *owed):
                found.feeds.append(Feed(owner, event.id, entry, conversation))
    return found


async def back_feed(
    found: Feeds,
    chats: Iterable[str],
    view: StoreView,
    messages: MessageStore,
    v: Mapping[int, int],
    reached: Reached,
    window: int,
) -> None:
    """Membership changes of these groups were applied: feeds what members are owed of the newest `window` messages."""
    for chat in chats:
        present = (await view.roll(chat)).present
        for at, row in enumerate(await messages.recent(chat, window)):
            if at % _PART == 0:
                await asyncio.sleep(0)  # others have their turn
            if row.kind != "send" or row.event > reached(lane_of(row.event)):
                continue
            touch = Touch("message", (chat, row.message))
            for user in owed_of(row, present, v):
                found.back_feeds.append(Feed(user, row.event, render.encode(row.event, touch), chat))


def owed_of(row: Row, present: Mapping[str, Membership], v: Mapping[int, int]) -> list[str]:
    """Those present who are to be fed a message of a group although its origin did not name them."""
    knew = {int(lane): id for lane, id in row.body.get("knew", {}).items()}
    audience = Audience(tuple(row.body.get("to", ())), row.conversation, knew)
    return _owed_among(audience, present, v)


async def _of_handle(found: Feeds, event: int, actor: str, touch: Touch, view: StoreView, reached: Reached) -> None:
    """Everybody whose handle it is or was to be. Which claims there are, an event does not know: where a claim comes
    that takes the name from another, that one is told. And who claims is told of the claim that has the name, under its
    own id: he may come from a DC that did not have it yet."""
    rows = await view.handle(str(touch.ref[0]))
    for user in sorted(concerned(rows) | {actor}):
        found.feeds.append(Feed(user, event, render.encode(event, touch), ""))
    owner = holder_of(rows)
    if owner.user and owner.user != actor and owner.event <= reached(lane_of(owner.event)):
        found.back_feeds.append(Feed(actor, owner.event, render.encode(owner.event, touch), ""))


async def _owed(audience: Audience, view: StoreView, v: Mapping[int, int]) -> list[str]:
    assert audience.conversation is not None
    return _owed_among(audience, (await view.roll(audience.conversation)).present, v)


def _owed_among(audience: Audience, present: Mapping[str, Membership], v: Mapping[int, int]) -> list[str]:
    """Nobody else is owed anything (core/audience.py), and former members may be thousands."""
    named = set(audience.users)
    return [
        user
        for user, registers in present.items()
        if user not in named and audience_rule.owed(audience, registers, v) == "feed"
    ]
