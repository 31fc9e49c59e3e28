"""What reads answer, as types: the description of the API is made from them, and tests hold every answer against it.

Nothing is validated at run time. A client accepts members that it does not know: later versions may add some.
"""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from core import limits
from core.actions.content import Content
from core.actions.fields import (
    ChatId,
    ConversationId,
    Device,
    Entry,
    InviteId,
    LinkText,
    ScheduledId,
    SessionId,
    UserId,
)
from core.actions.lines import Told
from core.scheduled import Stage

EventId = Annotated[
    str, Field(pattern=r"^[0-9]{1,19}$", description="An event's id, in digits: its identity and its timestamp")
]
AnyMessageId = Annotated[str, Field(pattern=r"^[0-9]{1,19}$", description="A message's id: that of its event")]
SupergroupId = Annotated[str, Field(pattern=r"^C[0-9]{1,19}$", description="Supergroup id")]
Marks = Annotated[
    dict[Annotated[str, Field(pattern=r"^[0-9]{1,5}$")], AnyMessageId],
    Field(description="Lane -> the greatest id that the mark covers"),
]
Cursor = Annotated[str, Field(description="Opaque. Take the newest whole; never merge two")]
Count = Annotated[int, Field(ge=0)]
TimeMs = Annotated[int, Field(ge=0, description="Milliseconds since 1970-01-01 UTC")]
Durability = Literal["local", "remote"]
Role = Literal["owner", "admin", "member"]


class Answer(pydantic.BaseModel):
    """Base of all that is answered."""

    model_config = pydantic.ConfigDict(defer_build=True)


class Position(Answer):
    """Where the cursor beside it stands, in clear."""

    dc: str
    epoch: Count
    pts: Count
    channels: dict[SupergroupId, Count]


class At(Answer):
    """An answer with a cursor."""

    cursor: Cursor
    position: Position


# -- people


class Profile(Answer):
    id: UserId
    name: str
    avatar: str
    about: str


HandleShown = Annotated[str | None, Field(description="The name by which everybody finds him; null for none")]


class PublicProfile(Profile):
    handle: HandleShown


class Handle(Answer):
    handle: str
    user: Profile


class DndSchedule(Answer):
    zone: str
    from_: Annotated[str, Field(alias="from")]
    to: str
    days: list[int]


class Dnd(Answer):
    until_ms: TimeMs | None
    schedule: DndSchedule | None


class Me(PublicProfile):
    dnd: Annotated[Dnd | None, Field(description="When I am not to be disturbed; null: nothing is set")]
    session: Annotated[str, Field(description="The session that the token belongs to")]


class Presence(Answer):
    user: UserId
    online: bool


class Presences(Answer):
    presence: list[Presence]


class Block(Answer):
    user: UserId
    blocked: bool


class Blocks(Answer):
    users: list[Profile]
    after: Annotated[UserId | None, Field(description="For the next page; null at the end")]


class Contact(Answer):
    user: Profile
    state: Annotated[
        Literal["contact", "asked", "asks", "none"],
        Field(description="A contact; I have asked him; he asks me; nothing"),
    ]
    since: Annotated[EventId, Field(description="The event that has made it so; 0 for nothing")]


class Contacts(Answer):
    contacts: list[Contact]
    after: Annotated[UserId | None, Field(description="For the next page; null at the end")]


class RegisteredDevice(Answer):
    device: Device
    provider: str
    home: Annotated[str, Field(description="The datacenter that would push to it")]
    pushes: Annotated[bool, Field(description="False: another device has registered its token since")]


class Devices(Answer):
    devices: Annotated[list[RegisteredDevice], Field(max_length=limits.PAGE_MAX)]


class Failure(Answer):
    code: str
    detail: str


class ScheduledMessage(Answer):
    scheduled: ScheduledId
    at_ms: Annotated[TimeMs, Field(description="When it is, or was, to be sent")]
    message: Annotated[dict[str, Any], Field(description="As it was given: the body of POST /v1/messages")]
    failure: Annotated[Failure | None, Field(description="Why it was not sent; null while it waits")]


class ScheduledMessages(Answer):
    scheduled: Annotated[list[ScheduledMessage], Field(max_length=limits.PAGE_MAX)]


