"""A `View` over the reference state, so that `resolve` can be tested without any store."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core.action import (
    ChatView,
    DeviceView,
    DialogView,
    DraftView,
    FileView,
    Parking,
    Position,
    SessionView,
    UserView,
    registry,
)
from core.contacts import Contact, contacts
from core.drops import dropped
from core.event import Event
from core.fold import State
from core.handles import Row as HandleRow
from core.handles import holder_of
from core.ids import lane_of
from core.invites import Asked, Invite
from core.membership import Membership, Roll
from core.messages import Message, Row, fold
from core.ownership import owner_of
from core.rivalry import Write
from core.scheduled import Scheduled
from core.tables import canonical
from stores import registers
from stores.adapters.message_rows import shown
from stores.entry_view import invite_of


class StateView:
    """core.action.View over a `State`. `delivered`: owner (user or supergroup) -> (conversation, message id) of each
    update, in the order of its pts, which begins at 1. `applied`: id -> event, all of which the state is the fold."""

    def __init__(
        self,
        state: State,
        delivered: Mapping[str, list[tuple[str, int]]] | None = None,
        applied: Mapping[int, Event] | None = None,
    ) -> None:
        self.state = state
        self.delivered = delivered if delivered is not None else {}
        self.applied = applied if applied is not None else {}

    def _one(self, table: str, **key: Any) -> dict[str, Any] | None:
        rows = self.state.rows(table, key)
        return rows[0] if rows else None

    async def user(self, user: str) -> UserView | None:
        row = self._one("users", user=user)
        return registers.user_view(row) if row else None

    async def session(self, session: str) -> SessionView | None:
        row = self._one("sessions", session=session)
        return registers.session_view(row) if row else None

    async def sessions_of(self, user: str, now_ms: int, limit: int) -> list[SessionView]:
        found = map(registers.session_view, self.state.rows("sessions", {"user": user}))
        alive = [one for one in found if not one.revoked and one.expires_ms > now_ms]
        return sorted(alive, key=lambda one: (one.expires_ms, one.session), reverse=True)[:limit]

    async def chat(self, chat: str) -> ChatView | None:
        row = self._one("chats", chat=chat)
        return registers.chat_view(row) if row and row["kind"] else None

    async def membership(self, chat: str, user: str) -> Membership:
        return members_of(self.state, chat).get(user, Membership())

    async def roll(self, chat: str) -> Roll:
        return Roll().told(members_of(self.state, chat))

    async def heir(self, chat: str) -> str:
        return owner_of("", members_of(self.state, chat))

    async def managers(self, chat: str) -> list[str]:
        row = self._one("chats", chat=chat) or {"owner": ""}
        members = members_of(self.state, chat)
        admins = [user for user, its in members.items() if its.present and its.valid_role == "admin"]
        return sorted({*filter(None, (owner_of(row["owner"], members),)), *admins})

    async def invite(self, chat: str, invite: str) -> Invite | None:
        row = self._one("invites", chat=chat, invite=invite)
        return invite_of(row, await self.invite_uses(invite)) if row else None

    async def invite_uses(self, invite: str) -> dict[int, int]:
        return {row["lane"]: row["uses"] for row in self.state.rows("invite_uses", {"invite": invite})}

    async def invites_of(self, chat: str, now_ms: int) -> list[Invite]:
        rows = self.state.rows("invites", {"chat": chat, "revoked": 0})
        return [invite_of(row, {}) for row in rows if row["expires_ms"] > now_ms]

    async def ban(self, chat: str, user: str) -> tuple[bool, int]:
        row = self._one("chat_bans", chat=chat, user=user)
        return (bool(row["banned"]), row["banned_at"]) if row else (False, 0)

    async def bans_of(self, chat: str, after: str, limit: int) -> list[str]:
        rows = self.state.rows("chat_bans", {"chat": chat, "banned": 1})
        return sorted(row["user"] for row in rows if row["user"] > after)[:limit]

    async def asked(self, chat: str, user: str) -> list[Asked]:
        rows = self.state.rows("join_requests", {"chat": chat, "user": user})
        return [Asked(row["event"], row["user"], row["invite"], bool(row["ended"])) for row in rows]

    async def asking(self, chat: str, after: int, limit: int) -> list[Asked]:
        rows = [one for one in self.state.rows("join_requests", {"chat": chat, "ended": 0}) if one["event"] > after]
        return [Asked(row["event"], row["user"], row["invite"], False) for row in rows][:limit]

    async def memberships_of(self, user: str) -> dict[str, Membership]:
        chats = {row["chat"] for row in self.state.rows("member_adds", {"user": user})}
        return {chat: await self.membership(chat, user) for chat in chats}

    async def dialog(self, user: str, conversation: str) -> DialogView:
        row = self._one("dialogs", user=user, conversation=conversation)
        return registers.dialog_view(row) if row else DialogView(user, conversation, "", 0, False, {})

    async def draft(self, user: str, conversation: str) -> DraftView:
        row = self._one("drafts", user=user, conversation=conversation)
        return registers.draft_view(row) if row else DraftView("", 0, 0)

    async def blocks_of(self, user: str) -> dict[str, int]:
        rows = self.state.rows("blocks", {"user": user, "blocked": 1})
        return {row["target"]: row["blocked_at"] for row in rows}

    async def block_stamp(self, user: str, target: str) -> int:
        row = self._one("blocks", user=user, target=target)
        return int(row["blocked_at"]) if row else 0

    async def contacts_of(self, user: str) -> dict[str, Contact]:
        return contacts(self.state.rows("contacts", {"user": user}), self.state.rows("contacts", {"peer": user}))

    async def device(self, user: str, device: str) -> DeviceView:
        row = self._one("devices", user=user, device=device)
        return registers.device_view(row) if row else DeviceView(device, "", "", "", {})

    async def devices_of(self, user: str) -> list[DeviceView]:
        found = map(registers.device_view, self.state.rows("devices", {"user": user}))
        return sorted((one for one in found if one.provider), key=lambda one: -one.stamps["push"])

    async def push_owner(self, token: str) -> tuple[tuple[str, str], int]:
        row = self._one("push_tokens", token=token)
        return (tuple(row["owner"]), row["owner_at"]) if row else (("", ""), 0)

    async def file(self, sha256: str, user: str) -> FileView | None:
        row = self._one("files", sha256=sha256, user=user)
        return registers.file_view(row) if row else None

    async def scheduled(self, user: str, scheduled: str) -> Scheduled | None:
        row = self._one("scheduled", user=user, scheduled=scheduled)
        return registers.scheduled(row) if row and row["made"] else None

    async def scheduled_of(self, user: str) -> list[Scheduled]:
        rows = self.state.rows("scheduled", {"user": user, "gone": 0})
        return sorted((registers.scheduled(row) for row in rows if row["made"]), key=lambda one: one.at_ms)

    async def handle(self, handle: str) -> list[HandleRow]:
        rows = self.state.rows("handles", {"handle": handle})
        return [HandleRow(row["event"], row["user"], row["kind"]) for row in rows]

    async def handles_of(self, user: str) -> list[str]:
        rows = sorted(self.state.rows("handles", {"user": user}), key=lambda row: -row["event"])
        names = dict.fromkeys(row["handle"] for row in rows if row["kind"] == "claim")
        return [name for name in names if holder_of(await self.handle(name)).user == user]

    async def direct(self, conversation: str) -> tuple[str, str] | None:
        row = self._one("directs", conversation=conversation)
        return (row["low"], row["high"]) if row else None

    async def parking(self, lane: int, seq: int) -> Parking:
        rows = self.state.rows("drops", {"lane": lane, "seq": seq})
        return Parking(seq % 2 == 0, True, any(row["dc"] == 1 for row in rows), dropped(rows), frozenset({1, 2, 3}))

    def forgo(self, lane: int, seq: int) -> None:
        """Nobody tries anything again here."""

    async def event(self, id: int) -> Event | None:
        return self.applied.get(id)

    async def writes_of(self, table: str, key: Sequence[str | int], column: str) -> list[Write]:
        text = canonical(list(key)).decode()
        return [
            Write(table, text, column, id, effect.basis[column], effect.columns[column])
            for id, event in sorted(self.applied.items())
            for effect in registry()[event.action].effects(event)
            if (effect.table, list(effect.key)) == (table, list(key)) and column in effect.columns
        ]

    async def message(self, message: int, known: Mapping[int, int] | None = None) -> Message | None:
        return message_of(shown(self.state.message_rows(), known), message)

    async def seen(self, user: str, conversation: str, message: int, position: Position) -> dict[int, int]:
        owner, pts = user, position.pts
        if conversation.startswith("C"):
            owner, pts = conversation, position.channels.get(conversation, 0)
        seen: dict[int, int] = {}
        for place, id in self.delivered.get(owner, [])[:pts]:
            if place == conversation and id <= message:
                seen[lane_of(id)] = max(seen.get(lane_of(id), 0), id)
        return seen


def members_of(state: State, chat: str) -> dict[str, Membership]:
    """All who are or were in the chat."""
    of = {"chat": chat}
    return registers.memberships(
        state.rows("member_adds", of),
        state.rows("member_left", of),
        state.rows("member_kicked", of),
        state.rows("member_seen", of),
        state.rows("members", of),
        by="user",
    )


def message_of(rows: Iterable[Row], message: int) -> Message | None:
    """The fold of the message of which `message` is one id."""
    rows = list(rows)
    class_ = next((row.class_ for row in rows if row.kind == "send" and row.message == message), None)
    if class_ is None:
        return None
    ids = {row.message for row in rows if row.kind == "send" and row.class_ == class_}
    return fold(row for row in rows if row.message in ids)
