"""What everybody has to be shown in the end, worked out once more from the events alone: no store, fold, view or window
of production, and none of its code for membership, marks or unread counts."""

from collections.abc import Callable, Iterable
from typing import Any

from core.event import Event
from core.ids import lane_of
from tests.simulation.rules import Chat, addressed, chats, ended, told

Json = dict[str, Any]
FIELDS = ("id", "from", "copies", "text", "edited", "recalled", "reactions", "system", "content")
"""Of a message."""


class _Class:
    """One message: all that was sent under one key, and whatever was done to any of it."""

    def __init__(self, send: Event) -> None:
        self.sends = {send.id: send}
        self.line = send.action != "message.send"
        self.edits: dict[int, str] = {}
        self.recalled = False
        self.votes: list[tuple[int, str, str, bool]] = []
        """(event, user, emoji, on)."""
        self.hidden_for: set[str] = set()

    @property
    def first(self) -> Event:
        return self.sends[min(self.sends)]

    def reactions(self, knows: Callable[[int], bool]) -> dict[str, list[str]]:
        last = {(emoji, user): on for event, user, emoji, on in sorted(self.votes) if knows(event)}
        found: dict[str, list[str]] = {}
        for (emoji, user), on in sorted(last.items()):
            if on:
                found.setdefault(emoji, []).append(user)
        return found

    def shown(self, knows: Callable[[int], bool]) -> Json:
        """To one who hears of these events; of a recall everybody hears."""
        edited = max(filter(knows, self.edits), default=0)
        text = "" if self.line else self.edits[edited] if edited else self.first.args.text
        return {
            "id": str(self.first.id),
            "from": self.first.actor,
            "copies": [str(id) for id in sorted(self.sends)[1:]],
            "text": None if self.recalled else text,
            "edited": str(edited) if edited and not self.recalled else None,
            "recalled": self.recalled,
            "reactions": {} if self.recalled else self.reactions(knows),
            "system": self.line,
            "content": told(self.first) or [],
        }


SENDS = ("message.send", "message.schedule", "message.unschedule")
"""Of what is about messages, what is not about one that is there."""


class Oracle:
    def __init__(self, events: Iterable[Event]) -> None:
        self._events = sorted(events, key=lambda event: event.id)
        self._chats: dict[str, Chat] = chats(self._events)
        self._conversations: dict[str, list[_Class]] = {}
        self._marks: dict[tuple[str, str, str], dict[int, int]] = {}
        self._ends: dict[tuple[str, str], dict[int, int]] = {}
        self._read()

    def _read(self) -> None:
        classes: dict[tuple[str, str, str, str], _Class] = {}
        of_id: dict[int, _Class] = {}
        for event in self._events:
            if event.action == "message.send" or told(event):
                where = event.args.conversation if event.action == "message.send" else event.args.chat
                name = (event.actor, event.key or str(event.id), where, event.action)
                one = classes.get(name)
                if one is None:
                    one = classes[name] = _Class(event)
                    self._conversations.setdefault(where, []).append(one)
                one.sends[event.id] = event
                of_id[event.id] = one
        for event in self._events:
            args: Any = event.args
            if event.action.startswith(("message.", "reaction.")) and event.action not in SENDS:
                # Of a message that went with its datacenter nothing is shown.
                if (about := of_id.get(args.message)) is not None:
                    _act(about, event)
            elif event.action in ("dialog.read", "dialog.clear"):
                marks = self._marks.setdefault((event.action, event.actor, args.conversation), {})
                for lane, id in args.marks.items():
                    marks[lane] = max(id, marks.get(lane, 0))
            if who := ended(event):
                known = self._ends.setdefault((args.chat, who), {})
                for lane, id in {**args.seen, lane_of(event.id): event.id}.items():
                    known[lane] = max(id, known.get(lane, 0))

    def history(self, user: str, conversation: str) -> list[Json]:
        """Every message that he may see, in order."""
        cleared = self._marks.get(("dialog.clear", user, conversation), {})
        knows = self._horizon(user, conversation)
        return [
            one.shown(knows)
            for one in sorted(self._conversations.get(conversation, ()), key=lambda one: one.first.id)
            if self._may(user, conversation, one)
            and user not in one.hidden_for
            and not any(id <= cleared.get(lane_of(id), 0) for id in one.sends)
        ]

    def unread(self, user: str, conversation: str) -> int:
        """How many are new to a present member, or to one of the two."""
        joined = 0
        if not conversation.startswith("D"):
            joined = min(self._chats[conversation].living(user), default=0)
        done = [self._marks.get((f"dialog.{what}", user, conversation), {}) for what in ("read", "clear")]
        return sum(
            one.first.actor != user
            and not one.line
            and not one.recalled
            and user not in one.hidden_for
            and all(id > max(joined, *(marks.get(lane_of(id), 0) for marks in done)) for id in one.sends)
            for one in self._conversations.get(conversation, ())
        )

    def _horizon(self, user: str, conversation: str) -> Callable[[int], bool]:
        """Who is no longer in a chat hears of what his end knew."""
        chat = self._chats.get(conversation)
        if chat is None or chat.present(user) or user not in chat.adds:
            return lambda _: True
        ended = self._ends.get((conversation, user), {})
        return lambda id: id <= ended.get(lane_of(id), 0)

    def _may(self, user: str, conversation: str, one: _Class) -> bool:
        if any(user == send.actor or (user in addressed(send) and not one.line) for send in one.sends.values()):
            return True
        chat = self._chats.get(conversation)
        if chat is None:
            return False
        if chat.present(user):
            return True
        ended = self._ends.get((conversation, user), {})
        return user in chat.adds and any(id <= ended.get(lane_of(id), 0) for id in one.sends)


def _act(about: _Class, event: Event) -> None:
    if event.action == "message.edit":
        about.edits[event.id] = event.args.text
    elif event.action == "message.recall":
        about.recalled = True
    elif event.action == "message.hide":
        about.hidden_for.add(event.actor)
    else:
        about.votes.append((event.id, event.actor, event.args.emoji, event.action == "reaction.set"))
