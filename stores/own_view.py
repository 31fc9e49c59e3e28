"""What users have set for themselves, as this DC has applied it: a part of the view (stores/view.py)."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from core import limits, mentions
from core.action import DeviceView, DialogView, DraftView, FileView
from core.contacts import Contact, contacts
from core.handles import Row as HandleRow
from core.handles import holder_of
from core.scheduled import Scheduled
from stores import registers
from stores.cached_reads import CachedReads
from stores.ports import Scan

T = TypeVar("T")
NO_DRAFT = DraftView("", 0, 0)


def own_keys(table: str, key: Sequence[str | int]) -> list[tuple[str, ...]]:
    """The entries of the cache that a changed row of a table may have made stale."""
    if table in ("dialogs", "drafts", "read_marks", "clear_marks"):
        return [(table, str(key[0]), str(key[1]))]
    if table == "mentions":
        return [("mentions", str(key[1])), ("mentions", str(key[1]), str(key[0]))]
    if table == "handles":
        return [("handle", str(key[0]))]
    if table == "blocks":
        return [("blocks_of", str(key[0]))]
    if table == "contacts":
        return [("contacts_of", str(key[0])), ("contacts_of", str(key[1]))]
    return []


class OwnView(CachedReads):
    """Every method is a read and may be repeated; StoreUnavailable when the store fails."""

    async def dialog(self, user: str, conversation: str) -> DialogView:
        async def load() -> DialogView:
            rows = await self._relational.some("dialogs", {"user": user}, "conversation", (conversation,))
            return registers.dialog_view(rows[0]) if rows else _unset(user, conversation)

        return await self._cached(("dialogs", user, conversation), load)

    async def draft(self, user: str, conversation: str) -> DraftView:
        async def load() -> DraftView:
            rows = await self._relational.some("drafts", {"user": user}, "conversation", (conversation,))
            return registers.draft_view(rows[0]) if rows else NO_DRAFT

        return await self._cached(("drafts", user, conversation), load)

    async def pinned(self, user: str) -> list[str]:
        """The user's pinned conversations by rank, then by id: two may have taken one rank in two datacenters. A page's
        worth, which is what a client is shown of them as pinned."""
        rows = await self._relational.page("dialogs", {"user": user}, Scan("pin", limits.PAGE_MAX, beyond=""))
        return [row["conversation"] for row in rows]

    async def muted(self, user: str) -> list[str]:
        """Those that he has muted, by id; of very many those that are muted longest."""
        scan = Scan("muted_until_ms", limits.SCAN_ENTRIES_MAX, beyond=0, newest_first=True)
        return sorted(row["conversation"] for row in await self._relational.page("dialogs", {"user": user}, scan))

    async def marked_unread(self, user: str) -> list[str]:
        """Those that he has marked as unread and not read since; of very many those that were marked last."""
        scan = Scan("unread_at", limits.PAGE_MAX, beyond=0, newest_first=True)
        rows = await self._relational.page("dialogs", {"user": user}, scan)
        return [row["conversation"] for row in rows if registers.dialog_view(row).unread]

    async def drafted(self, user: str) -> list[str]:
        """Those in which he has a draft; of very many those that were written last."""
        scan = Scan("draft_at", limits.PAGE_MAX, beyond=0, newest_first=True)
        rows = await self._relational.page("drafts", {"user": user}, scan)
        return [row["conversation"] for row in rows if registers.draft_view(row).text]

    async def settings(self, user: str, conversations: Collection[str]) -> None:
        """Makes `dialog` and `draft` of all of these two reads."""
        await self._settings("dialogs", user, conversations, registers.dialog_view, lambda one: _unset(user, one))
        await self._settings("drafts", user, conversations, registers.draft_view, lambda _: NO_DRAFT)

    async def _settings(
        self,
        table: str,
        user: str,
        conversations: Collection[str],
        shown: Callable[[dict[str, Any]], T],
        unset: Callable[[str], T],
    ) -> None:
        missing = [one for one in conversations if (table, user, one) not in self._cache]
        if not missing:
            return
        generation = self._generation
        rows = await self._relational.some(table, {"user": user}, "conversation", missing)
        found = {row["conversation"]: shown(row) for row in rows}
        for one in missing:
            self._keep(generation, (table, user, one), found[one] if one in found else unset(one))

    async def _mentions_of(self, user: str, conversation: str) -> tuple[list[mentions.Row], bool]:
        """The newest in this conversation of a user, or of all, and whether there are older ones."""
        most = limits.MENTIONS_COUNTED_MAX

        async def load(where: dict[str, str]) -> tuple[tuple[str, mentions.Row], ...]:
            found = await self._relational.page("mentions", where, Scan("message", most + 1, newest_first=True))
            return tuple((row["conversation"], registers.mention(row)) for row in found)

        rows: tuple[tuple[str, mentions.Row], ...] = ()
        if user != mentions.ALL:  # one read for all dialogs of whoever is not mentioned very often
            rows = await self._cached(("mentions", user), lambda: load({"user": user}))
        if user == mentions.ALL or len(rows) > most:
            of = {"user": user, "conversation": conversation}
            rows = await self._cached(("mentions", user, conversation), lambda: load(of))
        return [row for place, row in rows[:most] if place == conversation], len(rows) > most

    async def blocks_of(self, user: str) -> Mapping[str, int]:
        """See core.action.View."""

        async def load() -> dict[str, int]:
            found: dict[str, int] = {}
            after: str | None = None
            where = {"user": user, "blocked": 1}
            while rows := await self._relational.page("blocks", where, Scan("target", limits.PAGE_MAX, beyond=after)):
                found |= {row["target"]: row["blocked_at"] for row in rows}
                after = rows[-1]["target"]
            return found

        return await self._cached(("blocks_of", user), load)

    async def block_stamp(self, user: str, target: str) -> int:
        """See core.action.View."""
        rows = await self._relational.some("blocks", {"user": user}, "target", (target,))
        return int(rows[0]["blocked_at"]) if rows else 0

    async def contacts_of(self, user: str) -> Mapping[str, Contact]:
        """See core.action.View."""

        async def load() -> dict[str, Contact]:
            mine = await self._relational.rows("contacts", {"user": user})
            return contacts(mine, await self._relational.rows("contacts", {"peer": user}))

        return await self._cached(("contacts_of", user), load)

    async def device(self, user: str, device: str) -> DeviceView:
        """See core.action.View."""
        rows = await self._relational.some("devices", {"user": user}, "device", (device,))
        return registers.device_view(rows[0]) if rows else DeviceView(device, "", "", "", {})

    async def devices_of(self, user: str) -> list[DeviceView]:
        """See core.action.View."""
        scan = Scan("push_at", limits.PAGE_MAX, newest_first=True)
        found = map(registers.device_view, await self._relational.page("devices", {"user": user}, scan))
        return [one for one in found if one.provider]

    async def push_owner(self, token: str) -> tuple[tuple[str, str], int]:
        """See core.action.View."""
        rows = await self._relational.rows("push_tokens", {"token": token})
        return (tuple(rows[0]["owner"]), rows[0]["owner_at"]) if rows else (("", ""), 0)

    async def file(self, sha256: str, user: str) -> FileView | None:
        """See core.action.View."""
        rows = await self._relational.some("files", {"sha256": sha256}, "user", (user,))
        return registers.file_view(rows[0]) if rows else None

    async def scheduled(self, user: str, scheduled: str) -> Scheduled | None:
        """See core.action.View. Part of one may be here before what made it."""
        rows = await self._relational.some("scheduled", {"user": user}, "scheduled", (scheduled,))
        return registers.scheduled(rows[0]) if rows and rows[0]["made"] else None

    async def scheduled_of(self, user: str) -> list[Scheduled]:
        """See core.action.View."""
        rows = await self._relational.page("scheduled", {"user": user, "gone": 0}, Scan("at_ms", limits.PAGE_MAX))
        return [registers.scheduled(row) for row in rows if row["made"]]

    async def due(self, home: str, now_ms: int, limit: int) -> list[Scheduled]:
        """Messages that this datacenter is to send by now, the first that is due first; `home` "": that any is."""
        where: dict[str, Any] = {"home": home, "done": 0} if home else {"done": 0}
        rows = await self._relational.page("scheduled", where, Scan("at_ms", limit, beyond=0))
        return [registers.scheduled(row) for row in rows if row["at_ms"] <= now_ms]

    async def handle(self, handle: str) -> Sequence[HandleRow]:
        """See core.action.View."""

        async def load() -> tuple[HandleRow, ...]:
            rows = await self._relational.rows("handles", {"handle": handle})
            return tuple(HandleRow(row["event"], row["user"], row["kind"]) for row in rows)

        return await self._cached(("handle", handle), load)

    async def handles_of(self, user: str) -> list[str]:
        """See core.action.View. Looked for among what he wrote last: each claim gives up the one before."""
        scan = Scan("event", limits.PAGE_MAX, newest_first=True)
        rows = await self._relational.page("handles", {"user": user}, scan)
        names = dict.fromkeys(row["handle"] for row in rows if row["kind"] == "claim")
        return [name for name in names if holder_of(await self.handle(name)).user == user]

    async def read_mark(self, user: str, conversation: str) -> dict[int, int]:
        """lane -> greatest id read."""
        return await self._mark("read_marks", user, conversation)

    async def clear_mark(self, user: str, conversation: str) -> dict[int, int]:
        """lane -> greatest id cleared."""
        return await self._mark("clear_marks", user, conversation)

    async def _mark(self, table: str, user: str, conversation: str) -> dict[int, int]:
        async def load() -> dict[int, int]:
            rows = await self._relational.rows(table, {"user": user, "conversation": conversation})
            return {row["lane"]: row["mark"] for row in rows}

        return await self._cached((table, user, conversation), load)


def _unset(user: str, conversation: str) -> DialogView:
    return DialogView(user, conversation, "", 0, False, {"pin": 0, "muted_until_ms": 0, "unread": 0})
