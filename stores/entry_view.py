"""How chats are entered, as this DC has applied it: links and requests. A part of the view (stores/view.py)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from core import limits
from core.invites import Asked, Invite, Link
from stores.cached_reads import CachedReads
from stores.ports import Scan


class EntryView(CachedReads):
    """Every method is a read and may be repeated; StoreUnavailable when the store fails. Nothing of it is kept: these
    are asked for seldom."""

    async def invite(self, chat: str, invite: str) -> Invite | None:
        """See core.action.View. Also while only its revocation is here."""
        rows = await self._relational.rows("invites", {"chat": chat, "invite": invite})
        return invite_of(rows[0], await self.invite_uses(invite)) if rows else None

    async def invite_uses(self, invite: str) -> Mapping[int, int]:
        """See core.action.View."""
        return {row["lane"]: row["uses"] for row in await self._relational.rows("invite_uses", {"invite": invite})}

    async def invites_of(self, chat: str, now_ms: int) -> list[Invite]:
        """See core.action.View."""
        scan = Scan("expires_ms", limits.INVITES_OF_CHAT_MAX, beyond=now_ms)
        rows = await self._relational.page("invites", {"chat": chat, "revoked": 0}, scan)
        return [invite_of(row, await self.invite_uses(row["invite"])) for row in rows]

    async def ban(self, chat: str, user: str) -> tuple[bool, int]:
        """See core.action.View."""
        rows = await self._relational.some("chat_bans", {"chat": chat}, "user", (user,))
        return (bool(rows[0]["banned"]), rows[0]["banned_at"]) if rows else (False, 0)

    async def bans_of(self, chat: str, after: str, limit: int) -> list[str]:
        """See core.action.View."""
        rows = await self._relational.page("chat_bans", {"chat": chat, "banned": 1}, Scan("user", limit, beyond=after))
        return [row["user"] for row in rows]

    async def asked(self, chat: str, user: str) -> Sequence[Asked]:
        """See core.action.View."""
        scan = Scan("event", limits.PAGE_MAX, newest_first=True)
        return _asked(await self._relational.page("join_requests", {"chat": chat, "user": user}, scan))

    async def asking(self, chat: str, after: int, limit: int) -> list[Asked]:
        """See core.action.View."""
        scan = Scan("event", limit, beyond=after)
        return _asked(await self._relational.page("join_requests", {"chat": chat, "ended": 0}, scan))

    async def asked_by(self, user: str) -> list[tuple[str, Asked]]:
        """(chat, request): those of the user that are not ended, the newest first; a page's worth."""
        scan = Scan("event", limits.PAGE_MAX, newest_first=True)
        rows = await self._relational.page("join_requests", {"user": user, "ended": 0}, scan)
        return list(zip((row["chat"] for row in rows), _asked(rows), strict=True))


def invite_of(row: Mapping[str, Any], uses: Mapping[int, int]) -> Invite:
    link = Link(row["chat"], row["invite"], row["expires_ms"], row["uses_max"], bool(row["approval"]))
    return Invite(link, row["creator"], row["made"], bool(row["revoked"]), uses)


def _asked(rows: Iterable[Mapping[str, Any]]) -> list[Asked]:
    return [Asked(row["event"], row["user"], row["invite"], bool(row["ended"])) for row in rows]
