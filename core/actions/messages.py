"""Messages: each write is a row; what is shown is the fold of a message's rows (core/messages.py)."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

from pydantic import Field

from core import action, ids, limits
from core.access import kind_of
from core.action import Audience, Origin, Route, Touch
from core.actions.content import Content, plain, require_fits
from core.actions.conversations import (
    Reach,
    audience_of,
    conversation_of,
    known_chat,
    live_chat,
    reach_about,
    reach_in,
    readable,
    require_may_write,
    require_member,
    require_unblocked,
    require_users,
    require_written,
    shown_to,
    standing,
)
from core.actions.fields import Caption, ConversationId, Mentions, MessageId, Peer, Revision, Text
from core.errors import Forbidden, Gone, Invalid, MessageFull, NotFound, TooLarge
from core.event import Event
from core.mentions import ALL
from core.messages import Message
from core.scheduled import RESERVED, scheduled_of
from core.tables import MESSAGE_ROWS, Effect


class MessageArgs(action.Args, frozen=True, kw_only=True):
    """Arguments of what happens to a message that exists."""

    conversation: str
    message: int
    to: tuple[str, ...] = ()
    knew: dict[int, int] = {}


def row(event: Event, conversation: str, message: int, kind: str, body: dict[str, Any], class_: int = 0) -> Effect:
    """A new row of the message store."""
    columns = {
        "conversation": conversation,
        "message": message,
        "kind": kind,
        "actor": event.actor,
        "class_": class_,
        "body": body,
    }
    return Effect(MESSAGE_ROWS, (event.id,), columns)


class AboutMessage(action.Action):
    """What writes about a message share: whom they concern and what they touch."""

    @staticmethod
    def turn(request: Any) -> str:
        """What is about one message is bounded. By the id as given: under two ids of a class two may pass at once, as
        in two DCs, and to look the class up would cost every write a read."""
        return str(int(request.message))

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.conversation, event.args.to, event.args.knew)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("message", (event.args.conversation, event.args.message)),)


class Send(action.Action):
    name = "message.send"
    summary = "Send a message to a user, a group or a supergroup"
    consistency = (
        "The row only appears (insert). One message is the class of ids of one request under one key, so a retry "
        "through another datacenter shows once: the smallest id is canonical and operations on any of them count for "
        "it. Another request under the key is another message. A reply is in the thread of what it replies to, under "
        "its class (insert), so its copies are one reply, and how many there are is counted from the rows. Whom it "
        "names has a row for it (insert): his unread mentions are those beyond his marks, each once, never a counter. "
        "What it forwards is copied at its origin, as its sender may read it there. With `draft` it clears the "
        "sender's draft up to that revision (max)."
    )
    route = Route("POST", "/v1/messages")
    example = {"to": "Ugrace", "text": "Hello"}
    answer = {"conversation": ConversationId}
    errors = (Invalid, Forbidden, NotFound, Gone, TooLarge)

    class Request(action.Request):
        to: Peer
        text: Text = ""
        """Only a message with content may be without."""
        content: Content | None = None
        reply_to: MessageId | None = None
        forward_of: MessageId | None = None
        """The message that it repeats, in place of text and content."""
        mentions: Mentions = Field(default_factory=list)  # a default that is a list is deep-copied, 1.2 µs
        draft: Revision | None = None
        """The draft that it is sent from."""

    class Args(action.Args, frozen=True, kw_only=True, omit_defaults=True):
        conversation: str
        to: tuple[str, ...]
        """Both users of a direct (low, high; one in a talk to oneself), a group's members; () for a supergroup."""
        text: str
        reply_to: int = 0
        knew: dict[int, int] = {}
        forwarded_from: str = ""
        """Who sent what it repeats, and that one's id."""
        forwarded_id: int = 0
        mentions: tuple[str, ...] = ()
        thread: int = 0
        """Of a reply the first message of its thread, and that one's class."""
        thread_class: int = 0
        content: dict[str, Any] = {}
        """Empty for a plain text."""
        draft: int = 0
        """The sender's draft of this conversation is cleared up to this revision."""
        scheduled: str = ""
        """The scheduled message that this is."""

    @staticmethod
    async def resolve(request: "Send.Request", origin: Origin) -> "Send.Args":
        conversation, reach = await _destination(origin, request.to)
        more: dict[str, Any] = {}  # of a plain text nothing: it is what is sent most
        if origin.key.startswith(RESERVED):
            more["scheduled"] = await _due(origin)
        if request.forward_of is None:
            text, content = request.text, _content(request.text, request.content)
        else:
            source = await _source(request, origin)
            text, content = source.text or "", source.content or {}
            more["forwarded_from"], more["forwarded_id"] = source.forwarded or (source.sender, source.id)
        if content:
            more["content"] = content
        if request.reply_to is not None:
            replied = await readable(origin.view, origin.actor, int(request.reply_to), conversation)
            if replied.recalled:
                raise Gone("the message that this replies to was recalled")
            more["reply_to"] = replied.id
            # The root itself may still be on its way; what its reply says of it is enough.
            more["thread"] = replied.thread or replied.id
            more["thread_class"] = replied.thread_class or replied.class_
        if request.mentions:
            more["mentions"] = await _mentions(origin, conversation, reach, request.mentions)
        if request.draft is not None:
            more["draft"] = _draft(request.draft, origin)
        return Send.Args(conversation=conversation, to=reach.to, text=text, knew=reach.knew, **more)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Send.Args = event.args
        body: dict[str, Any] = {"text": args.text, "key": event.key}
        if args.content:
            body["content"] = args.content
        if args.to:
            body["to"] = list(args.to)
        if args.reply_to:
            body["reply_to"] = str(args.reply_to)
        if args.forwarded_from:
            body["forwarded"] = {"from": args.forwarded_from, "message": str(args.forwarded_id)}
        if args.mentions:
            body["mentions"] = list(args.mentions)
        if args.thread:
            body |= {"thread": str(args.thread), "thread_class": str(args.thread_class)}
        if args.knew:
            body["knew"] = {str(lane): id for lane, id in args.knew.items()}
        if event.key:
            body["fingerprint"] = event.fingerprint.hex()
        class_ = ids.class_of(event.actor, event.key or str(event.id), args.conversation, event.fingerprint)
        yield row(event, args.conversation, event.id, "send", body, class_)
        if kind_of(args.conversation) == "direct":
            yield Effect("directs", (args.conversation,), {"low": args.to[0], "high": args.to[-1]})
        if args.thread:
            yield Effect("replies", (args.thread_class, class_), {"message": event.id})
        for user in args.mentions:
            columns = {"class_": class_, "sender": event.actor}
            yield Effect("mentions", (args.conversation, user, event.id), columns)
        if args.draft:
            yield Effect("drafts", (event.actor, args.conversation), {"cleared": args.draft})
        if args.scheduled:
            yield Effect("scheduled", (event.actor, args.scheduled), {"sent": event.id, "done": 1, "gone": 1})

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.conversation, event.args.to, event.args.knew)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        args: Send.Args = event.args
        message = Touch("message", (args.conversation, event.id))
        if not (args.draft or args.mentions or args.scheduled):
            return (message,)
        told = {*args.mentions, event.actor} if args.draft else args.mentions
        sent = (Touch("scheduled", (event.actor, args.scheduled), event.actor),) if args.scheduled else ()
        return (message, *_told(args.conversation, told), *sent)

    @staticmethod
    def result(event: Event) -> dict[str, Any]:
        return {"conversation": event.args.conversation}


