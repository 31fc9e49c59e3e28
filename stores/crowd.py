"""Who is in a supergroup, of which there may be very many, read in parts: never all of them."""

from collections.abc import AsyncIterator, Collection
from typing import NamedTuple

from core import limits
from core.membership import Membership
from stores import registers
from stores.ports import RelationalStore, Scan

MEMBER_TABLES = ("member_adds", "member_left", "member_kicked", "member_seen", "members")
_ADDS = 32
"""Adds that are looked at in one go for who has been in it longest."""
_SPARE = 8
"""Members that are looked at beyond those there is room for: some have usually gone."""


class Heir(NamedTuple):
    user: str
    """ "" where nobody is in it."""
    over: int
    """No add up to this id holds any more, of those that are here."""


async def registers_of(relational: RelationalStore, chat: str, users: Collection[str]) -> dict[str, Membership]:
    """Of these, if they are or were in it."""
    if not users:
        return {}
    adds, left, kicked, seen, members = [
        await relational.some(table, {"chat": chat}, "user", users) for table in MEMBER_TABLES
    ]
    return registers.memberships(adds, left, kicked, seen, members, "user")


async def heir_of(relational: RelationalStore, chat: str, over: int) -> Heir:
    """As core.ownership.owner_of, for an owner who is no member. `over`: that of an earlier answer; an add that holds
    no more never does again, so those are looked at once."""
    admin = await _admin_of(relational, chat)
    return Heir(admin, over) if admin else await _longest_standing(relational, chat, over)


async def _admin_of(relational: RelationalStore, chat: str) -> str:
    found = [(its.joined_at, user) async for user, its in _admins(relational, chat)]
    return min(found)[1] if found else ""


async def admins_of(relational: RelationalStore, chat: str, most: int) -> list[str]:
    """The first of its admins by user id."""
    found: list[str] = []
    async for user, _ in _admins(relational, chat):
        found.append(user)
        if len(found) == most:
            break
    return found


async def _admins(relational: RelationalStore, chat: str) -> AsyncIterator[tuple[str, Membership]]:
    after: str | None = None
    where = {"chat": chat, "role": "admin"}
    while rows := await relational.page("members", where, Scan("user", limits.PAGE_MAX, beyond=after)):
        after = rows[-1]["user"]
        for user, its in sorted((await registers_of(relational, chat, [row["user"] for row in rows])).items()):
            if its.present and its.valid_role == "admin":
                yield user, its


async def _longest_standing(relational: RelationalStore, chat: str, over: int) -> Heir:
    """Of the adds by their ids, the first that still holds."""
    size = _ADDS
    while True:
        rows = await relational.page("member_adds", {"chat": chat}, Scan("knew_at", size, beyond=over))
        found = await registers_of(relational, chat, {row["user"] for row in rows})
        for row in rows:
            if any(add.id == row["knew_at"] for add in found[row["user"]].live_adds()):
                return Heir(str(row["user"]), over)
        if len(rows) < size:
            return Heir("", over)
        if rows[0]["knew_at"] == rows[-1]["knew_at"]:  # one event adds many
            size *= 2
        else:
            over = rows[-1]["knew_at"] - 1  # the rest of the last one's may be on the next page


async def page_of(
    relational: RelationalStore, chat: str, after: str, limit: int
) -> tuple[dict[str, Membership], str | None]:
    """Its members whose ids come after `after`, by id; and where to go on, if there may be more. Fewer than `limit`
    where very many have gone."""
    found: dict[str, Membership] = {}
    looks = limits.SCAN_MEMBERS_MAX
    while len(found) < limit and looks > 0:
        size = min(limits.PAGE_MAX, limit - len(found) + _SPARE)
        rows = await relational.page("member_adds", {"chat": chat}, Scan("user", size, beyond=after))
        looks -= size
        for user, its in sorted((await registers_of(relational, chat, {row["user"] for row in rows})).items()):
            if len(found) == limit:
                return found, after
            after = user
            if its.present:
                found[user] = its
        if len(rows) < size:
            return found, None
    return found, after
