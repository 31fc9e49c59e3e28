"""The state: tables, keys, and per column the law by which two values merge.

A row appears with the first effect that names it. A column's stamp is the id of the event that wrote it.
`merge` is the whole of conflict resolution; every store implements the same five laws and is tested against it.
"""

from enum import StrEnum
from typing import Any, NamedTuple

import msgspec


class Law(StrEnum):
    """How two writes of one column merge. Each is commutative, associative and idempotent."""

    LWW = "lww"
    """The greater stamp wins. Stored with its stamp in `<column>_at`."""
    MAX = "max"
    """The greater value wins (integers)."""
    MIN = "min"
    """The smaller value wins (integers)."""
    ONCE = "once"
    """Set to 1, never unset."""
    INSERT = "insert"
    """Written with the row. All writers write the same; should they ever not, the greater encoding wins."""


class Kind(StrEnum):
    """What a column or key part holds."""

    TEXT = "text"
    INT = "int"
    JSON = "json"
    """Any JSON value, stored as canonical JSON text (sorted keys, no spaces)."""


class Column(NamedTuple):
    law: Law
    kind: Kind
    listed: bool = True
    """False for a secret: a concurrent write that lost is not kept, and no list of conflicts shows it."""


class Table(NamedTuple):
    """`key` parts in order with their kinds; `by` lists the key parts or columns that are looked up alone."""

    key: dict[str, Kind]
    columns: dict[str, Column]
    by: tuple[str, ...] = ()
    pages: tuple[tuple[str, ...], ...] = ()
    """What is read in pages beside the key: rows that are equal in all but the last, in the order of the last, which
    may be the stamp of an lww column (`<column>_at`)."""


T, I, J = Kind.TEXT, Kind.INT, Kind.JSON  # noqa: E741