async def _due(origin: Origin) -> str:
    """The scheduled message that is sent under this key."""
    scheduled = scheduled_of(origin.key)
    found = await origin.view.scheduled(origin.actor, scheduled)
    if found is None:
        raise NotFound(f"there is no scheduled message {scheduled}")
    if found.state != "waiting":
        raise Gone(f"{scheduled} is {found.state}")
    return scheduled


def _told(conversation: str, users: Collection[str]) -> tuple[Touch, ...]:
    """Each is told in his own updates, also of a supergroup: how many mentions he has not read has changed."""
    if ALL in users:
        return (Touch("dialog", (conversation,)),)
    return tuple(Touch("dialog", (conversation,), user) for user in sorted(users))


async def _mentions(origin: Origin, conversation: str, reach: Reach, wanted: Sequence[str]) -> tuple[str, ...]:
    """Whom it may name: who is in the conversation; in a group all of them at once, if owner or admin does."""
    kind = kind_of(conversation)
    for user in wanted:
        if user == ALL:
            if kind != "group":
                problem = {"field": "mentions", "problem": "only a group's members are mentioned all at once"}
                raise Invalid("only a group's members are mentioned all at once", errors=[problem])
            chat = await live_chat(origin.view, conversation)
            if await standing(origin.view, chat, origin.actor) not in ("owner", "admin"):
                raise Forbidden("only the owner and admins may mention all")
        elif kind == "supergroup":
            if not (await origin.view.membership(conversation, user)).present:
                raise NotFound(f"{user} is not in {conversation}")
        elif user not in reach.to:
            raise NotFound(f"{user} is not in {conversation}")
    return tuple(sorted(set(wanted) - {origin.actor}))


