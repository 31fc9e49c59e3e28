"""What a client knows, kept right by updates: stale state plus updates equals a fresh fetch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from planb_sdk.doubles import Key, about

Json = dict[str, Any]


@dataclass(slots=True)
class State:
    """Plain JSON as the API shows it. Bounded to the newest `history_max` messages of each conversation."""

    user: str
    history_max: int
    messages: dict[str, dict[str, Json]] = field(default_factory=dict)
    """conversation -> message id -> message."""
    chats: dict[str, Json] = field(default_factory=dict)
    dialogs: dict[str, Json] = field(default_factory=dict)
    """conversation -> {pin, muted_until_ms, marked_unread, draft, unread_mentions, unread_mentions_more, read,
    cleared}."""
    members: dict[str, dict[str, str]] = field(default_factory=dict)
    """chat -> user -> role, as far as updates told; "" for one without a role."""
    left: set[str] = field(default_factory=set)
    """Chats that I am not in any more."""
    profiles: dict[str, Json] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    contacts: dict[str, str] = field(default_factory=dict)
    """User -> "contact", "asked", "asks" or "none", as far as updates told."""
    blocked: dict[str, bool] = field(default_factory=dict)
    """User -> have I blocked him, as far as updates told."""
    loaded: bool = False
    hidden: dict[str | Key, None] = field(default_factory=dict)
    """Ids and classes of messages that I hid since: a copy that comes late stays hidden."""
    stale: dict[str, None] = field(default_factory=dict)
    """Conversations to be loaded again: my membership changed, so what I may read, and what of it names me, did."""

    def fold(self, update: Json) -> None:
        """Takes one update in. Any update may come again."""
        apply: Callable[[Json], None] | None = {
            "message": self._message,
            "hidden": self._hidden,
            "chat": self._chat,
            "member": self._member,
            "dialog": self._dialog,
            "user": self._user,
            "session": self._session,
            "block": self._block,
            "contact": self._contact,
        }.get(update["type"])
        if apply is not None:
            apply(update)

    def load_dialog(self, entry: Json) -> None:
        """An entry of GET /v1/dialogs."""
        self._settings(entry)
        self._present(entry["conversation"], entry["present"])
        peer = entry["peer"]
        if "user" in peer:
            self.profiles[peer["user"]["id"]] = peer["user"]
        elif not peer["chat"].get("missing"):
            self.chats[peer["chat"]["id"]] = peer["chat"]

    def load_history(self, conversation: str, messages: list[Json]) -> None:
        """The newest messages of a conversation, in place of what was known of it."""
        self.stale.pop(conversation, None)
        self.messages[conversation] = {message["id"]: message for message in messages}
        self._bound(conversation)

    def load_mentions(self, conversation: str, count: int, more: bool) -> None:
        """How many messages of a conversation name me and are not read, as GET /v1/dialogs/{peer}/mentions has it."""
        known = self.dialogs.get(conversation, NOTHING_SET)
        self.dialogs[conversation] = known | {"unread_mentions": count, "unread_mentions_more": more}

    def snapshot(self) -> Json:
        """What two clients with equal knowledge have equal: messages, chats and settings of dialogs.

        Without chats that I am not in any more: a fetch shows what became of them, updates about it are not for me.
        """
        there = {name: some for name, some in sorted(self.messages.items()) if some and name not in self.left}
        return {
            "messages": {name: dict(sorted(some.items())) for name, some in there.items()},
            "chats": {name: chat for name, chat in sorted(self.chats.items()) if name not in self.left},
            "dialogs": {name: one for name, one in sorted(self.dialogs.items()) if one != NOTHING_SET},
        }

    def _message(self, update: Json) -> None:
        message = update["message"]
        if message.get("missing"):  # its own update will show it, with whatever came before it
            return
        known = self.messages.setdefault(message["conversation"], {})
        name = about(update)
        same = [id for id, one in known.items() if about({"type": "message", "message": one}) == name]
        if not same and update["event"] != message["id"]:
            self._unknown(message, name)
            return
        for id in same:
            del known[id]
        if not self._cleared(message) and name not in self.hidden and message["id"] not in self.hidden:
            known[message["id"]] = message
        self._bound(message["conversation"])

    def _unknown(self, message: Json, name: Key) -> None:
        """A change of a message that is not here: it is older than what is held, I have hidden or cleared it, its own
        update is still to come, or it is the copy that I was given of one that I was not. A history can tell."""
        known = self.messages[message["conversation"]]
        older = len(known) >= self.history_max and int(message["id"]) < min(map(int, known))
        if not (older or name in self.hidden or message["id"] in self.hidden or self._cleared(message)):
            self.stale[message["conversation"]] = None

    def _cleared(self, message: Json) -> bool:
        """Under any of its ids: it may have been another one that was here when I cleared."""
        cleared = self.dialogs.get(message["conversation"], NOTHING_SET)["cleared"]
        ids = map(int, (message["id"], *message.get("copies", ())))
        return any(id <= int(cleared.get(str(id & 0xFFFF), 0)) for id in ids)

    def _hidden(self, update: Json) -> None:
        message = self.messages.get(update["conversation"], {}).pop(update["message"], None)
        self.hidden[update["message"]] = None
        if message is not None:  # its copies too
            self.hidden[about({"type": "message", "message": message})] = None
        while len(self.hidden) > HIDDEN_MAX:
            del self.hidden[next(iter(self.hidden))]

    def _chat(self, update: Json) -> None:
        chat = update["chat"]
        if chat.get("missing"):
            return
        if chat["id"] not in self.chats:
            self.stale[chat["id"]] = None
        self.chats[chat["id"]] = chat

    def _member(self, update: Json) -> None:
        members = self.members.setdefault(update["chat"], {})
        if update["present"]:
            members[update["user"]] = update["role"]
        else:
            members.pop(update["user"], None)
        # Anybody's membership of a group: what a message's origin did not owe me yet, a datacenter feeds me only when
        # it has applied all that the origin knew of the group, and a cursor may have passed the message by then.
        # A supergroup has updates of its own, which all members share.
        if update["user"] == self.user or update["chat"].startswith("G"):
            self.stale[update["chat"]] = None
        if update["user"] == self.user:
            self._present(update["chat"], update["present"])

    def _dialog(self, update: Json) -> None:
        entry = update["dialog"]
        self._settings(entry)
        known = self.messages.get(entry["conversation"], {})
        for id in [id for id, message in known.items() if self._cleared(message)]:
            del known[id]

    def _present(self, chat: str, present: bool) -> None:
        if present:
            self.left.discard(chat)
        else:
            self.left.add(chat)

    def _settings(self, entry: Json) -> None:
        self.dialogs[entry["conversation"]] = {name: entry[name] for name in NOTHING_SET}

    def _user(self, update: Json) -> None:
        self.profiles[update["user"]["id"]] = update["user"]

    def _session(self, update: Json) -> None:
        if update["revoked"]:
            self.revoked.add(update["session"])

    def _block(self, update: Json) -> None:
        self.blocked[update["user"]] = update["blocked"]

    def _contact(self, update: Json) -> None:
        self.contacts[update["contact"]["user"]["id"]] = update["contact"]["state"]

    def _bound(self, conversation: str) -> None:
        known = self.messages[conversation]
        if len(known) > self.history_max:
            for id in sorted(known, key=int)[: len(known) - self.history_max]:
                del known[id]


HIDDEN_MAX = 10_000
NOTHING_SET: Json = {
    "pin": None,
    "muted_until_ms": None,
    "marked_unread": False,
    "draft": None,
    "unread_mentions": 0,
    "unread_mentions_more": False,
    "read": {},
    "cleared": {},
}
