"""`POST /v1/updates`: everything that a client has not had yet, from wherever it comes.

Same DC and epoch: each list is read on from the cursor's position. Otherwise the lists are searched for the updates
whose event lies beyond the cursor's V. V is read before the lists, and pages keep the old V until all is drained:
what is applied during the search, or arrives late on a slow lane, is still beyond it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pydantic

from api import answers
from api.calls import Call
from api.cursors import Cursor, Cursors
from api.operations import Read
from api.position import At, ahead
from api.queries.paging import LIMIT_DEFAULT, CursorText, Limit
from api.queries.standpoint import Standpoint, concerns
from core import coverage, limits
from core.action import Request
from core.actions.fields import MessageId
from core.errors import Invalid, NotServing
from core.ids import lane_of
from core.membership import Membership
from stores.ports import HotStore
from stores.render import Entry, decode, render_all
from stores.view import StoreView


class UpdatesRequest(Request):
    cursor: CursorText | None = None
    at: At | None = None
    kept: list[MessageId] = pydantic.Field(
        default_factory=list,
        max_length=limits.KEPT_MAX,
        description="Acknowledged events that the client still keeps; `uncovered` names those not applied here",
    )
    limit: Limit = LIMIT_DEFAULT


class StateRequest(Request):
    pass


class _List(NamedTuple):
    """One list to read: the user's own, or a supergroup's."""

    owner: str
    channel: bool
    after: int
    beyond: bool
    """Only what lies beyond V counts."""
    former: Membership | None
    """A former member sees nothing that came after the event that ended his membership."""


class _Found(NamedTuple):
    list: _List
    pts: int
    entry: Entry


class _Trimmed(Exception):
    """Something that this client has not had is gone from a list."""


class _Page:
    """What one answer collects, with the bounds on it."""

    def __init__(self, limit: int) -> None:
        self.found: list[_Found] = []
        self.room = limit
        self.looks = limits.SCAN_ENTRIES_MAX

    @property
    def full(self) -> bool:
        return self.room <= 0 or self.looks <= 0


class Updates:
    def __init__(self, view: StoreView, hot: HotStore, cursors: Cursors, standpoint: Standpoint) -> None:
        self._view = view
        self._hot = hot
        self._cursors = cursors
        self._standpoint = standpoint

    def reads(self) -> list[Read]:
        return [
            Read(
                "updates.list",
                "POST",
                "/v1/updates",
                "Everything after my cursor",
                "Nothing is missed and some may come twice, also after a change of datacenter: drop what shows a thing "
                "as it was shown last, a message being known by its `class`. Take the new cursor whole. A page ends "
                f"early, with `more`, with the update that brings it to {limits.UPDATES_BYTES_MAX:,} bytes. `reset` "
                "says that something was trimmed beyond your cursor: begin again from GET /v1/dialogs.",
                self.updates,
                answers.Updates,
                UpdatesRequest,
                errors=(Invalid, NotServing),
                example={"cursor": "PC1.…", "limit": 50},
            ),
            Read(
                "state.get",
                "GET",
                "/v1/state",
                "A cursor at the present",
                "Take it before you load anything else: it covers what you load afterwards; updates bring the rest.",
                self.state,
                answers.State,
                StateRequest,
                errors=(NotServing,),
            ),
        ]

    async def state(self, call: Call, _: StateRequest) -> dict[str, Any]:
        cursor = await self._standpoint.present(call.caller.user)
        return {"user": call.caller.user, **self._cursors.shown(cursor)}

    async def updates(self, call: Call, request: UpdatesRequest) -> dict[str, Any]:
        user = call.caller.user
        v = self._standpoint.v()
        uncovered = [str(id) for id in coverage.uncovered(v, map(int, request.kept))]
        if request.cursor is None:
            return await self._reset(user, uncovered)
        old = self._cursors.open(request.cursor, user)
        epoch = self._standpoint.epoch()
        channels = await self._standpoint.channels(user, old.v)
        lists = self._lists(ahead(old, request.at), epoch, channels)
        page = _Page(request.limit)
        positions: dict[str, int] = {}
        undrained: set[str] = set()
        try:
            newest = await self._hot.pts([one.owner for one in lists])
            for one, pts in zip(lists, newest, strict=True):
                reached, drained = await self._read(one, pts, old, page)
                positions[one.owner] = reached
                if not drained:
                    undrained.add(one.owner)
        except _Trimmed:
            return await self._reset(user, uncovered)
        if self._standpoint.epoch() != epoch:
            raise NotServing("hot state was just rebuilt; try again")
        shown = await self._shown(user, page.found)
        for left in reversed(page.found[len(shown) :]):  # no room for them: their lists are read on from there
            positions[left.list.owner] = left.pts - 1
            undrained.add(left.list.owner)
        reached_v = old.v if undrained else v
        fresh = Cursor(
            user,
            self._standpoint.dc,
            epoch,
            positions.pop(user),
            reached_v,
            {chat: pts for chat, pts in positions.items() if concerns(channels[chat], reached_v)},
            tuple(one.owner for one in lists if one.beyond and one.owner in undrained),
        )
        if undrained and not self._cursors.holds(fresh):
            return await self._reset(user, uncovered)
        return {
            "updates": shown,
            **self._cursors.shown(fresh),
            "more": bool(undrained),
            "reset": False,
            "uncovered": uncovered,
        }

    async def _reset(self, user: str, uncovered: list[str]) -> dict[str, Any]:
        cursor = await self._standpoint.present(user)
        return {
            "updates": [],
            **self._cursors.shown(cursor),
            "more": False,
            "reset": True,
            "uncovered": uncovered,
        }

    def _lists(self, old: Cursor, epoch: int, channels: Mapping[str, Membership]) -> list[_List]:
        here = old.dc == self._standpoint.dc and old.epoch == epoch
        scan = set(old.scan)
        found = [_List(old.user, False, old.pts if here else 0, not here or old.user in scan, None)]
        for chat, membership in channels.items():
            known = here and chat in old.channels
            found.append(
                _List(
                    chat,
                    True,
                    old.channels[chat] if known else 0,
                    not known or chat in scan,
                    None if membership.present else membership,
                )
            )
        return found

    async def _read(self, one: _List, newest: int, old: Cursor, page: _Page) -> tuple[int, bool]:
        """Collects from one list; the position reached, and whether the list is drained.

        The entries are read before what was trimmed, so that a trim in between can't hide a gap.
        """
        after = one.after
        if one.beyond and after == 0:
            await self._check_trimmed(one, old)
        while after < newest:
            if page.full:
                return after, False
            chunk = await self._hot.updates(one.owner, after, min(limits.PAGE_MAX, page.looks))
            first = chunk.first if chunk.entries else chunk.pts + 1
            if first > after + 1:
                await self._check_gap(one, old)
                after = first - 1
            for pts, raw in enumerate(chunk.entries, first):
                if page.room <= 0:
                    return after, False
                after = pts
                page.looks -= 1
                entry = decode(raw)
                if self._counts(one, entry.event, old.v):
                    page.found.append(_Found(one, pts, entry))
                    page.room -= 1
            if not chunk.entries:
                break
        return after, True

    @staticmethod
    def _counts(one: _List, event: int, v: Mapping[int, int]) -> bool:
        if one.former is not None and one.former.ended_before(event):
            return False
        return not one.beyond or event > v.get(lane_of(event), 0)

    async def _check_trimmed(self, one: _List, old: Cursor) -> None:
        """Raises _Trimmed if an entry that this client has not had and may see was trimmed from the list."""
        for lane, id in (await self._hot.trimmed(one.owner)).items():
            seen = old.v.get(lane, 0)
            if id > seen and (one.former is None or seen < one.former.seen.get(lane, 0)):
                raise _Trimmed

    async def _check_gap(self, one: _List, old: Cursor) -> None:
        """Entries after the cursor's own position are gone: for a member nothing makes up for that."""
        if not one.beyond and one.former is None:
            raise _Trimmed
        await self._check_trimmed(one, old)

    async def _shown(self, user: str, found: Sequence[_Found]) -> list[dict[str, Any]]:
        """The first of them, as many as UPDATES_BYTES_MAX has room for, and the one that exceeds it."""
        shown: list[dict[str, Any]] = []
        room = limits.UPDATES_BYTES_MAX
        for begin in range(0, len(found), limits.READ_TOGETHER):
            part = found[begin : begin + limits.READ_TOGETHER]
            rendered = await render_all(self._view, [one.entry for one in part], user)
            for one, update in zip(part, rendered, strict=True):
                place = {"pts": one.pts, "channel": one.list.owner} if one.list.channel else {"pts": one.pts}
                shown.append(place | {"update": update})
                room -= len(msgspec.json.encode(update))
                if room <= 0:
                    return shown
        return shown