class Session(Answer):
    session: SessionId
    device: Device
    expires_ms: TimeMs
    current: Annotated[bool, Field(description="The one that asks")]


class Sessions(Answer):
    sessions: list[Session]


class Refreshed(Answer):
    token: Annotated[str, Field(description="For the header Authorization, in every datacenter")]
    token_life_s: Annotated[int, Field(ge=0, description="How long it is good from now on")]
    refresh_token: Annotated[str, Field(description="For POST /v1/token/refresh, once. Keep it before you use it")]
    session: SessionId
    user: UserId


class LoggedIn(Refreshed):
    expires_ms: Annotated[TimeMs, Field(description="When the session ends, however often it is refreshed")]


class LoggedOut(Answer):
    id: EventId
    session: SessionId
    durability: Durability


# -- chats


class Chat(Answer):
    id: ChatId
    kind: Literal["group", "supergroup"]
    title: str
    about: str
    avatar: str
    creator: UserId
    owner: UserId
    entry: Entry
    dissolved: bool


class MissingChat(Answer):
    """Something of it is here before the chat itself, which comes as an update of its own."""

    id: ChatId
    missing: Literal[True]


class Standing(Answer):
    present: bool
    role: Annotated[Role | Literal[""], Field(description="Empty for a former member")]


class ChatOfMine(Chat):
    me: Standing


class Member(Answer):
    user: UserId
    role: Role
    joined: EventId


class Members(Answer):
    members: list[Member]
    count: Annotated[int | None, Field(ge=0, description="Of all members of a group; null for a supergroup")]
    after: Annotated[UserId | None, Field(description="For the next page; null at the end")]


class Invite(Answer):
    invite: InviteId
    link: LinkText
    creator: UserId
    made: EventId
    expires_ms: Annotated[TimeMs | None, Field(description="Null: never")]
    uses_max: Annotated[int | None, Field(ge=1, description="Null: any number")]
    used: Annotated[int, Field(ge=0, description="As counted here; several datacenters may overshoot together")]
    approval: Annotated[bool, Field(description="It leads to a request, which is answered")]


class Invites(Answer):
    invites: Annotated[list[Invite], Field(max_length=limits.PAGE_MAX)]


class Bans(Answer):
    users: list[Profile]
    after: Annotated[UserId | None, Field(description="For the next page; null at the end")]


class InviteShown(Answer):
    """What the bearer of a link is told before he uses it."""

    chat: ChatId
    kind: Literal["group", "supergroup"]
    title: str
    about: str
    avatar: str
    approval: bool
    present: Annotated[bool, Field(description="He is in the chat already")]


class JoinRequest(Answer):
    event: EventId
    user: Profile
    invite: Annotated[InviteId | None, Field(description="The link that he came by")]


class JoinRequests(Answer):
    requests: Annotated[list[JoinRequest], Field(description="The oldest first", max_length=limits.PAGE_MAX)]
    after: Annotated[EventId | None, Field(description="For the next page; null at the end")]


class MyJoinRequest(Answer):
    event: EventId
    chat: ChatId


class MyJoinRequests(Answer):
    requests: Annotated[list[MyJoinRequest], Field(description="The newest first", max_length=limits.PAGE_MAX)]


# -- messages and dialogs


class Forwarded(Answer):
    sender: Annotated[UserId, Field(alias="from", description="Who wrote it first")]
    message: AnyMessageId


class Line(Answer):
    """What a line with `system` tells: what `from` did to the chat. A client finds the words."""

    kind: Literal["system"]
    what: Annotated[Told, Field(description="The write that it tells of")]
    users: Annotated[list[UserId], Field(description="To whom it was done; absent: to the chat itself")] = []
    old: Annotated[dict[str, str], Field(description="Of each field that it changed the value before")] = {}
    new: Annotated[dict[str, str], Field(description="And the value after")] = {}


