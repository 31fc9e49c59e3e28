"""Updates: the compact entry kept per user, and its rendering in the *present* state.

An entry names a thing that changed. Rendering it later shows the thing as it is then: a recall that came before its
message leaves no text, and a client that applies its updates in order ends with what a fresh fetch gives.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from core.access import kind_of, may_read
from core.action import DraftView, Touch
from core.contacts import Contact
from core.handles import holder_of
from core.invites import standing as waiting
from core.membership import Membership
from core.messages import Message, Row
from stores.view import StoreView


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One update in a user's or supergroup's list."""

    event: int
    type: str
    ref: tuple[str | int, ...]

    def message(self) -> int | None:
        """The message id it is about, if it is about one."""
        return int(self.ref[1]) if self.type == "message" else None

    def chat(self) -> str | None:
        """The group or supergroup that it shows something of, if it does."""
        about = str(self.ref[0])
        return about if self.type in ("message", "chat", "member") and about[0] != "D" else None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def encode(event: int, touch: Touch) -> bytes:
    return _encoder.encode(Entry(event, touch.type, touch.ref))


def decode(entry: bytes) -> Entry:
    return _decoder.decode(entry)


async def render_all(view: StoreView, entries: Sequence[Entry], user: str) -> list[dict[str, Any]]:
    """The JSON of each entry for `user`, "" for anybody who is in the chats concerned. Messages are read in one go."""
    former = await _former(view, entries, user) if user else {}
    wanted = {id for entry in entries if (id := entry.message()) is not None}
    messages = await view.messages(wanted, former) if wanted else {}
    shown = {id: message.shown() for id, message in messages.items() if _is_his(message, user, former)}
    return [await _render(view, entry, user, shown, former) for entry in entries]


def _is_his(message: Message, user: str, former: Mapping[str, Membership]) -> bool:
    """A line about a chat that was written where nobody knew yet of a former member's end is none of his."""
    membership = former.get(message.conversation) if message.system else None
    return membership is None or may_read(message, user, membership, kind_of(message.conversation))


async def _former(view: StoreView, entries: Sequence[Entry], user: str) -> dict[str, Membership]:
    """The chats among them that `user` is no longer in: they are shown as his end knew them."""
    chats = {chat for entry in entries if (chat := entry.chat())}
    found = {chat: await view.membership(chat, user) for chat in chats}
    return {chat: membership for chat, membership in found.items() if membership.former}


async def _render(
    view: StoreView, entry: Entry, user: str, messages: Mapping[int, Any], former: Mapping[str, Membership]
) -> dict[str, Any]:
    head: dict[str, Any] = {"event": str(entry.event), "type": entry.type}
    ref = [str(part) for part in entry.ref]
    if entry.type == "message":
        # An edit, recall or reaction can come before its message; the message's own update will show it all. Or it is a
        # line that is none of his.
        missing = {"id": ref[1], "conversation": ref[0], "missing": True}
        return head | {"message": messages.get(int(ref[1]), missing)}
    if entry.type == "hidden":
        return head | {"conversation": ref[0], "message": ref[1]}
    if entry.type == "chat":
        return head | {"chat": await chat(view, ref[0], former.get(ref[0]))}
    if entry.type == "member":
        registers = await view.membership(ref[0], ref[1])
        if ref[0] in former and ref[1] != user:
            registers = registers.as_told_to(former[ref[0]])
        return head | {"chat": ref[0], "user": ref[1], "present": registers.present, "role": registers.valid_role}
    if entry.type == "dialog":
        return head | {"dialog": await dialog(view, user, ref[0])}
    if entry.type == "user":
        return head | {"user": await profile(view, ref[0])}
    if entry.type == "block":
        return head | {"user": ref[1], "blocked": ref[1] in await view.blocks_of(ref[0])}
    if entry.type == "contact":
        other = ref[1] if ref[0] == user else ref[0]
        return head | {"contact": await contact(view, user, other)}
    if entry.type == "ban":
        return head | {"chat": ref[0], "user": ref[1], "banned": (await view.ban(ref[0], ref[1]))[0]}
    if entry.type == "invite":
        found = await view.invite(ref[0], ref[1])
        return head | {"chat": ref[0], "invite": ref[1], "revoked": found is None or found.revoked}
    if entry.type == "request":
        return head | {"chat": ref[0], "user": ref[1], "pending": await pending(view, ref[0], ref[1], user)}
    if entry.type == "scheduled":
        later = await view.scheduled(ref[0], ref[1])
        sent = str(later.sent) if later is not None and later.sent else None
        return head | {"scheduled": ref[1], "state": later.state if later else "waiting", "message": sent}
    if entry.type == "dnd":
        return head | {"dnd": await dnd(view, ref[0])}
    if entry.type == "device":
        return head | {"device": ref[1], "registered": bool((await view.device(ref[0], ref[1])).provider)}
    if entry.type == "handle":
        return head | {"handle": ref[0], "user": holder_of(await view.handle(ref[0])).user or None}
    session = await view.session(ref[0])
    return head | {"session": ref[0], "revoked": session is None or session.revoked}


