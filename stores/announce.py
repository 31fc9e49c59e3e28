"""Tells the brokers of this DC what was applied: one frame per batch, each update encoded once.

A frame is msgpack `[deliveries, updates, revoked]`: a delivery is `[owner, pts, index into updates]`, or
`[owner, newest pts, nil]` where the client has to fetch; updates are JSON; `revoked` names sessions that ended.
Frames may be lost: clients notice by pts.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence

import msgspec

from core import limits
from core.errors import PlanBError
from core.messages import Row
from stores import render
from stores.feeding import Feeds
from stores.plan import Planned
from stores.view import StoreView

log = logging.getLogger(__name__)
_json = msgspec.json.Encoder()
_frame = msgspec.msgpack.Encoder()

PERSONAL = ("dialog", "contact")
"""Update types whose rendering depends on who looks."""

Heard = Callable[[str], bool]
"""Whether a broker of this DC has anybody for an owner's updates."""
Announce = Callable[[bytes], Awaitable[None]]
"""As HotStore.announce."""


class Announcer:
    """Renders a batch's updates and announces them."""

    def __init__(self, announce: Announce, view: StoreView, own_lanes: Container[int], heard: Heard) -> None:
        self._announce = announce
        self._heard = heard
        self._view = view
        self._own_lanes = own_lanes
        self._seen: OrderedDict[int, None] = OrderedDict()
        """Of what was applied lately: the classes of messages sent, and the messages acted on."""
        self.failed = 0
        """Frames that could not be announced; clients fetch what they held."""

    async def announce(self, planned: Sequence[Planned], feeds: Feeds, pts: Mapping[str, int]) -> None:
        """Never raises for a bad day of the hot store: what is announced is a hint."""
        sent = self._just_sent(planned)
        if not pts:
            return
        try:
            frame = await self._build(planned, sent, feeds, pts)
            if frame is not None:
                await self._announce(frame)
        except PlanBError as error:
            self.failed += 1
            log.warning("updates were not announced: %s", error)

    async def _build(
        self, planned: Sequence[Planned], sent: Mapping[int, Row], feeds: Feeds, pts: Mapping[str, int]
    ) -> bytes | None:
        """None where nobody would hear anything of it."""
        back_fed = {feed.owner for feed in feeds.back_feeds}
        heard = self._heard
        # Asked once the store has the batch: whoever comes later sees it there.
        at = {owner: newest for owner, newest in pts.items() if owner not in back_fed and heard(owner)}
        for feed in feeds.feeds:
            if feed.owner in at:
                at[feed.owner] -= 1
        former = await self._former(planned, sent)
        updates = _Updates()
        deliveries: list[tuple[str, int, int | None]] = []
        for feed in feeds.feeds:
            owner = feed.owner
            if owner in at:
                at[owner] += 1
                fetch = feed.event in former and owner in former[feed.event]
                deliveries.append((owner, at[owner], None if fetch else updates.place(owner, feed.entry)))
        deliveries.extend((owner, pts[owner], None) for owner in back_fed if owner in pts)
        revoked = [
            str(effect.key[0])
            for item in planned
            for effect in item.effects
            if effect.table == "sessions" and effect.columns.get("revoked")
        ]
        if not (deliveries or revoked):
            return None
        return _frame.encode((deliveries, await self._render(updates, sent), revoked))

    async def _former(self, planned: Sequence[Planned], sent: Mapping[int, Row]) -> dict[int, set[str]]:
        """event -> who is named by it and no longer in its group: they have to fetch, and are shown what there was at
        their end. The one rendering for all shows what came after it as well."""
        found: dict[int, set[str]] = {}
        for item in planned:
            chat = item.audience.conversation
            row = sent.get(item.event.id)
            if chat is None or (row is not None and not row.body.get("system")):
                continue
            present = (await self._view.roll(chat)).present
            told = {str(touch.ref[1]) for touch in item.touches if touch.type == "member"}  # who hears of his end
            absent = [user for user in item.audience.users if user not in present and user not in told]
            gone = {user for user in absent if (await self._view.membership(chat, user)).former}
            if gone:
                found[item.event.id] = gone
        return found

    async def _render(self, updates: "_Updates", sent: Mapping[int, Row]) -> list[bytes]:
        """What was just sent is shown from its row; everything else in its present state."""
        rest = [entry for entry, owner in updates.entries if not owner and entry.message() not in sent]
        shown = iter(await render.render_all(self._view, rest, "") if rest else ())
        found = []
        for entry, owner in updates.entries:
            row = sent.get(entry.message() or 0)
            if owner:
                one = (await render.render_all(self._view, [entry], owner))[0]
            elif row is not None:
                one = render.just_sent(entry, row)
            else:
                one = next(shown)
            found.append(_json.encode(one))
        return found

    def _just_sent(self, planned: Sequence[Planned]) -> dict[int, Row]:
        """Messages whose only row is the one in this batch, so that they need not be read.

        True of what was accepted by a lane of this DC a moment ago, unless a copy from elsewhere came between the look
        for its key and its turn here, or another DC read it from the log and acted on it sooner.
        """
        seen = self._seen
        found: dict[int, Row] = {}
        for item in planned:
            for row in item.rows:
                if row.kind != "send":
                    found.pop(row.message, None)
                    seen[row.message] = None
                    continue
                class_ = row.class_
                if class_ in seen:
                    found = {id: one for id, one in found.items() if one.class_ != class_}
                elif item.entry.lane in self._own_lanes and row.message not in seen:
                    found[row.message] = row
                seen[class_] = None
        while len(seen) > limits.ANNOUNCED_KEPT_MAX:
            seen.popitem(last=False)
        return found


class _Updates:
    """The updates of a frame, each once: one for all of its owners, or one per owner where it depends on who looks."""

    def __init__(self) -> None:
        self.entries: list[tuple[render.Entry, str]] = []
        """With the owner, "" for what looks the same to everybody."""
        self._shared: dict[bytes, int] = {}
        self._personal: dict[tuple[str, bytes], int] = {}

    def place(self, owner: str, entry: bytes) -> int:
        """Its place in the frame."""
        at = self._shared.get(entry)
        if at is None:
            at = self._personal.get((owner, entry))
        if at is None:
            at = len(self.entries)
            decoded = render.decode(entry)
            if decoded.type in PERSONAL:
                self._personal[owner, entry] = at
                self.entries.append((decoded, owner))
            else:
                self._shared[entry] = at
                self.entries.append((decoded, ""))
        return at