class Message(Answer):
    id: AnyMessageId
    conversation: ConversationId
    sender: Annotated[UserId, Field(alias="from")]
    key: Annotated[str, Field(description="The sender's Idempotency-Key")]
    class_: Annotated[
        str, Field(alias="class", pattern="^[0-9]+$", description="The same for all copies of it, in every datacenter")
    ]
    text: Annotated[str | None, Field(description="Null when it was recalled; may be empty where there is `content`")]
    edited: Annotated[EventId | None, Field(description="The edit that is shown")]
    recalled: bool
    reactions: Annotated[dict[str, list[UserId]], Field(description="Emoji -> who")]
    reply_to: AnyMessageId | None
    system: Annotated[bool, Field(description="A line about the chat, which nobody wrote: `content` has what it tells")]
    copies: Annotated[list[AnyMessageId], Field(description="Its further ids, if a retry elsewhere made any")] = []
    forwarded: Annotated[Forwarded | None, Field(description="What it repeats, if it does")] = None
    mentions: Annotated[list[str], Field(description='Whom it names: users, or "all"')] = []
    thread: Annotated[
        AnyMessageId | None, Field(description="Of a reply: the first message of the thread that it is in")
    ] = None
    content: Annotated[Content | Line | None, Field(description="What it holds besides its text, if anything")] = None


class MissingMessage(Answer):
    """An edit or reaction came before its message, which comes as an update of its own. Or it is a line about a chat
    from after the reader's end there: there is nothing to show."""

    id: AnyMessageId
    conversation: ConversationId
    missing: Literal[True]


class Replies(Answer):
    count: Annotated[Count, Field(description="Of the newest ones: not recalled, nor hidden or cleared by me")]
    more: Annotated[bool, Field(description="There are older ones than were counted")]
    newest: Annotated[AnyMessageId | None, Field(description="The newest of those that count; null for none")]


class History(Answer):
    conversation: ConversationId
    messages: Annotated[list[Message], Field(description="Oldest first", max_length=limits.PAGE_MAX)]
    replies: Annotated[
        dict[str, Replies], Field(description="Message id -> its replies, for each message here that has any")
    ]
    next_before: Annotated[AnyMessageId | None, Field(description="Goes on towards older ones; null at the end")]
    next_after: Annotated[AnyMessageId | None, Field(description="Goes on towards newer ones; null at the end")]


class Thread(Answer):
    thread: Annotated[AnyMessageId, Field(description="Its first message")]
    root: Annotated[Message | None, Field(description="The same, where it is here and I am shown it")]
    replies: Annotated[list[Message], Field(description="Oldest first", max_length=limits.PAGE_MAX)]
    count: Annotated[int, Field(ge=0, description="Replies that were not recalled, those I have hidden among them")]
    count_more: Annotated[bool, Field(description="There are more than were counted")]
    next_before: Annotated[AnyMessageId | None, Field(description="Goes on towards older ones; null at the end")]
    next_after: Annotated[AnyMessageId | None, Field(description="Goes on towards newer ones; null at the end")]


class Mentions(Answer):
    conversation: ConversationId
    messages: Annotated[list[Message], Field(description="Oldest first", max_length=limits.PAGE_MAX)]
    count: Annotated[Count, Field(description="Of all that are unread, on whatever page")]
    more: Annotated[bool, Field(description="There may be more than were counted")]
    next_after: Annotated[AnyMessageId | None, Field(description="Goes on towards newer ones; null at the end")]


class WithUser(Answer):
    user: Profile


class WithChat(Answer):
    chat: Chat | MissingChat


class DraftShown(Answer):
    text: str
    reply_to: AnyMessageId | None
    revision: Annotated[EventId, Field(description="For `draft` of a message that is sent from it")]


class DialogSettings(Answer):
    conversation: ConversationId
    pin: Annotated[str | None, Field(description="Its rank among the pinned; null: not pinned")]
    muted_until_ms: TimeMs | None
    marked_unread: Annotated[bool, Field(description="By myself, and not read since")]
    draft: DraftShown | None
    unread_mentions: Annotated[Count, Field(description="Messages that name me and that I have not read")]
    unread_mentions_more: Annotated[bool, Field(description="There may be more than were counted")]
    read: Marks
    cleared: Marks


class Dialog(DialogSettings):
    kind: Literal["direct", "group", "supergroup"]
    peer: WithUser | WithChat
    present: Annotated[bool, Field(description="False for a chat that I am not in any more")]
    top: Annotated[Message | None, Field(description="The newest message that I am shown")]
    top_more: Annotated[bool, Field(description="There may be one further back than was looked: the history tells")]
    unread: Count
    unread_more: Annotated[bool, Field(description="There are more than were counted")]


