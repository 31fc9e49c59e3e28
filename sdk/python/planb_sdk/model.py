"""What the API answers, as small immutable things. Ids are strings of digits: they are beyond 2^53."""

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a cursor stands, in clear: what is needed to follow the stream."""

    dc: str
    epoch: int
    pts: int
    channels: dict[str, int]

    @classmethod
    def of(cls, body: Json) -> "Position":
        return cls(body["dc"], body["epoch"], body["pts"], dict(body["channels"]))

    @property
    def life(self) -> tuple[str, int]:
        """What pts count in: positions of different lives can't be compared."""
        return (self.dc, self.epoch)

    def shown(self) -> Json:
        return {"dc": self.dc, "epoch": self.epoch, "pts": self.pts, "channels": self.channels}

    def known(self, channel: str | None) -> int | None:
        """The pts of the own list, or of a supergroup's; None for a supergroup that has none yet."""
        return self.pts if channel is None else self.channels.get(channel)

    def moved(self, channel: str | None, pts: int) -> "Position":
        if channel is None:
            return Position(self.dc, self.epoch, pts, self.channels)
        return Position(self.dc, self.epoch, self.pts, self.channels | {channel: pts})


@dataclass(frozen=True, slots=True)
class Replies:
    """To one message, as far as I may see them."""

    count: int
    """Of the newest ones, without those that were recalled, and those that I have hidden or cleared."""
    more: bool
    """There are older ones than were counted."""
    newest: str | None

    @classmethod
    def of(cls, body: Json) -> "Replies":
        return cls(body["count"], body["more"], body["newest"])


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    conversation: str
    sender: str
    key: str
    class_: str
    """The same for all copies of one message, in every DC: what it is known by."""
    text: str | None
    """None when it was recalled; may be "" where there is content."""
    edited: str | None
    """The event of the edit that is shown."""
    recalled: bool
    reactions: dict[str, list[str]]
    reply_to: str | None
    system: bool
    """A line that tells what `sender` did to the chat; nobody wrote it. `content` is then {"kind": "system", "what":
    "member.add", "users": […], "old": {…}, "new": {…}}; "users", "old" and "new" where there are any."""
    content: Json | None = None
    """What it holds besides its text: {"kind": "image" | "file" | "location" | "custom" | "system", …}; None:
    nothing."""

    thread: str | None = None
    """Of a reply: the first message of the thread that it is in."""
    mentions: tuple[str, ...] = ()
    """Whom it names: users, or "all"."""
    forwarded: Json | None = None
    """What it repeats: {"from": user, "message": id}; None: nothing."""
    replies: Replies | None = None
    """In a history, of a message that has any: as they were when the page was read."""

    @classmethod
    def of(cls, body: Json, replies: Json | None = None) -> "Message":
        return cls(
            body["id"],
            body["conversation"],
            body["from"],
            body["key"],
            body["class"],
            body["text"],
            body["edited"],
            body["recalled"],
            body["reactions"],
            body["reply_to"],
            body["system"],
            body.get("content"),
            body.get("thread"),
            tuple(body.get("mentions", ())),
            body.get("forwarded"),
            Replies.of(replies) if replies else None,
        )


@dataclass(frozen=True, slots=True)
class Thread:
    """A message and the replies to it and to one another."""

    id: str
    """Of its first message."""
    root: Message | None
    """The same, where it is in this region and shown to me."""
    count: int
    """Replies that were not recalled."""
    count_more: bool
    """There are more than were counted."""

    @classmethod
    def of(cls, body: Json) -> "Thread":
        root = Message.of(body["root"]) if body["root"] else None
        return cls(body["thread"], root, body["count"], body["count_more"])


@dataclass(frozen=True, slots=True)
class Profile:
    id: str
    name: str
    avatar: str
    about: str

    @classmethod
    def of(cls, body: Json) -> "Profile":
        return cls(body["id"], body["name"], body["avatar"], body["about"])


@dataclass(frozen=True, slots=True)
class Contact:
    user: Profile
    state: str
    """"contact", "asked" (by me), "asks" (me) or "none"."""
    since: str

    @classmethod
    def of(cls, body: Json) -> "Contact":
        return cls(Profile.of(body["user"]), body["state"], body["since"])


@dataclass(frozen=True, slots=True)
class Chat:
    id: str
    kind: str
    title: str
    about: str
    avatar: str
    creator: str
    owner: str
    entry: str
    """Who comes in by himself: "open", "approval" or "closed"."""
    dissolved: bool

    @classmethod
    def of(cls, body: Json) -> "Chat":
        return cls(
            body["id"],
            body["kind"],
            body["title"],
            body["about"],
            body["avatar"],
            body["creator"],
            body["owner"],
            body["entry"],
            body["dissolved"],
        )


@dataclass(frozen=True, slots=True)
class Invite:
    """A link into a chat."""

    invite: str
    link: str
    """What lets its bearer in: keep it from others."""
    creator: str
    made: str
    expires_ms: int | None
    uses_max: int | None
    used: int
    approval: bool
    """It leads to a request."""

    @classmethod
    def of(cls, body: Json) -> "Invite":
        return cls(
            body["invite"],
            body["link"],
            body["creator"],
            body["made"],
            body["expires_ms"],
            body["uses_max"],
            body["used"],
            body["approval"],
        )


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """Somebody asks to be let into a chat."""

    event: str
    user: Profile
    invite: str | None
    """The link that he came by."""

    @classmethod
    def of(cls, body: Json) -> "JoinRequest":
        return cls(body["event"], Profile.of(body["user"]), body["invite"])


