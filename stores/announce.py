"""Tells the brokers of this DC what was applied: one frame per batch, each update encoded once.

A frame is msgpack `[deliveries, updates, revoked]`: a delivery is `[owner, pts, index into updates]`, or
`[owner, newest pts, nil]` where the client has to fetch; updates are JSON; `revoked` names sessions that ended.
Frames may be lost: clients notice by pts.
"""

import logging
from collections.abc import Collection, Mapping, Sequence

import msgspec

from core.errors import PlanBError
from core.messages import Message, fold
from stores import render
from stores.feeding import Feeds
from stores.plan import Planned
from stores.ports import HotStore
from stores.view import StoreView

log = logging.getLogger(__name__)
_json = msgspec.json.Encoder()
_frame = msgspec.msgpack.Encoder()

PERSONAL = ("dialog",)
"""Update types whose rendering depends on who looks."""


class Announcer:
    """Renders a batch's updates and announces them."""

    def __init__(self, hot: HotStore, view: StoreView, own_lanes: Collection[int]) -> None:
        self._hot = hot
        self._view = view
        self._own_lanes = own_lanes
        self.failed = 0
        """Frames that could not be announced; clients fetch what they held."""

    async def announce(self, planned: Sequence[Planned], feeds: Feeds, pts: Mapping[str, int]) -> None:
        """Never raises for a bad day of the hot store: what is announced is a hint."""
        if not pts:
            return
        try:
            frame = await self._build(planned, feeds, pts)
            await self._hot.announce(frame)
        except PlanBError as error:
            self.failed += 1
            log.warning("updates were not announced: %s", error)

    async def _build(self, planned: Sequence[Planned], feeds: Feeds, pts: Mapping[str, int]) -> bytes:
        back_fed = {feed.owner for feed in feeds.back_feeds}
        count: dict[str, int] = {}
        for feed in feeds.feeds:
            count[feed.owner] = count.get(feed.owner, 0) + 1
        at = {owner: pts[owner] - n for owner, n in count.items() if owner in pts}
        index: dict[tuple[str, bytes], int] = {}
        entries: list[tuple[render.Entry, str]] = []
        deliveries: list[tuple[str, int, int | None]] = []
        for feed in feeds.feeds:
            if feed.owner in back_fed or feed.owner not in at:
                continue
            at[feed.owner] += 1
            entry = render.decode(feed.entry)
            key = (feed.owner if entry.type in PERSONAL else "", feed.entry)
            if key not in index:
                index[key] = len(entries)
                entries.append((entry, feed.owner))
            deliveries.append((feed.owner, at[feed.owner], index[key]))
        deliveries.extend((owner, pts[owner], None) for owner in back_fed if owner in pts)
        updates = await self._render(planned, entries)
        revoked = [
            str(effect.key[0])
            for item in planned
            for effect in item.effects
            if effect.table == "sessions" and effect.columns.get("revoked")
        ]
        return _frame.encode((deliveries, updates, revoked))

    async def _render(self, planned: Sequence[Planned], entries: Sequence[tuple[render.Entry, str]]) -> list[bytes]:
        known = self._just_sent(planned)
        shared = [entry for entry, _ in entries if entry.type not in PERSONAL]
        rendered = iter(await render.render_all(self._view, shared, "", known))
        updates = []
        for entry, owner in entries:
            if entry.type in PERSONAL:
                updates.append(_json.encode((await render.render_all(self._view, [entry], owner))[0]))
            else:
                updates.append(_json.encode(next(rendered)))
        return updates

    def _just_sent(self, planned: Sequence[Planned]) -> dict[int, Message]:
        """Messages whose only row is the one in this batch, so that they need not be read.

        True of what was accepted by a lane of this DC a moment ago: nobody can have acted on it, and a copy from
        elsewhere would have answered for its key. Anything else is read from the store.
        """
        sends = {}
        touched = set()
        for item in planned:
            for row in item.rows:
                if row.kind == "send" and item.entry.lane in self._own_lanes:
                    sends[row.message] = row
                else:
                    touched.add(row.message)
        found = {}
        for id, row in sends.items():
            message = fold([row]) if id not in touched else None
            if message is not None:
                found[id] = message
        return found
