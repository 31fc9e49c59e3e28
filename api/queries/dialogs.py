"""`GET /v1/dialogs`: the conversations of a user, pinned first, then by their newest message.

Everything an entry shows is read after the cursor of the answer was taken, so the cursor covers no more than is shown.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from api import answers
from api.calls import Call
from api.cursors import Cursors
from api.decoding import refused
from api.operations import Read
from api.queries.paging import LIMIT_DEFAULT, AfterText, Limit
from api.queries.standpoint import Standpoint
from api.queries.visible import Reader
from api.signing import Signer
from core import ids, limits
from core.access import kind_of
from core.action import DialogView, Request
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
                "from, or that were dissolved, stay. Unread is derived from messages beyond the read mark.",
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
        settings = await self._view.dialogs_of(user)
        pinned = [one.conversation for one in _pinned(settings.values())]
        supergroups = [chat for chat in memberships if chat.startswith("C") and memberships[chat].present]
        after = (place.top, place.conversation) if place else None
        listed = await self._hot.dialogs(user, supergroups, pinned, after, request.limit)
        listed = _with_former(listed, memberships, pinned, after)[: request.limit]
        last = listed[-1] if len(listed) == request.limit else None
        if place is None and pinned:
            tops = await self._hot.tops(user, pinned)
            listed = [*zip(pinned, tops, strict=True), *listed]
        if last is None:
            listed += await self._muted(user, settings.values(), pinned)
        return {
            "dialogs": await self._entries(user, listed, memberships),
            "after": self._seal(user, last) if last else None,
            **self._cursors.shown(cursor),
        }

    async def _muted(self, user: str, settings: Iterable[DialogView], pinned: Sequence[str]) -> list[tuple[str, int]]:
        """Dialogs that are muted although nothing was written yet, at the end of the list: with them it shows all
        settings, so a client that loads it knows them before the first message comes."""
        muted = sorted(one.conversation for one in settings if one.muted_until_ms and one.conversation not in pinned)
        tops = await self._hot.tops(user, muted) if muted else []
        return [(name, 0) for name, top in zip(muted, tops, strict=True) if not top][: limits.PAGE_MAX]

    async def _entries(
        self, user: str, listed: Sequence[tuple[str, int]], memberships: dict[str, Membership]
    ) -> list[dict[str, Any]]:
        messages = await self._view.messages([top for _, top in listed if top])
        unread = await self._hot.unread(
            user, [(name, memberships.get(name, Membership()).joined_at) for name, _ in listed]
        )
        return [
            await self._entry(user, name, top, messages.get(top), count, memberships.get(name, Membership()))
            for (name, top), count in zip(listed, unread, strict=True)
        ]

    async def _entry(
        self, user: str, name: str, top: int, message: Message | None, unread: Unread, membership: Membership
    ) -> dict[str, Any]:
        reader = await Reader.of(self._view, user, name)
        kind = kind_of(name)
        present = kind == "direct" or membership.present
        if message is None or not reader.shows(message) or not present:
            # The top may be a membership event, or not for this user's eyes: show the last that is. What a former
            # member was given before his end depends on what came here first; what he may read does not.
            older = (await reader.before(top if present else ids.ID_MAX, 1)).messages if top else []
            message = older[0] if older else None
        return {
            **await render.dialog(self._view, user, name),
            "kind": kind,
            "peer": await self._peer(user, name, kind, membership),
            "present": present,
            "top": message.shown() if message else None,
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

    def _seal(self, user: str, last: tuple[str, int]) -> str:
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


def _with_former(
    listed: Sequence[tuple[str, int]],
    memberships: Mapping[str, Membership],
    pinned: Sequence[str],
    after: tuple[int, str] | None,
) -> list[tuple[str, int]]:
    """With the supergroups that he is no longer in, where his end was: their tops go on without him."""
    former = [
        (chat, max(membership.seen.values(), default=0))
        for chat, membership in memberships.items()
        if chat.startswith("C") and membership.former and chat not in pinned
    ]
    here = [one for one in former if after is None or _order(one) > (-after[0], after[1])]
    return sorted([*listed, *here], key=_order)


def _order(one: tuple[str, int]) -> tuple[int, str]:
    """The newest top first, ties by conversation."""
    return (-one[1], one[0])


def _pinned(settings: Iterable[DialogView]) -> list[DialogView]:
    """By rank, then by id: two dialogs may have taken one rank in two datacenters. All of them come on the first page,
    so beyond a page's worth the rest is listed as if it was not pinned."""
    pinned = sorted((one for one in settings if one.pin), key=lambda one: (one.pin, one.conversation))
    return pinned[: limits.PAGE_MAX]
