"""Rows of the relational store -> the typed views of core.action, and membership registers."""

from collections.abc import Iterable, Mapping
from typing import Any

from core.action import ChatView, DeviceView, DialogView, DraftView, FileView, SessionView, UserView
from core.membership import Add, Membership
from core.mentions import Row as Mention
from core.scheduled import Scheduled

Row = Mapping[str, Any]


def _stamps(row: Row, columns: Iterable[str]) -> dict[str, int]:
    return {column: row[f"{column}_at"] for column in columns}


def user_view(row: Row) -> UserView:
    return UserView(
        row["user"],
        row["name"],
        row["avatar"],
        row["about"],
        row["password"],
        row["dnd"],
        _stamps(row, ("name", "avatar", "about", "password", "dnd")),
    )


def chat_view(row: Row) -> ChatView:
    return ChatView(
        row["chat"],
        row["kind"],
        row["creator"],
        row["title"],
        row["about"],
        row["avatar"],
        row["owner"],
        row["entry"] or "open",
        bool(row["dissolved"]),
        _stamps(row, ("title", "about", "avatar", "owner", "entry")),
    )


def session_view(row: Row) -> SessionView:
    return SessionView(
        row["session"], row["user"], row["device"], row["expires_ms"], bool(row["revoked"]), row["used"] or 0
    )


def dialog_view(row: Row) -> DialogView:
    return DialogView(
        row["user"],
        row["conversation"],
        row["pin"],
        row["muted_until_ms"],
        bool(row["unread"]) and row["unread_at"] > row["read_at"],
        _stamps(row, ("pin", "muted_until_ms", "unread")),
    )


def device_view(row: Row) -> DeviceView:
    push = row["push"] or {"provider": "", "token": ""}
    return DeviceView(row["device"], push["provider"], push["token"], row["home"], _stamps(row, ("push", "home")))


def file_view(row: Row) -> FileView:
    return FileView(row["sha256"], row["user"], row["bytes"], row["type"], row["name"], row["made"])


def scheduled(row: Row) -> Scheduled:
    return Scheduled(
        row["user"],
        row["scheduled"],
        row["message"] or {},
        row["at_ms"],
        row["made"],
        row["home"],
        row["failure"],
        row["sent"],
        bool(row["gone"]) and not row["sent"],
        _stamps(row, ("home", "failure")),
    )


def draft_view(row: Row) -> DraftView:
    draft, revision = row["draft"], row["draft_at"]
    if not draft or revision <= row["cleared"]:
        return DraftView("", 0, revision)
    return DraftView(draft["text"], int(draft.get("reply_to", 0)), revision)


def mention(row: Row) -> Mention:
    return Mention(row["message"], row["class_"], row["sender"], bool(row["recalled"]))


def memberships(
    adds: Iterable[Row],
    left: Iterable[Row],
    kicked: Iterable[Row],
    seen: Iterable[Row],
    members: Iterable[Row],
    by: str,
) -> dict[str, Membership]:
    """The registers of many (chat, user), keyed by the row's `by` ("user" or "chat")."""
    found: dict[str, Membership] = {}

    def at(row: Row) -> Membership:
        return found.setdefault(row[by], Membership({}, {}, {}, seen={}))

    for row in adds:
        knew = {int(lane): id for lane, id in (row["knew"] or {}).items()}
        at(row).adds[row["lane"]] = Add(row["knew_at"], knew)
    for row in left:
        at(row).left[row["lane"]] = row["left"]
    for row in kicked:
        at(row).kicked[row["lane"]] = row["kicked"]
    for row in seen:
        at(row).seen[row["lane"]] = row["seen"]
    for row in members:
        registers = at(row)
        found[row[by]] = registers._replace(role=row["role"], role_at=row["role_at"], left_at=row["left_at"])
    return found
