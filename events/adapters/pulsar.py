"""The event log on Apache Pulsar: a topic per lane (docs/decisions/0017-lanes-on-pulsar.md).

Lanes of this DC are in the namespace `dc-N`, which Pulsar replicates one way; what other DCs' lanes hold is copied,
proven, into `copies-N`, which nobody else sees. Each message is a group commit (pulsar_frame.py), so a topic is read
and written the same whosever lane it is:

    pulsar_lane.py     who may write, and what became of what was sent
    pulsar_topic.py    the end, the beginning, pages
    pulsar_wire.py     the driver, on threads
    pulsar_parts.py    what is open of it
    pulsar_admin.py    the admin API

Broker and bookies must sync their journal (`journalSyncData=true`, the default): they do not tell us.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from core.errors import Corrupt, LaneLost, LogUnavailable, OutcomeUnknown, TooLarge
from core.ids import Lane as LaneNumber
from core.ids import earlier_lives
from core.limits import FOLLOW_LOOK_MS, LOG_TAIL_TRUST_MS, PULSAR_BACKLOG_LOOK_S, PULSAR_MESSAGE_BYTES_MAX
from events.adapters.following import Ends
from events.adapters.pulsar_admin import Admin
from events.adapters.pulsar_lane import Lane, SendFailed
from events.adapters.pulsar_topic import Pages, Topic
from events.adapters.pulsar_wire import Wire
from events.adapters.tail import Tail
from events.ports import Top
from events.record import Record, check_lane, dense_by_lane

log = logging.getLogger(__name__)

_PART_BYTES = PULSAR_MESSAGE_BYTES_MAX // 2
_RECORD_BYTES = 128
_ASKED_S_MAX = 5.0
"""Taking a lane and reading it: a broker that has just started takes its time."""


class PulsarLog:
    """An `EventLog`. Made by `connect`."""

    def __init__(
        self, url: str, admin_url: str, dc: int, *, tenant: str, token: str, connect_s: float, answer_s: float
    ) -> None:
        self._wire = Wire(url, token=token, connect_s=connect_s, answer_s=max(answer_s, _ASKED_S_MAX))
        self._admin = Admin(admin_url, tenant, token=token)
        self._dc = dc
        self._answer_s = answer_s
        self._pages = Pages(self._wire)
        self._lanes: dict[int, Lane] = {}
        """Those that this process knows of."""
        self._damaged: set[int] = set()
        """Lanes whose topics can't be read."""
        self._tail = Tail()
        self._tail_until = 0.0
        self._listed_until = 0.0
        self._backlog_at = 0.0
        self._ends = Ends()
        """As followers are told them."""
        self._closed = False

    @classmethod
    async def connect(
        cls,
        url: str,
        admin_url: str,
        dc: int,
        *,
        tenant: str = "planb",
        token: str = "",
        backlog_bytes: int = 0,
        connect_s: float = 1.0,
        answer_s: float = 2.0,
    ) -> "PulsarLog":
        """`url`: pulsar://host:port of the cluster of datacenter number `dc`. Makes its namespaces where they are not
        there, without replication. `backlog_bytes`: what a lane may keep there, and at half of it is refused (0: as the
        cluster says). `connect_s` bounds connecting, `answer_s` what a write waits for its answer (seconds).
        LogUnavailable, ConfigError."""
        made = cls(url, admin_url, dc, tenant=tenant, token=token, connect_s=connect_s, answer_s=answer_s)
        try:
            cluster = await made._admin.cluster()
            for namespace in namespaces(dc):
                await made._admin.make_namespace(namespace, [cluster])
                if backlog_bytes:
                    await made._admin.limit_backlog(namespace, backlog_bytes)
            await made._list()
        except BaseException:
            await made.close()
            raise
        return made

    # -- own lanes

    async def open(self, lane: int, owner: bytes) -> Top:
        await self._list()
        held = self._lane(lane)
        async with held.lock:
            top = await held.open(owner)
        for earlier in earlier_lives(lane, list(self._lanes)):
            try:
                async with self._lanes[earlier].lock:
                    await self._lanes[earlier].retire()
            except Corrupt as error:  # then nobody can open it, either
                self._named(earlier, error)
        return top

    async def append(self, lane: int, owner: bytes, records: Sequence[Record]) -> None:
        if not records:
            return
        check_lane(lane, records)
        held = self._lanes.get(lane)
        if held is None:
            raise LaneLost(private=f"lane {lane} is not held by this owner")
        async with held.lock:
            self._note(lane, held, await held.append(owner, records))

    # -- others' lanes

    async def store(self, records: Sequence[Record]) -> None:
        lanes = dense_by_lane(records)
        await self._list()
        async with contextlib.AsyncExitStack() as stack:
            held = {}
            for number in sorted(lanes):
                held[number] = self._lane(number)
                await stack.enter_async_context(held[number].lock)
            for number, lane in held.items():
                await lane.settle()
                await lane.refresh()
                await _storable(lane, lanes[number])
            await _all(self._store(lane, lanes[number]) for number, lane in held.items())

    async def _store(self, lane: Lane, records: Sequence[Record]) -> None:
        fresh = await _storable(lane, records)
        begun = False
        try:
            if fresh and not lane.ready:
                await lane.take(b"", lambda state: _refuse_owned(lane), retired=lane.state.retired)
                fresh = await _storable(lane, records)
            for part in _parts(fresh) if fresh else ():
                await lane.write(part)
                begun = True
                self._note(lane.topic.lane, lane, part)
        except SendFailed as error:
            raise OutcomeUnknown(private=str(error)) from error
        except LogUnavailable as error:
            if begun or lane.doubt:
                raise OutcomeUnknown(private=error.private) from error
            raise

    async def seed(self, tops: Mapping[int, Top]) -> None:
        await self._list()
        for number, top in tops.items():
            if top.seq:
                lane = self._lane(number)
                async with lane.lock:
                    await lane.seed(top)
                    self._told(number, lane.state.top)

    # -- reading

    async def read(self, lane: int, after: int, limit: int) -> list[Record]:
        if asyncio.get_running_loop().time() < self._tail_until and (kept := self._tail.after(lane, after, limit)):
            return kept
        if lane not in self._lanes:
            await self._list()
        held = self._lanes.get(lane)
        if held is None:
            return []
        if after + limit > held.state.top.seq and not held.holds:
            async with held.lock:
                await held.refresh()
        return await held.topic.page(after, limit)

    async def tops(self) -> dict[int, Top]:
        """See `EventLog`. A lane whose topic holds what is none of ours is left out, and named in the log."""
        await self._list()
        await _all(self._refresh(lane) for lane in list(self._lanes.values()) if not lane.holds)
        ends = {
            number: lane.state.top
            for number, lane in self._lanes.items()
            if lane.state.top.seq and number not in self._damaged
        }
        for number in self._tail.spans():
            if number in ends:
                self._tail.end(number, ends[number])
        return ends

    def follow(self) -> AsyncIterator[Mapping[int, Top]]:
        return self._ends.follow(self._look)

    async def trim(self, lane: int, through: int) -> None:
        self._tail.forget(lane, through)
        if lane not in self._lanes:
            await self._list()
        held = self._lanes.get(lane)
        if held is not None:
            async with held.lock:
                await held.refresh()
                if held.topic.at is not None:
                    await held.topic.trim(through)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._ends.changed()
        await self._wire.close()
        await self._admin.close()

    # -- knowing what is there

    def _lane(self, number: int) -> Lane:
        if number not in self._lanes:
            own, copies = namespaces(self._dc)
            namespace = own if LaneNumber.of(number).dc == self._dc else copies
            topic = Topic(self._wire, self._admin, self._pages, namespace, number)
            self._lanes[number] = Lane(topic, self._wire, self._admin, answer_s=self._answer_s)
        return self._lanes[number]

    async def _list(self) -> None:
        """Knows every lane that there is; asked again after FOLLOW_LOOK_MS."""
        if self._closed:
            raise LogUnavailable(private="the log was closed")
        now = asyncio.get_running_loop().time()
        if now < self._listed_until:
            return
        for namespace in namespaces(self._dc):
            for topic in await self._admin.topics(namespace):
                name, _, number = topic.partition("-")
                if name == "lane" and number.isdecimal():
                    self._lane(int(number))
        self._listed_until = now + FOLLOW_LOOK_MS / 1000

    async def _look(self) -> None:
        begun = asyncio.get_running_loop().time()
        for number, top in (await self.tops()).items():
            self._told(number, top)
        self._tail_until = begun + LOG_TAIL_TRUST_MS / 1000
        if begun >= self._backlog_at:
            self._backlog_at = begun + PULSAR_BACKLOG_LOOK_S
            await _all(self._weigh(lane) for lane in list(self._lanes.values()) if lane.owner)

    async def _weigh(self, lane: Lane) -> None:
        """At half of what a topic may keep its lane refuses writes: at the whole the broker would, or let them hang."""
        kept, most = await self._admin.backlog(lane.topic.namespace, lane.topic.name)
        over = most > 0 and 2 * kept > most
        lane.refused = f"The event log keeps {kept} bytes of this lane, half of what it may" if over else ""

    async def _refresh(self, lane: Lane) -> None:
        try:
            async with lane.lock:
                await lane.refresh()
        except Corrupt as error:
            self._named(lane.topic.lane, error)
        else:
            self._damaged.discard(lane.topic.lane)

    def _named(self, number: int, error: Corrupt) -> None:
        if number not in self._damaged:
            self._damaged.add(number)
            log.error("lane %d can't be read from its topic: %s %s", number, error.detail, error.private)

    def _note(self, number: int, lane: Lane, records: Sequence[Record]) -> None:
        if records:
            self._tail.add(number, records)
            self._told(number, lane.state.top)

    def _told(self, number: int, top: Top) -> None:
        if self._ends.tops.get(number) != top:
            self._ends.tops[number] = top
            self._ends.changed()


