"""Who gets an update: the recipients that the origin decided, and local members whom it could not know.

A message to a group names its recipients and what its origin knew of the membership (`knew`). A local member whose
add is not covered by `knew` is fed as well, once this DC has applied `knew` itself; an applied membership change
back-feeds later messages that are already here. Without the first, joiners miss messages; feeding all local members
instead leaks messages after a kick (tests/models/).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from core import audience as audience_rule
from core.action import Audience, Touch
from core.membership import Membership
from core.messages import Row
from stores import render
from stores.plan import Planned
from stores.ports import Feed, MessageStore
from stores.view import StoreView


class Feeds(NamedTuple):
    feeds: list[Feed]
    back_feeds: list[Feed]
    tops: list[tuple[str, str, int]]
    """Dialog tops of users who were fed a message beyond its recipients."""


async def feeds_of(
    planned: Sequence[Planned], view: StoreView, messages: MessageStore, v: Mapping[int, int], window: int
) -> Feeds:
    """The updates that these events cause. `v` is V as it will be after the batch."""
    found = Feeds([], [], [])
    changed: dict[str, None] = {}
    for item in planned:
        for chat in {str(e.key[0]) for e in item.effects if e.table in ("member_adds", "member_left", "member_kicked")}:
            if chat.startswith("G"):
                changed[chat] = None
        owners = dict.fromkeys(item.audience.users)
        if item.audience.conversation is not None:
            for user in await _owed(item.audience, view, v):
                if user not in owners:
                    owners[user] = None
                    for row in item.rows:
                        if row.kind == "send":
                            found.tops.append((user, row.conversation, row.message))
        if item.audience.channel is not None:
            owners[item.audience.channel] = None
        for touch in item.touches:
            entry = render.encode(item.event.id, touch)
            about = _about(touch) if item.event.action == "message.send" else None
            found.feeds.extend(Feed(owner, item.event.id, entry, about) for owner in owners)
    for chat in changed:
        await _back_feed(found, chat, view, messages, v, window)
    return found


def _about(touch: Touch) -> tuple[str, int] | None:
    return (str(touch.ref[0]), int(touch.ref[1])) if touch.type == "message" else None


async def _owed(audience: Audience, view: StoreView, v: Mapping[int, int]) -> list[str]:
    """Local members who are to be fed although the origin did not name them."""
    assert audience.conversation is not None
    members = await view.members(audience.conversation)
    return [user for user, registers in members.items() if audience_rule.owed(audience, registers, v) == "feed"]


async def _back_feed(
    found: Feeds, chat: str, view: StoreView, messages: MessageStore, v: Mapping[int, int], window: int
) -> None:
    """A membership change of `chat` was applied: feeds what members are owed of the messages already here."""
    members: dict[str, Membership] = await view.members(chat)
    for row in _sends(await messages.recent(chat, window)):
        knew = {int(lane): id for lane, id in row.body.get("knew", {}).items()}
        audience = Audience(tuple(row.body.get("to", ())), chat, knew)
        for user, registers in members.items():
            if user in audience.users or audience_rule.owed(audience, registers, v) != "feed":
                continue
            touch = Touch("message", (chat, row.message))
            found.back_feeds.append(Feed(user, row.event, render.encode(row.event, touch), _about(touch)))
            found.tops.append((user, chat, row.message))


def _sends(rows: Iterable[Row]) -> list[Row]:
    return [row for row in rows if row.kind == "send"]