TABLES: dict[str, Table] = {
    "users": Table(
        {"user": T},
        {
            "name": Column(Law.LWW, T),
            "avatar": Column(Law.LWW, T),
            "about": Column(Law.LWW, T),
            "password": Column(Law.LWW, T, listed=False),  # a salted hash, never the password
            "dnd": Column(Law.LWW, J),  # {"until_ms", "schedule"}; null = disturb me
        },
    ),
    "sessions": Table(
        {"session": T},
        {
            "user": Column(Law.INSERT, T),
            "device": Column(Law.INSERT, T),
            "expires_ms": Column(Law.INSERT, I),
            "revoked": Column(Law.ONCE, I),
            "used": Column(Law.MAX, I),  # core/refreshing.py
        },
        pages=(("user", "revoked", "expires_ms"),),
    ),
    "chats": Table(
        {"chat": T},
        {
            "kind": Column(Law.INSERT, T),  # "group" | "supergroup"
            "creator": Column(Law.INSERT, T),
            "title": Column(Law.LWW, T),
            "about": Column(Law.LWW, T),
            "avatar": Column(Law.LWW, T),
            "owner": Column(Law.LWW, T),
            "entry": Column(Law.LWW, T),  # "open" (or ""): whoever knows the id; "approval": by a request; "closed"
            "dissolved": Column(Law.ONCE, I),
        },
    ),
    "directs": Table(  # who talks in a direct conversation; low <= high
        {"conversation": T},
        {"low": Column(Law.INSERT, T), "high": Column(Law.INSERT, T)},
        by=("low", "high"),
    ),
    # Membership registers, vectors per lane (see core/membership.py). The stamp of `knew` is the add's id.
    "member_adds": Table(
        {"chat": T, "user": T, "lane": I},
        {"knew": Column(Law.LWW, J)},  # {lane: greatest kick of this member known when added}
        by=("chat", "user"),
        pages=(("chat", "knew_at"),),
    ),
    "member_left": Table({"chat": T, "user": T, "lane": I}, {"left": Column(Law.MAX, I)}, by=("chat", "user")),
    "member_kicked": Table({"chat": T, "user": T, "lane": I}, {"kicked": Column(Law.MAX, I)}, by=("chat", "user")),
    "member_seen": Table({"chat": T, "user": T, "lane": I}, {"seen": Column(Law.MAX, I)}, by=("chat", "user")),
    "members": Table(
        {"chat": T, "user": T},
        {"role": Column(Law.LWW, T), "left_at": Column(Law.MAX, I)},
        by=("chat", "user"),
        pages=(("chat", "role", "user"),),
    ),
    "chat_bans": Table(  # who is kept out of a chat
        {"chat": T, "user": T},
        {"banned": Column(Law.LWW, I)},
        pages=(("chat", "banned", "user"),),
    ),
    "invites": Table(  # links into a chat; what they allow is in the link, too (see core/invites.py)
        {"chat": T, "invite": T},
        {
            "creator": Column(Law.INSERT, T),
            "expires_ms": Column(Law.INSERT, I),
            "uses_max": Column(Law.INSERT, I),  # 0 = any number
            "approval": Column(Law.INSERT, I),
            "made": Column(Law.MIN, I),  # the first event that made it
            "revoked": Column(Law.ONCE, I),
        },
        pages=(("chat", "revoked", "expires_ms"),),
    ),
    "invite_uses": Table({"invite": T, "lane": I}, {"uses": Column(Law.MAX, I)}),
    "join_requests": Table(  # that `user` wants to be let in
        {"event": I},
        {
            "chat": Column(Law.INSERT, T),
            "user": Column(Law.INSERT, T),
            "invite": Column(Law.INSERT, T),  # the link that he came by; "" for none
            "ended": Column(Law.ONCE, I),
        },
        pages=(("chat", "user", "event"), ("chat", "ended", "event"), ("user", "ended", "event")),
    ),
    "dialogs": Table(  # one user's settings of one conversation
        {"user": T, "conversation": T},
        {
            "pin": Column(Law.LWW, T),  # "" = not pinned, else the rank: a string that sorts
            "muted_until_ms": Column(Law.LWW, I),
            "unread": Column(Law.LWW, I),  # 1 = marked as unread, unless `read_at` is greater than its stamp
            "read_at": Column(Law.MAX, I),  # the last read
        },
        by=("user",),
        pages=(("user", "pin"), ("user", "muted_until_ms"), ("user", "unread_at")),
    ),
    "drafts": Table(  # what one user has begun to write in one conversation
        {"user": T, "conversation": T},
        {
            "draft": Column(Law.LWW, J),  # {"text", "reply_to"?}; null = none. Its stamp is its revision
            "cleared": Column(Law.MAX, I),  # the greatest revision that a message was sent from
        },
        pages=(("user", "draft_at"),),
    ),
    "blocks": Table(  # whose direct messages a user does not take
        {"user": T, "target": T},
        {"blocked": Column(Law.LWW, I)},
        pages=(("user", "blocked", "target"),),
    ),
    "contacts": Table(  # that `user` asks `peer`: registers per lane (see core/contacts.py)
        {"user": T, "peer": T, "lane": I},
        {"asked": Column(Law.MAX, I), "ended": Column(Law.MAX, I)},
        by=("peer",),
    ),
    "devices": Table(
        {"user": T, "device": T},
        {
            "push": Column(Law.LWW, J, listed=False),  # {"provider", "token"}; null = forgotten
            "home": Column(Law.LWW, T),  # the datacenter that pushes to it
        },
        pages=(("user", "push_at"),),
    ),
    "push_tokens": Table(  # which device a push token belongs to, by a hash of the token
        {"token": T},
        {"owner": Column(Law.LWW, J, listed=False)},  # [user, device]
    ),
    "scheduled": Table(  # messages that are to be sent later (core/scheduled.py)
        {"user": T, "scheduled": T},
        {
            "message": Column(Law.INSERT, J),  # as a request of message.send
            "at_ms": Column(Law.INSERT, I),
            "made": Column(Law.MIN, I),  # the first event that made it
            "home": Column(Law.LWW, T),  # the datacenter that is to send it
            "failure": Column(Law.LWW, J),  # {"code", "detail"}: why it was given up; null = it was not
            "sent": Column(Law.MIN, I),  # the message
            "done": Column(Law.ONCE, I),  # nobody has to send it any more
            "gone": Column(Law.ONCE, I),  # sent or unscheduled: its sender does not see it any more
        },
        pages=(("home", "done", "at_ms"), ("done", "at_ms"), ("user", "gone", "at_ms")),
    ),
    "files": Table(  # who has put which bytes; they are in object storage (api/files.py)
        {"sha256": T, "user": T},
        {
            "bytes": Column(Law.INSERT, I),
            "type": Column(Law.INSERT, T),
            "name": Column(Law.INSERT, T),
            "made": Column(Law.MIN, I),  # the first event that did it
        },
    ),
    "handles": Table(  # claims and releases, folded by their ids (core/handles.py)
        {"handle": T, "event": I},
        {"user": Column(Law.INSERT, T), "kind": Column(Law.INSERT, T)},  # "claim" | "release"
        pages=(("user", "event"),),
    ),
    "read_marks": Table({"user": T, "conversation": T, "lane": I}, {"mark": Column(Law.MAX, I)}, by=("user",)),
    "clear_marks": Table({"user": T, "conversation": T, "lane": I}, {"mark": Column(Law.MAX, I)}, by=("user",)),
    "drops": Table(  # what each datacenter says of a parked event: see core/drops.py
        {"lane": I, "seq": I, "dc": I},
        {"dcs": Column(Law.INSERT, J), "agreed": Column(Law.ONCE, I), "applied": Column(Law.ONCE, I)},
    ),
    "replies": Table(  # a thread: its root's class -> its replies, each once however many copies it has
        {"thread": I, "class_": I},
        {"message": Column(Law.MIN, I), "recalled": Column(Law.ONCE, I)},
        pages=(("thread", "message"),),
    ),
    "mentions": Table(  # whom a message names (core/mentions.py); a row per copy
        {"conversation": T, "user": T, "message": I},  # "all" in place of a user: who is in the group by then
        {"class_": Column(Law.INSERT, I), "sender": Column(Law.INSERT, T), "recalled": Column(Law.ONCE, I)},
        pages=(("user", "message"),),
    ),
    "hidden": Table(
        {"user": T, "message": I},
        {"conversation": Column(Law.INSERT, T), "hidden": Column(Law.ONCE, I)},
        by=("user",),
    ),
}
"""The relational tables that replicate. `message_rows` (below) live in the message store."""