class Dialogs(At):
    dialogs: list[Dialog]
    after: Annotated[str | None, Field(description="For the next page; null at the end")]


# -- updates


class _Update(Answer):
    event: EventId


class MessageUpdate(_Update):
    type: Literal["message"]
    message: Message | MissingMessage


class HiddenUpdate(_Update):
    """I have hidden a message."""

    type: Literal["hidden"]
    conversation: ConversationId
    message: AnyMessageId


class ChatUpdate(_Update):
    type: Literal["chat"]
    chat: Chat | MissingChat


class MemberUpdate(_Update):
    """Who came or went. On one about yourself, load that chat's dialog again."""

    type: Literal["member"]
    chat: ChatId
    user: UserId
    present: bool
    role: Literal["admin", "member", ""]


class DialogUpdate(_Update):
    type: Literal["dialog"]
    dialog: DialogSettings


class UserUpdate(_Update):
    type: Literal["user"]
    user: Profile


class SessionUpdate(_Update):
    type: Literal["session"]
    session: SessionId
    revoked: bool


class BlockUpdate(_Update):
    """I have blocked somebody, or taken that back."""

    type: Literal["block"]
    user: UserId
    blocked: bool


class ContactUpdate(_Update):
    """Somebody asks me, or I ask him, or one of us has accepted or deleted that."""

    type: Literal["contact"]
    contact: Contact


class ScheduledUpdate(_Update):
    """A message of mine that is to be sent later was made, sent, given up or unscheduled."""

    type: Literal["scheduled"]
    scheduled: ScheduledId
    state: Stage
    message: Annotated[AnyMessageId | None, Field(description="The message that it is; null unless it was sent")]


class BanUpdate(_Update):
    """Somebody is kept out of a chat, or not any more."""

    type: Literal["ban"]
    chat: ChatId
    user: UserId
    banned: bool


class InviteUpdate(_Update):
    """A link into a chat that I manage was made, or revoked."""

    type: Literal["invite"]
    chat: ChatId
    invite: InviteId
    revoked: bool


class RequestUpdate(_Update):
    """Somebody asks to be let into a chat that I manage, or I do; or one of us has taken that back or refused it. Who
    is let in is told of as a member."""

    type: Literal["request"]
    chat: ChatId
    user: UserId
    pending: bool


class DndUpdate(_Update):
    type: Literal["dnd"]
    dnd: Dnd | None


class DeviceUpdate(_Update):
    """I have registered a device for pushes, or forgotten one."""

    type: Literal["device"]
    device: Device
    registered: bool


class HandleUpdate(_Update):
    """Whose a handle is that I have claimed."""

    type: Literal["handle"]
    handle: str
    user: Annotated[UserId | None, Field(description="Null: it is free")]


Update = Annotated[
    MessageUpdate
    | HiddenUpdate
    | ChatUpdate
    | MemberUpdate
    | DialogUpdate
    | UserUpdate
    | SessionUpdate
    | BlockUpdate
    | ContactUpdate
    | ScheduledUpdate
    | BanUpdate
    | InviteUpdate
    | RequestUpdate
    | DndUpdate
    | DeviceUpdate
    | HandleUpdate,
    Field(discriminator="type"),
]


class Item(Answer):
    """One update in its list: my own, or a supergroup's."""

    pts: Annotated[int, Field(ge=1)]
    channel: Annotated[SupergroupId, Field(description="Whose list it is; absent for my own")] = ""
    update: Update


class Updates(At):
    updates: Annotated[list[Item], Field(max_length=limits.PAGE_MAX)]
    more: Annotated[bool, Field(description="Ask again with the new cursor")]
    reset: Annotated[bool, Field(description="Something is not kept any more: load anew, from this cursor on")]
    uncovered: Annotated[list[EventId], Field(description="Those of `kept` that are not applied here")]


class State(At):
    user: UserId


# -- writes


class Written(Answer):
    id: EventId


class BatchDone(Answer):
    id: EventId
    conversation: ConversationId
    durability: Durability
