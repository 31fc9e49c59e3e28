"""A message is a fold of grow-only rows: the send, its copies, edits, recalls and reactions, in any order.

Copies: a retry through another DC makes a second event of the same request under the same key. All such ids form one
class; the smallest is canonical, and operations on any of them are folded together.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row of `message_rows`."""

    event: int
    conversation: str
    message: int
    kind: str
    actor: str
    class_: int
    body: dict[str, Any]


class Message(NamedTuple):
    """What is shown of a message."""

    id: int
    """The canonical id: the smallest of the class."""
    ids: tuple[int, ...]
    """All ids of the class, ascending."""
    conversation: str
    sender: str
    key: str
    class_: int
    """The same for all copies, in every DC: what a client knows it by."""
    text: str | None
    """None when recalled; "" where there is only content."""
    edited: int
    """The event id of the shown edit, 0 if never edited."""
    recalled: bool
    reactions: dict[str, tuple[str, ...]]
    """emoji -> users, sorted."""
    to: tuple[str, ...]
    """Recipients as decided at the origin; empty for a supergroup."""
    reply_to: int
    system: bool
    edits: int = 0
    """Revisions, whichever is shown."""
    reacted: Mapping[str, int] = {}
    """user -> how often he set a reaction or took one back, in all."""
    thread: int = 0
    """The first message of the thread that it replies in, by the id that its origin knew; 0: none."""
    thread_class: int = 0
    """That one's class, which all datacenters know it by."""
    forwarded: tuple[str, int] | None = None
    """Of a message that repeats another one: that one's sender and id."""
    mentions: tuple[str, ...] = ()
    """Users, or "all"; as they were sent."""
    content: dict[str, Any] | None = None
    """What it holds besides its text (core/actions/content.py); None for a plain text, and when recalled."""

    def shown(self) -> dict[str, Any]:
        """The JSON form in histories and updates; ids are strings of digits. `copies`, `content`,
        `thread`, `mentions` and `forwarded` only where there are any."""
        more: dict[str, Any] = {"copies": [str(id) for id in self.ids[1:]]} if len(self.ids) > 1 else {}
        if self.content:
            more["content"] = self.content
        if self.forwarded:
            sender, message = self.forwarded
            more["forwarded"] = {"from": sender, "message": str(message)}
        if self.mentions:
            more["mentions"] = list(self.mentions)
        if self.thread:
            more["thread"] = str(self.thread)
        return more | {
            "id": str(self.id),
            "conversation": self.conversation,
            "from": self.sender,
            "key": self.key,
            "class": str(self.class_),
            "text": self.text,
            "edited": str(self.edited) if self.edited else None,
            "recalled": self.recalled,
            "reactions": {emoji: list(users) for emoji, users in self.reactions.items()},
            "reply_to": str(self.reply_to) if self.reply_to else None,
            "system": self.system,
        }


def fold(rows: Iterable[Row]) -> Message | None:
    """The message that these rows (of one class) amount to; None while its send is not among them.

    Any order and repetition of rows gives the same message. Only the sender's edits and a permitted recall are ever
    accepted at an origin, so nothing is decided again here. A recall is final, whatever edits are stamped later.
    """
    sends: dict[int, Row] = {}
    edit: Row | None = None
    edits: set[int] = set()
    reacted: dict[int, str] = {}
    recalled = False
    votes: dict[tuple[str, str], tuple[int, bool]] = {}
    for row in rows:
        if row.kind == "send":
            sends[row.event] = row
        elif row.kind == "recall":
            recalled = True
        elif row.kind == "edit":
            edits.add(row.event)
            if edit is None or row.event > edit.event:
                edit = row
        elif row.kind == "react":
            reacted[row.event] = row.actor
            vote = (row.actor, row.body["emoji"])
            if row.event > votes.get(vote, (0, False))[0]:
                votes[vote] = (row.event, row.body["on"])
    if not sends:
        return None
    first = sends[min(sends)]
    reactions: dict[str, list[str]] = {}
    for (user, emoji), (_, on) in votes.items():
        if on:
            reactions.setdefault(emoji, []).append(user)
    body = first.body
    forwarded = body.get("forwarded")
    shown = edit.body if edit else body
    return Message(
        id=first.event,
        ids=tuple(sorted(sends)),
        conversation=first.conversation,
        sender=first.actor,
        key=body.get("key", ""),
        class_=first.class_,
        text=None if recalled else shown["text"],
        edited=0 if recalled or edit is None else edit.event,
        recalled=recalled,
        reactions={} if recalled else {e: tuple(sorted(u)) for e, u in sorted(reactions.items())},
        to=tuple(sorted({user for send in sends.values() for user in send.body.get("to", ())})),
        reply_to=int(body.get("reply_to", 0)),
        system=bool(body.get("system", False)),
        edits=len(edits),
        reacted=Counter(reacted.values()) if reacted else {},
        thread=int(body.get("thread", 0)),
        thread_class=int(body.get("thread_class", 0)),
        forwarded=(forwarded["from"], int(forwarded["message"])) if forwarded else None,
        mentions=tuple(body.get("mentions", ())),
        content=None if recalled else shown.get("content"),
    )