MESSAGE_ROWS = "message_rows"
MESSAGE_TABLE = Table(
    {"event": I},
    {
        "conversation": Column(Law.INSERT, T),
        "message": Column(Law.INSERT, I),  # the message this row is about; for kind "send" its own id
        "kind": Column(Law.INSERT, T),  # "send" | "edit" | "recall" | "react"
        "actor": Column(Law.INSERT, T),
        "class_": Column(Law.INSERT, I),  # ids.class_of(...) for "send", else 0
        "body": Column(Law.INSERT, J),
    },
)
"""Grow-only: what is shown of a message is a fold of its rows (core/messages.py)."""

ALL_TABLES = TABLES | {MESSAGE_ROWS: MESSAGE_TABLE}


class Effect(msgspec.Struct, frozen=True, gc=False):
    """One mergeable change of one row. The stamp is the event's id.

    `key` holds the key parts in the table's order. `basis` gives, for an lww column, the stamp of the value
    that the origin overwrote (0: none): concurrent losers are found by it.
    """

    table: str
    key: tuple[str | int, ...]
    columns: dict[str, Any]
    basis: dict[str, int] = {}


def canonical(value: Any) -> bytes:
    """The canonical encoding of one value: JSON, sorted keys, no spaces, UTF-8. Source of order and digests."""
    return msgspec.json.encode(value, order="deterministic")


class Cell(NamedTuple):
    """A column's value with its stamp (0 where the law keeps none)."""

    value: Any
    stamp: int


def merge(law: Law, old: Cell | None, new: Cell) -> Cell:
    """The merge of two writes of one column: commutative, associative, idempotent.

    A stamp is the id of one event, which writes a column once; equal stamps therefore carry equal values, and
    the tie rule (greater canonical encoding) only makes the function total.
    """
    if old is None:
        return new if law is Law.LWW else Cell(new.value, 0)
    if law is Law.LWW:
        return max(old, new, key=lambda cell: (cell.stamp, canonical(cell.value)))
    if law in (Law.MAX, Law.ONCE):
        return Cell(max(old.value, new.value), 0)
    if law is Law.MIN:
        return Cell(min(old.value, new.value), 0)
    return Cell(max(old.value, new.value, key=canonical), 0)