def namespaces(dc: int) -> tuple[str, str]:
    """Of a datacenter's own lanes, and of its copies of others'."""
    return f"dc-{dc}", f"copies-{dc}"


async def _storable(lane: Lane, records: Sequence[Record]) -> list[Record]:
    _refuse_owned(lane)
    return await lane.fresh(records)


def _refuse_owned(lane: Lane) -> None:
    if lane.state.owner:
        raise Corrupt(f"lane {lane.topic.lane} is written here", private="store is for foreign lanes")


def _parts(records: Sequence[Record]) -> list[list[Record]]:
    """Each fits into a message."""
    parts: list[list[Record]] = [[]]
    size = 0
    for record in records:
        bytes_ = len(record.body) + _RECORD_BYTES
        if bytes_ > PULSAR_MESSAGE_BYTES_MAX - _RECORD_BYTES:
            raise TooLarge(f"lane {record.lane} has a record of {len(record.body)} bytes")
        if parts[-1] and size + bytes_ > _PART_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(record)
        size += bytes_
    return parts


async def _all(works: Iterable[object]) -> None:
    """All at once; the first error when all have ended."""
    results = await asyncio.gather(*works, return_exceptions=True)  # type: ignore[call-overload]
    for result in results:
        if isinstance(result, BaseException):
            raise result