async def _source(request: Send.Request, origin: Origin) -> Message:
    """The message that is repeated, as the caller may read it: who left a chat sees no later edit of it. What was
    forwarded before keeps its first sender. From which chat it comes is not kept: to know a chat is enough to join."""
    if request.text or request.content is not None:
        problem = {"field": "forward_of", "problem": "stands in place of text and content"}
        raise Invalid("forward_of stands in place of text and content", errors=[problem])
    assert request.forward_of is not None
    source = await shown_to(origin.view, origin.actor, int(request.forward_of))
    require_written(source)
    if source.recalled:
        raise Gone("the message was recalled")
    return source


def _content(text: str, content: Content | None) -> dict[str, Any]:
    """As it is kept. Invalid for a message that says nothing."""
    if content is None:
        if not text:
            raise Invalid("text: Field required", errors=[{"field": "text", "problem": "Field required"}])
        return {}
    found = plain(content)
    require_fits(text, found)
    return found


def _draft(revision: str, origin: Origin) -> int:
    """What the client says that it has seen, wherever that was. Invalid for one that no datacenter can have given out:
    it would clear what is still to be written."""
    newest = ids.make_id(ids.tick_at(origin.now_ms + limits.CLOCK_SKEW_MS_MAX), 0)
    if int(revision) > newest:
        raise Invalid("draft: there is no such revision")
    return int(revision)


async def _destination(origin: Origin, to: str) -> tuple[str, Reach]:
    """Where a message goes and who gets it, if the caller may write there."""
    view, actor = origin.view, origin.actor
    if to[0] == "U":
        await require_users(view, (to,))
        await require_unblocked(view, actor, to)
        return ids.direct_conversation(actor, to), Reach(tuple(sorted({actor, to})), {})
    if to[0] == "D":
        conversation = await conversation_of(view, actor, to)
        pair = await view.direct(conversation)
        assert pair is not None, "conversation_of has seen it"
        await require_unblocked(view, actor, pair[1] if pair[0] == actor else pair[0])
        return conversation, Reach(tuple(sorted(set(pair))), {})
    await live_chat(view, to)
    if kind_of(to) == "supergroup":
        await require_member(view, to, actor)
        return to, Reach((), {})
    reach = reach_in(await view.roll(to))
    if actor not in reach.to:
        raise Forbidden(f"you are not a member of {to}")
    return to, reach


