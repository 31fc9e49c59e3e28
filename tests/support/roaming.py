"""A client that moves between DCs: the cursor protocol of `POST /v1/updates`, on the mesh. And its broken variants."""

from collections.abc import Callable
from enum import Enum

from core.access import may_read
from core.coverage import uncovered
from core.ids import Lane, lane_of, time_ms_of
from core.membership import Membership
from tests.support.mesh import Dc
from tests.support.view import members_of, message_of

MARGIN_MS = 500


class Rule(Enum):
    """How a client and its DC agree on what is missing."""

    PER_LANE = "production: V per lane, read before the updates, taken whole, kept over pages"
    PER_DC = "planted: one watermark per DC"
    MAX_ID = "planted: the greatest id"
    MARGIN = "planted: the greatest id, less a margin of time"
    PTS_ONLY = "planted: pts carried over to another DC"
    V_AFTER = "planted: V read after the updates"
    V_PER_PAGE = "planted: every page takes the present V"
    EPOCHLESS = "planted: a hot store that lost its end keeps its epoch"
    MERGED = "planted: the new V merged into the old one"


class Client:
    """`got` is what it has received: event ids of updates, and messages that it loaded with a dialog."""

    def __init__(self, user: str, rule: Rule = Rule.PER_LANE) -> None:
        self.user = user
        self.rule = rule
        self.got: set[int] = set()
        self.doubles = 0
        self._dc = ""
        self._epoch = 0
        self._pts = 0
        self._v: dict[int, int] = {}
        self._scanning = False

    def sync(self, dc: Dc, page: int | None = None, between: Callable[[], object] = lambda: None) -> set[int]:
        """One page of updates at a DC; the event ids received. `between` happens while the DC answers."""
        v = dict(dc.v)
        same = self._dc == dc.name and (self._epoch == dc.epoch or self.rule is Rule.EPOCHLESS)
        if self.rule is Rule.PTS_ONLY:
            same = True
        after = self._pts if same else 0
        entries = [update.event for update in dc.updates.get(self.user, [])[after:]]
        size = len(entries) if page is None else min(page, len(entries))
        drained = size == len(entries)
        searched = not same or self._scanning
        fresh = set(self._beyond(entries[:size])) if searched else set(entries[:size])
        self.doubles += len(fresh & self.got)
        self.got |= fresh
        between()
        if self.rule is Rule.V_AFTER:
            v = dict(dc.v)
        self._dc, self._epoch, self._pts = dc.name, dc.epoch, after + size
        self._scanning = searched and not drained
        if drained or self.rule is Rule.V_PER_PAGE:
            merged = {lane: max(id, v.get(lane, 0)) for lane, id in self._v.items()}
            self._v = v | merged if self.rule is Rule.MERGED else v
        return fresh

    def load(self, dc: Dc, chat: str) -> None:
        """Loads a dialog: whatever of it may be read at this DC."""
        rows = dc.state.message_rows()
        membership = members_of(dc.state, chat).get(self.user, Membership())
        for row in rows:
            if row.kind == "send" and row.conversation == chat:
                message = message_of(rows, row.message)
                assert message is not None, "its send is among the rows"
                if may_read(message, self.user, membership, "group"):
                    self.got.add(row.message)

    def _beyond(self, entries: list[int]) -> list[int]:
        top = max(self.got, default=0)
        if self.rule is Rule.PER_DC:
            tops: dict[int, int] = {}
            for lane, id in self._v.items():
                tops[Lane.of(lane).dc] = max(tops.get(Lane.of(lane).dc, 0), id)
            return [id for id in entries if id > tops.get(Lane.of(lane_of(id)).dc, 0)]
        if self.rule is Rule.MAX_ID:
            return [id for id in entries if id > top]
        if self.rule is Rule.MARGIN:
            return [id for id in entries if not top or time_ms_of(id) > time_ms_of(top) - MARGIN_MS]
        return uncovered(self._v, entries)