def just_sent(entry: Entry, send: Row) -> dict[str, Any]:
    """The same for a message whose only row is `send`: what its fold would show, at a third of the cost."""
    body = send.body
    reply_to = body.get("reply_to")
    message = {
        "id": str(send.event),
        "conversation": send.conversation,
        "from": send.actor,
        "key": body.get("key", ""),
        "class": str(send.class_),
        "text": body["text"],
        "edited": None,
        "recalled": False,
        "reactions": {},
        "reply_to": str(int(reply_to)) if reply_to else None,
        "system": bool(body.get("system", False)),
    }
    if "content" in body:
        message["content"] = body["content"]
    if "forwarded" in body:
        message["forwarded"] = body["forwarded"]
    if "mentions" in body:
        message["mentions"] = body["mentions"]
    if "thread" in body:
        message["thread"] = str(int(body["thread"]))
    return {"event": str(entry.event), "type": "message", "message": message}


async def profile(view: StoreView, user: str) -> dict[str, Any]:
    """The public profile: {id, name, avatar, about}."""
    found = await view.user(user)
    if found is None:
        return {"id": user, "name": "", "avatar": "", "about": ""}
    return {"id": user, "name": found.name, "avatar": found.avatar, "about": found.about}


async def chat(view: StoreView, chat: str, former: Membership | None = None) -> dict[str, Any]:
    """{id, kind, title, about, avatar, creator, owner, dissolved}; for a `former` member as his end knew it, save that
    it was dissolved."""
    found = await view.chat(chat)
    if found is None:
        return {"id": chat, "missing": True}
    shown = {
        "id": chat,
        "kind": found.kind,
        "title": found.title,
        "about": found.about,
        "avatar": found.avatar,
        "creator": found.creator,
        "owner": found.owner,
        "entry": found.entry,
        "dissolved": found.dissolved,
    }
    if former is not None:
        for column, stamp in found.stamps.items():
            if former.ended_before(stamp):
                shown[column] = await view.written_before(chat, column, former)
        shown["entry"] = shown["entry"] or "open"
    return shown


async def dialog(view: StoreView, user: str, conversation: str) -> dict[str, Any]:
    """One user's settings and marks of a conversation; marks as {lane: id}, both in digits."""
    settings = await view.dialog(user, conversation)
    read = await view.read_mark(user, conversation)
    clear = await view.clear_mark(user, conversation)
    draft = await view.draft(user, conversation)
    mentions, more = await view.unread_mentions(user, conversation)
    return {
        "conversation": conversation,
        "pin": settings.pin or None,
        "muted_until_ms": settings.muted_until_ms or None,
        "marked_unread": settings.unread,
        "draft": _draft(draft) if draft.text else None,
        "unread_mentions": len(mentions),
        "unread_mentions_more": more,
        "read": {str(lane): str(id) for lane, id in sorted(read.items())},
        "cleared": {str(lane): str(id) for lane, id in sorted(clear.items())},
    }


async def dnd(view: StoreView, user: str) -> dict[str, Any] | None:
    """{until_ms, schedule}, each of them or null; None where he may be disturbed."""
    found = await view.user(user)
    return found.dnd if found is not None else None


async def pending(view: StoreView, chat: str, asking: str, user: str) -> bool:
    """Whether `asking` waits to be let in, for himself and for whoever may answer him."""
    if user != asking and user not in await view.managers(chat):
        return False
    return bool(waiting(await view.asked(chat, asking), await view.membership(chat, asking)))


async def contact(view: StoreView, user: str, other: str) -> dict[str, Any]:
    """What is between the two, as `user` sees it."""
    found = (await view.contacts_of(user)).get(other, Contact())
    return {"user": await profile(view, other), "state": found.state, "since": str(found.since)}


def _draft(draft: DraftView) -> dict[str, Any]:
    reply_to = str(draft.reply_to) if draft.reply_to else None
    return {"text": draft.text, "reply_to": reply_to, "revision": str(draft.revision)}
