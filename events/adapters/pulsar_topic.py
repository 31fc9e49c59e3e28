"""A lane's topic, read: its end, its beginning, and pages of it."""

from collections import OrderedDict
from typing import NamedTuple

from core.errors import Corrupt
from core.limits import PULSAR_END_MESSAGES, PULSAR_READERS_MAX, PULSAR_SEARCH_MESSAGES
from events.adapters.pulsar_admin import Admin
from events.adapters.pulsar_frame import NEW, Frame, State, decode_frame
from events.adapters.pulsar_parts import Scan
from events.adapters.pulsar_places import Place, Places
from events.adapters.pulsar_wire import Wire
from events.ports import Trimmed
from events.record import Record


class Head(NamedTuple):
    """A message that was read, without its records."""

    place: Place
    state: State
    first: int


class Page:
    """A reader that stands somewhere in a lane."""

    def __init__(self, lane: int, scan: Scan) -> None:
        self.scan = scan
        self.next = 0
        """The seq that it gives next."""
        self._lane = lane
        self._term = 0
        self._left: list[Record] = []

    def read(self, after: int, upto: int) -> tuple[list[Record], list[Head]]:
        """Blocks. The records after `after` up to `upto`, which the topic must have: dense; the first one may be a
        later one where those before are gone. And the groups that were read."""
        heads: list[Head] = []
        found = [record for record in self._left if record.seq > after]
        while not found or found[-1].seq < upto:
            place, data = self.scan.next()
            frame = decode_frame(self._lane, data)
            if frame.state.term < self._term:
                continue  # of a former owner
            self._term = frame.state.term
            if frame.first:
                heads.append(Head(place, frame.state, frame.first))
                self._append(found, frame, after)
        last = next((at for at, record in enumerate(found) if record.seq > upto), len(found))
        self._left = found[last:]
        self.next = upto + 1
        return found[:last], heads

    def _append(self, found: list[Record], frame: Frame, after: int) -> None:
        end = found[-1].seq if found else after
        fresh = [record for record in frame.records() if record.seq > end]
        if fresh and found and fresh[0].seq != end + 1:
            raise Corrupt(f"lane {self._lane} has a gap in its topic: seq {fresh[0].seq} after {end}")
        found += fresh