class Edit(AboutMessage):
    name = "message.edit"
    summary = "Change the text or content of my message"
    consistency = (
        "A revision is a row that only appears; the one with the greatest stamp is shown and all are kept. Each is "
        "whole: what the request leaves out is as its origin showed it, so text and content of two concurrent edits "
        "are never mixed. One that arrives before its message waits as a row."
    )
    route = Route("PATCH", "/v1/messages/{message}")
    example = {"text": "Hello, Grace"}
    errors = (Invalid, Forbidden, NotFound, Gone, MessageFull, TooLarge)

    class Request(action.Request):
        message: MessageId
        text: Caption | None = None
        """Empty: none, which only a message with content may have. None: as it is."""
        content: Content | None = None
        """None: as it is."""

    class Args(MessageArgs, frozen=True, kw_only=True):
        text: str
        content: dict[str, Any] = {}

    @staticmethod
    async def resolve(request: "Edit.Request", origin: Origin) -> "Edit.Args":
        message = await readable(origin.view, origin.actor, int(request.message))
        if message.sender != origin.actor:
            raise Forbidden("only its sender may edit a message")
        require_written(message)
        if message.forwarded:
            raise Forbidden("these are the words of another: forwarded messages are not edited")
        if message.recalled:
            raise Gone("the message was recalled")
        if message.edits >= limits.MESSAGE_EDITS_MAX:
            raise MessageFull(f"a message has at most {limits.MESSAGE_EDITS_MAX} revisions")
        await require_may_write(origin.view, message.conversation, origin.actor)
        text, content = _revised(request, message)
        reach = await reach_about(origin.view, message)
        return Edit.Args(
            conversation=message.conversation,
            message=message.id,
            to=reach.to,
            knew=reach.knew,
            text=text,
            content=content,
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Edit.Args = event.args
        body: dict[str, Any] = {"text": args.text}
        if args.content:
            body["content"] = args.content
        return (row(event, args.conversation, args.message, "edit", body),)


def _revised(request: "Edit.Request", message: Message) -> tuple[str, dict[str, Any]]:
    """Text and content after the edit. Invalid for one that changes nothing, or leaves nothing."""
    if request.text is None and request.content is None:
        raise Invalid("give text, content or both", errors=[{"field": "text", "problem": "Field required"}])
    text = request.text if request.text is not None else message.text or ""
    content = plain(request.content) if request.content is not None else message.content or {}
    if not (text or content):
        raise Invalid("text: must not be empty", errors=[{"field": "text", "problem": "must not be empty"}])
    if content:
        require_fits(text, content)
    return text, content


class Recall(AboutMessage):
    name = "message.recall"
    summary = "Take a message back for everybody"
    consistency = (
        "Recalled is set once and beats any edit, whatever its stamp. It goes to everyone who was given the text, "
        "also to those who are no longer in the chat."
    )
    route = Route("DELETE", "/v1/messages/{message}", query=("for",), when=(("for", "all"),))
    errors = (Forbidden, NotFound, Gone)

    class Request(action.Request):
        message: MessageId
        for_: Literal["all"] = Field(alias="for")

    class Args(MessageArgs, frozen=True, kw_only=True, omit_defaults=True):
        thread_class: int = 0
        """Of a reply: that of the first message of its thread."""
        class_: int = 0
        sender: str = ""
        mentioned: tuple[str, ...] = ()
        """Whom its sender names."""

    @staticmethod
    async def resolve(request: "Recall.Request", origin: Origin) -> "Recall.Args":
        view = origin.view
        message = await readable(view, origin.actor, int(request.message))
        require_written(message)
        if message.sender != origin.actor:
            if kind_of(message.conversation) == "direct":
                raise Forbidden("only its sender may recall a message")
            chat = await known_chat(view, message.conversation)
            if await standing(view, chat, origin.actor) not in ("owner", "admin"):
                raise Forbidden("only its sender, the owner and admins may recall a message")
        if message.recalled:
            raise Gone("the message was recalled")
        reach = await reach_about(view, message)
        return Recall.Args(
            conversation=message.conversation,
            message=message.id,
            to=tuple(sorted({*reach.to, *message.to})),
            knew=reach.knew,
            thread_class=message.thread_class,
            class_=message.class_ if message.thread_class or message.mentions else 0,
            sender=message.sender if message.mentions else "",
            mentioned=message.mentions,
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Recall.Args = event.args
        yield row(event, args.conversation, args.message, "recall", {})
        if args.thread_class:  # it may come before the reply
            yield Effect("replies", (args.thread_class, args.class_), {"message": args.message, "recalled": 1})
        for user in args.mentioned:
            columns = {"class_": args.class_, "sender": args.sender, "recalled": 1}
            yield Effect("mentions", (args.conversation, user, args.message), columns)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        args: Recall.Args = event.args
        return (*AboutMessage.touches(event), *_told(args.conversation, args.mentioned))


class Hide(action.OwnAction):
    name = "message.hide"
    summary = "Remove a message from my own view"
    consistency = (
        "Hidden for (user, message) is set once and never unset: a late copy does not bring it back. A hidden message "
        "that mentions the caller is none that he has not read."
    )
    route = Route("DELETE", "/v1/messages/{message}", query=("for",), when=(("for", "me"),))
    errors = (NotFound,)

    class Args(MessageArgs, frozen=True, kw_only=True):
        mentioned: bool = False
        """It may be one of the mentions that he has not read."""

    class Request(action.Request):
        message: MessageId
        for_: Literal["me"] = Field(alias="for")

    @staticmethod
    async def resolve(request: "Hide.Request", origin: Origin) -> "Hide.Args":
        message = await readable(origin.view, origin.actor, int(request.message))
        mentioned = not {origin.actor, ALL}.isdisjoint(message.mentions)
        return Hide.Args(conversation=message.conversation, message=message.id, mentioned=mentioned)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Hide.Args = event.args
        columns = {"conversation": args.conversation, "hidden": 1}
        return (Effect("hidden", (event.actor, args.message), columns),)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        args: Hide.Args = event.args
        hidden = Touch("hidden", (args.conversation, args.message))
        return (hidden, Touch("dialog", (args.conversation,))) if args.mentioned else (hidden,)