@dataclass(frozen=True, slots=True)
class Member:
    user: str
    role: str
    """"owner", "admin" or "member"."""
    joined: str

    @classmethod
    def of(cls, body: Json) -> "Member":
        return cls(body["user"], body["role"], body["joined"])


@dataclass(frozen=True, slots=True)
class Dialog:
    conversation: str
    kind: str
    """"direct", "group" or "supergroup"."""
    user: Profile | None
    """With whom, in a direct."""
    chat: Chat | None
    present: bool
    """False for a chat that I was removed from."""
    top: Message | None
    top_more: bool
    """There may be one further back than was looked; the history tells."""
    unread: int
    unread_more: bool
    pin: str | None
    muted_until_ms: int | None
    marked_unread: bool
    """By myself, and not read since."""
    draft: "KeptDraft | None"
    unread_mentions: int
    unread_mentions_more: bool
    read: dict[str, str]
    """lane -> the greatest id read."""
    cleared: dict[str, str]

    @classmethod
    def of(cls, body: Json) -> "Dialog":
        peer, chat = body["peer"], body["peer"].get("chat")
        return cls(
            body["conversation"],
            body["kind"],
            Profile.of(peer["user"]) if "user" in peer else None,
            Chat.of(chat) if chat and not chat.get("missing") else None,
            body["present"],
            Message.of(body["top"]) if body["top"] else None,
            body["top_more"],
            body["unread"],
            body["unread_more"],
            body["pin"],
            body["muted_until_ms"],
            body["marked_unread"],
            KeptDraft.of(body["draft"]) if body["draft"] else None,
            body["unread_mentions"],
            body["unread_mentions_more"],
            body["read"],
            body["cleared"],
        )


@dataclass(frozen=True, slots=True)
class KeptDraft:
    """What I have begun to write in a dialog, on any of my devices."""

    text: str
    reply_to: str | None
    revision: str
    """For `Client.send(..., draft=…)`."""

    @classmethod
    def of(cls, body: Json) -> "KeptDraft":
        return cls(body["text"], body["reply_to"], body["revision"])


@dataclass(frozen=True, slots=True)
class ScheduledMessage:
    """A message of mine that waits to be sent, or was not sent."""

    scheduled: str
    at_ms: int
    message: Json
    """As it was given: `to`, and what it says."""
    failure: Json | None
    """{"code", "detail"}: why it was not sent; None while it waits."""

    @classmethod
    def of(cls, body: Json) -> "ScheduledMessage":
        return cls(body["scheduled"], body["at_ms"], body["message"], body["failure"])


@dataclass(frozen=True, slots=True)
class PushDevice:
    device: str
    provider: str
    home: str
    """The region that would push to it."""
    pushes: bool
    """False: another device has registered its token since."""

    @classmethod
    def of(cls, body: Json) -> "PushDevice":
        return cls(body["device"], body["provider"], body["home"], body["pushes"])


@dataclass(frozen=True, slots=True)
class Session:
    session: str
    device: str
    expires_ms: int
    current: bool

    @classmethod
    def of(cls, body: Json) -> "Session":
        return cls(body["session"], body["device"], body["expires_ms"], body["current"])


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to be sent by `Client.send_many`."""

    to: str
    text: str = ""
    """Only a message with content may be without."""
    reply_to: str | None = None
    key: str = ""
    """Made where none is given."""
    content: Json | None = None
    """As of a `Message`."""
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """An acknowledged write."""

    id: str
    """Its event; of a message also the message's id."""
    key: str
    durability: str
    """"local", or "remote" where another datacenter holds it as well."""
    replayed: bool
    """An earlier try had done it already."""
    answer: Json = field(default_factory=dict)

    @property
    def chat(self) -> str:
        """The chat that was created."""
        return str(self.answer["chat"])

    @property
    def conversation(self) -> str:
        """Where a message went."""
        return str(self.answer["conversation"])


@dataclass(frozen=True, slots=True)
class Update:
    """Something changed; `body` shows it as it is now.

    type     body
    message  {"message": …}              hidden   {"conversation", "message"}
    chat     {"chat": …}                 member   {"chat", "user", "present", "role"}
    dialog   {"dialog": …}               user     {"user": …}
    session  {"session", "revoked"}      block    {"user", "blocked"}
    contact  {"contact": {"user": …, "state", "since"}}
    dnd      {"dnd"}                     device   {"device", "registered"}
    handle   {"handle", "user"}           invite   {"chat", "invite", "revoked"}
    request  {"chat", "user", "pending"}  ban      {"chat", "user", "banned"}
    scheduled {"scheduled", "state", "message"}
    reset    {}: more was trimmed than updates can tell; load again
    """

    type: str
    event: str
    pts: int
    channel: str | None
    """The supergroup in whose updates it came."""
    body: Json
    first: bool = False
    """A message that this client had not seen before, as opposed to a change of one."""

    @property
    def message(self) -> Message | None:
        """None for another type, and for a change of a message that has not arrived yet."""
        found = self.body.get("message")
        return Message.of(found) if self.type == "message" and found and not found.get("missing") else None

    @property
    def chat(self) -> Chat | None:
        found = self.body.get("chat")
        return Chat.of(found) if self.type == "chat" and found and not found.get("missing") else None