class Pages:
    """Readers that stay open for whoever reads on; beyond the bound the one that was used longest ago is closed."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._open: OrderedDict[tuple[int, int], Page] = OrderedDict()
        """(lane, next seq) -> its reader."""

    def take(self, lane: int, seq: int) -> Page | None:
        return self._open.pop((lane, seq), None)

    def put(self, lane: int, page: Page) -> None:
        old = self._open.pop((lane, page.next), None)
        self._open[lane, page.next] = page
        if old is None and len(self._open) > PULSAR_READERS_MAX:
            _, old = self._open.popitem(last=False)
        if old is not None:
            self._wire.discard(old.scan)


class Topic:
    """One lane's. Not for two at once, but for `page`."""

    def __init__(self, wire: Wire, admin: Admin, pages: Pages, namespace: str, lane: int) -> None:
        self.lane = lane
        self.namespace = namespace
        self.name = f"lane-{lane}"
        self.url = f"persistent://{admin.tenant}/{namespace}/{self.name}"
        self.state = NEW
        self.at: Place | None = None
        """The last message that is in `state`."""
        self.first: int | None = None
        """The first seq that may be read; beyond the end where there is none. None: not looked for yet."""
        self.places = Places()
        self._wire = wire
        self._admin = admin
        self._pages = pages
        self._tail: Scan | None = None

    # -- its end

    async def read_on(self, through: Place | None = None) -> None:
        """Takes in what has come: up to the end as it is now, or through a message that is known to stand. Corrupt
        where messages are missing in between."""
        scan = self._tail
        self._tail = None  # put back when it stands where `at` says
        begun = scan is None
        if scan is None:
            start = self.at or await self._near_end()
            if start is None and through is None:
                return
            scan = await self._wire.scan(self.url, start)
        try:
            heads = await self._wire.run(self._drain, scan, through)
        except BaseException:
            self._wire.discard(scan)
            raise
        try:
            if begun and self.at is not None and (not heads or heads[0].place != self.at):
                self._begin_anew()
            for head in heads:
                self.fold(head)
        except BaseException:
            self._wire.discard(scan)
            raise
        self._tail = scan

    def _begin_anew(self) -> None:
        """The last message is gone: the log has lost its end, or another process has trimmed far beyond it."""
        self.state, self.at, self.first, self.places = NEW, None, None, Places()

    def stop_tail(self) -> None:
        """Nobody else writes from here on."""
        if self._tail is not None:
            self._wire.discard(self._tail)
            self._tail = None

    def fold(self, head: Head) -> None:
        """Takes in the next message."""
        if self.at is not None and head.place <= self.at:
            return
        if self.at is not None and head.first > self.state.top.seq + 1:
            raise Corrupt(f"lane {self.lane} has a gap in its topic: seq {head.first} after {self.state.top.seq}")
        if head.first and head.state.term >= self.state.term:
            self.places.add(head.first, head.place)
        self.state = head.state if self.at is None else self.state.then(head.state)
        self.at = head.place

    async def joined(self, before: Place, place: Place) -> None:
        """Takes in what lies behind `before`, the last message known, through `place`. Corrupt if `before` is gone: the
        log has lost its end."""
        self.stop_tail()
        scan = await self._wire.scan(self.url, before)
        self._tail = None
        try:
            heads = await self._wire.run(self._drain, scan, place)
        finally:
            self._wire.discard(scan)
        if not heads or heads[0].place != before:
            raise Corrupt(f"the log has lost the end of lane {self.lane}")
        for head in heads:
            self.fold(head)

    def _drain(self, scan: Scan, through: Place | None) -> list[Head]:
        """Blocks."""
        heads: list[Head] = []
        while (not heads or heads[-1].place < through) if through else scan.more():
            place, data = scan.next()
            frame = decode_frame(self.lane, data)
            heads.append(Head(place, frame.state, frame.first))
        return heads

    async def _near_end(self) -> Place | None:
        last = await self._admin.last(self.namespace, self.name)
        return Place(last.ledger, max(0, last.entry - PULSAR_END_MESSAGES + 1)) if last else None

    # -- its beginning

    async def begin(self) -> int:
        """The first seq that may be read; beyond the end where there is none."""
        if self.first is None:
            kept, _ = await self._admin.kept_after(self.namespace, self.name)
            self.first = await self._first_from(Place(kept.ledger, kept.entry + 1)) or self.state.top.seq + 1
        return self.first

    async def _first_from(self, place: Place) -> int:
        """The first seq of the first group that stands there or behind; 0 if there is none."""
        end = self.at
        scan = await self._wire.scan(self.url, place)

        def look() -> Head | None:
            while scan.more():
                found, data = scan.next()
                frame = decode_frame(self.lane, data)
                if frame.first:
                    return Head(found, frame.state, frame.first)
                if end is not None and found >= end:
                    break
            return None

        try:
            head = await self._wire.run(look)
        finally:
            self._wire.discard(scan)
        if head is None:
            return 0
        self.places.add(head.first, head.place)
        return head.first

    async def trim(self, through: int) -> None:
        """Forgets records with seq <= `through`. The last message stays: it tells the lane's state."""
        through = min(through, self.state.top.seq)
        if through < await self.begin():
            return
        place = await self._find(through + 1) if through < self.state.top.seq else self.at
        assert place is not None
        await self._admin.keep_from(self.namespace, self.name, place)
        self.first = through + 1
        self.places.forget(through)

    # -- pages of it

    async def page(self, after: int, limit: int) -> list[Record]:
        """As `EventLog.read`, as far as `state` goes."""
        upto = min(after + limit, self.state.top.seq)
        if upto <= after:
            return []
        first = await self.begin()
        if after + 1 < first:
            raise Trimmed(self.lane, first if first <= self.state.top.seq else 0)
        page = self._pages.take(self.lane, after + 1)
        if page is None:
            page = Page(self.lane, await self._wire.scan(self.url, await self._find(after + 1)))
        try:
            records, heads = await self._wire.run(page.read, after, upto)
        except BaseException:
            self._wire.discard(page.scan)
            raise
        for head in heads:
            if head.first >= first:
                self.places.add(head.first, head.place)
        if records[0].seq != after + 1:  # another process trimmed it meanwhile
            self._wire.discard(page.scan)
            self.first = records[0].seq
            raise Trimmed(self.lane, self.first)
        self._pages.put(self.lane, page)
        return records

    async def _find(self, seq: int) -> Place:
        """A message at or before the one with this seq, which is there; as close before it as is known or quickly
        found."""
        known = self.places.before(seq)
        if known is not None:
            return known[1]
        kept, ledgers = await self._admin.kept_after(self.namespace, self.name)
        spans = [
            (ledger, kept.entry + 1 if ledger == kept.ledger else 0, entries)
            for ledger, entries in ledgers
            if ledger >= kept.ledger
        ]
        low, high = 0, sum(max(0, end - begin) for _, begin, end in spans)
        while high - low > PULSAR_SEARCH_MESSAGES:
            middle = (low + high) // 2
            first = await self._first_from(_nth(spans, middle))
            low, high = (middle, high) if 0 < first <= seq else (low, middle)
        return _nth(spans, low)


def _nth(spans: list[tuple[int, int, int]], number: int) -> Place:
    """The message that comes after `number` others, of ledgers with (id, first entry, end)."""
    for ledger, begin, end in spans:
        size = max(0, end - begin)
        if number < size:
            return Place(ledger, begin + number)
        number -= size
    ledger, begin, _ = spans[-1]
    return Place(ledger, begin)
