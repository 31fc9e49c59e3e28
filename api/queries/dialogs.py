"""`GET /v1/dialogs`: the conversations of a user, pinned first, then by their newest message.

Everything an entry shows is read after the cursor of the answer was taken, so the cursor covers no more than is shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from api import answers
from api.calls import Call
from api.cursors import Cursors
from api.decoding import refused
from api.operations import Read
from api.queries.paging import LIMIT_DEFAULT, AfterText, Limit
from api.queries.standpoint import Standpoint
from api.queries.visible import Budget, Reader
from api.signing import Signer
from core import limits
from core.access import kind_of
from core.action import Request
from core.errors import Invalid
from core.membership import Membership
from core.messages import Message
from core.unreadable import UNREADABLE
from stores import render
from stores.ports import HotStore, Unread
from stores.view import StoreView


class DialogsRequest(Request):
    limit: Limit = LIMIT_DEFAULT
    after: AfterText | None = None


_Listed = tuple[str, int]
"""A conversation and where it stands: its top."""


class _Top(NamedTuple):
    message: Message | None
    more: bool
    """None was found as far as one may look."""


class _Place(msgspec.Struct, array_like=True):
    """The last entry of a page; pinned ones are all on the first."""

    user: str
    top: int
    conversation: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Place)


class Dialogs:
    def __init__(self, key: bytes, view: StoreView, hot: HotStore, cursors: Cursors, standpoint: Standpoint) -> None:
        self._places = Signer(key, "PD1", limits.TOKEN_CHARS_MAX)
        self._view = view
        self._hot = hot
        self._cursors = cursors
        self._standpoint = standpoint

    def reads(self) -> list[Read]:
        return [
            Read(
                "dialogs.list",
                "GET",
                "/v1/dialogs",
                "My dialogs: pinned ones first, then by the newest message",
                "State as applied in this datacenter; `cursor` was taken before it, so updates after the cursor bring "
                "whatever this answer lacks. Keep the cursor of the first page. Dialogs of chats that I was removed "
                "from, or that were dissolved, stay; those that I am out of stand where my end was, with the last "
                "message that it knew. Unread is derived from messages beyond the read mark. Where the newest messages "
                f"are cleared or hidden, older ones are looked for, {limits.SCAN_DIALOGS_MAX:,} for all dialogs of a "
                "page; then `top` is null and `top_more` true: the history tells whether there is one.",
                self.dialogs,
                answers.Dialogs,
                DialogsRequest,
                errors=(Invalid,),
            )
        ]

    async def dialogs(self, call: Call, request: DialogsRequest) -> dict[str, Any]:
        user = call.caller.user
        place = self._open(request.after, user) if request.after is not None else None
        cursor = await self._standpoint.present(user)
        memberships = await self._view.memberships_of(user)
        pinned = await self._view.pinned(user)
        listed, last = await self._listed(user, memberships, pinned, place, request.limit)
        if place is None and pinned:
            tops = await self._hot.tops(user, pinned)
            listed = [*zip(pinned, tops, strict=True), *listed]
        if last is None:
            listed += await self._set_only(user, pinned)
        return {
            "dialogs": await self._entries(user, listed, memberships),
            "after": self._seal(user, last) if last else None,
            **self._cursors.shown(cursor),
        }

    async def _listed(
        self,
        user: str,
        memberships: Mapping[str, Membership],
        pinned: Sequence[str],
        place: _Place | None,
        limit: int,
    ) -> tuple[list[_Listed], _Listed | None]:
        """The dialogs that are not pinned, and where the next page begins, if there is one.

        A chat that he is out of stands where his end was. The index has it where the last message stood that was
        written to him, which depends on who had heard of his end, and is passed over there.
        """
        out = {chat: its.end for chat, its in memberships.items() if its.former and chat not in pinned}
        supergroups = [chat for chat, its in memberships.items() if chat.startswith("C") and its.present]
        after = (place.conversation, place.top) if place else None
        there = (one for one in out.items() if after is None or _order(one) > _order(after))
        former = sorted(there, key=_order)[:limit]
        found: list[_Listed] = []
        passed = 0
        while True:
            at = (after[1], after[0]) if after else None
            chunk = await self._hot.dialogs(user, supergroups, pinned, at, limit)
            found += (one for one in chunk if one[0] not in out)
            if len(chunk) < limit:
                ended = True
                break
            after, passed = chunk[-1], passed + limit
            enough = len(found) >= limit or (len(former) >= limit and _order(former[-1]) <= _order(after))
            if enough or passed >= limits.SCAN_FORMER_MAX:
                ended = False
                break
        listed = sorted([*found, *former], key=_order)
        if not ended:  # what lies beyond has not been looked at
            assert after is not None
            listed = [one for one in listed if _order(one) <= _order(after)]
        if len(listed) >= limit:
            return listed[:limit], listed[limit - 1]
        return listed, None if ended else after

    async def _set_only(self, user: str, pinned: Sequence[str]) -> list[_Listed]:
        """Dialogs that are muted, marked as unread or drafted although nothing was written yet, at the end of the list:
        with them it shows all settings, so a client that loads it knows them before the first message comes."""
        view = self._view
        found = {*await view.muted(user), *await view.marked_unread(user), *await view.drafted(user)}
        these = sorted(found.difference(pinned))
        tops = await self._hot.tops(user, these) if these else []
        return [(name, 0) for name, top in zip(these, tops, strict=True) if not top][: limits.PAGE_MAX]

    async def _entries(
        self, user: str, listed: Sequence[_Listed], memberships: Mapping[str, Membership]
    ) -> list[dict[str, Any]]:
        of = [memberships.get(name, Membership()) for name, _ in listed]
        unread = await self._hot.unread(
            user, [(name, its.joined_at) for (name, _), its in zip(listed, of, strict=True)]
        )
        tops = await self._tops(user, listed, memberships)
        await self._view.settings(user, [name for name, _ in listed])
        return [
            await self._entry(user, name, top, count, its)
            for (name, _), top, count, its in zip(listed, tops, unread, of, strict=True)
        ]

    async def _tops(self, user: str, listed: Sequence[_Listed], memberships: Mapping[str, Membership]) -> list[_Top]:
        """Of each the newest message that he is shown. Those whose newest one is not (a membership event, one that is
        cleared or hidden, or whatever came after his end) are searched; they share what may be looked at."""
        readers = [await Reader.of(self._view, user, name) for name, _ in listed]
        newest = [0 if reader.membership.former else top for reader, (_, top) in zip(readers, listed, strict=True)]
        messages = await self._view.messages([top for top in newest if top])
        hidden = await self._view.hidden(user, {id for message in messages.values() for id in message.ids})
        found: list[_Top | None] = []
        for reader, top in zip(readers, newest, strict=True):
            message = messages.get(top)
            shown = message is not None and reader.shows(message, hidden)
            found.append(_Top(message, False) if shown or not (top or reader.membership.former) else None)
        left, searches = limits.SCAN_DIALOGS_MAX, found.count(None)
        for at, (reader, top) in enumerate(zip(readers, newest, strict=True)):
            if found[at] is None:
                budget = Budget(left // searches)
                left -= budget.looks
                page = await (reader.last_known(budget) if not top else reader.before(top, 1, budget))
                found[at] = _Top(page.messages[0] if page.messages else None, not page.messages and page.next > 0)
                left += max(0, budget.looks)
                searches -= 1
        return [one for one in found if one is not None]

    async def _entry(self, user: str, name: str, top: _Top, unread: Unread, membership: Membership) -> dict[str, Any]:
        kind = kind_of(name)
        present = kind == "direct" or membership.present
        return {
            **await render.dialog(self._view, user, name),
            "kind": kind,
            "peer": await self._peer(user, name, kind, membership),
            "present": present,
            "top": top.message.shown() if top.message else None,
            "top_more": top.more,
            # What is written after he was removed is none of a former member's business, nor is how much.
            "unread": unread.number if present else 0,
            "unread_more": unread.more if present else False,
        }

    async def _peer(self, user: str, name: str, kind: str, membership: Membership) -> dict[str, Any]:
        """{"user": profile} or {"chat": chat}."""
        if kind != "direct":
            return {"chat": await render.chat(self._view, name, membership if membership.former else None)}
        low, high = await self._view.direct(name) or (user, user)
        return {"user": await render.profile(self._view, high if low == user else low)}

    def _seal(self, user: str, last: _Listed) -> str:
        return self._places.seal(_encoder.encode(_Place(user, last[1], last[0])))

    def _open(self, text: str, user: str) -> _Place:
        payload = self._places.open(text)
        if payload is None:
            raise refused("not an `after` of this list", "after")
        try:
            place = _decoder.decode(payload)
        except UNREADABLE as error:
            raise refused("not an `after` of this version", "after") from error
        if place.user != user:
            raise refused("belongs to another user", "after")
        return place


def _order(one: _Listed) -> tuple[int, str]:
    """The newest top first, ties by conversation."""
    return (-one[1], one[0])
