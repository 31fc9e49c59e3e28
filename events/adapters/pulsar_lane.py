"""A lane's topic, written: who may, and what became of what was sent.

Pulsar has no compare-and-set. What stands in for it: an ExclusiveWithFencing producer, which shuts out every other one
of the topic, and behind it a frame of our own, the *marker* of a new term. A topic is one sequence, so when the marker
stands, whatever the former producer still got in stands before it, and has been read; nothing of it can come later.
From then on the end is known without asking, and each group goes behind exactly that end.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from core.errors import Corrupt, Forked, LaneLost, LogUnavailable, OutcomeUnknown, TooLarge
from core.limits import PULSAR_MESSAGE_BYTES_MAX
from events.adapters.pulsar_admin import Admin
from events.adapters.pulsar_frame import State, encode_frame
from events.adapters.pulsar_parts import Producer, Sent
from events.adapters.pulsar_topic import Head, Topic
from events.adapters.pulsar_wire import Wire
from events.ports import Top, Trimmed
from events.record import Record

_TAKE_S_MAX = 5.0
"""How long it is tried to take a lane that others take, too."""
Guard = Callable[[State], None]
"""Raises where the lane must not be taken."""


class SendFailed(Exception):
    """The producer is of no use any more; what it sent last may stand."""


class _Pending(NamedTuple):
    """A message that is on its way."""

    state: State
    first: int
    sent: "asyncio.Future[Sent]"


class Lane:
    """One lane of one process. `lock` is held by whoever calls anything but `holds` and `topic.page`."""

    def __init__(self, topic: Topic, wire: Wire, admin: Admin, *, answer_s: float) -> None:
        self.topic = topic
        self.lock = asyncio.Lock()
        self.owner = b""
        """Who of this process may append; b"": nobody."""
        self.former: set[bytes] = set()
        """Those of this process who may never again."""
        self.refused = ""
        """Why nothing is taken at present."""
        self._wire = wire
        self._admin = admin
        self._answer_s = answer_s
        self._made = False
        self._producer: Producer | None = None
        self._pending: _Pending | None = None
        self._doubt = False
        """Something that was sent may stand, and the end was not read since."""

    @property
    def state(self) -> State:
        return self.topic.state

    @property
    def holds(self) -> bool:
        """Is the end what we know it to be? Nobody else can write, and nothing is on its way."""
        return self._producer is not None and self._pending is None and not self._doubt

    @property
    def ready(self) -> bool:
        """Can it be written to at once?"""
        return self.holds and self._producer is not None and self._producer.connected

    @property
    def doubt(self) -> bool:
        """May something stand behind the end that we know?"""
        return self._doubt or self._pending is not None

    async def refresh(self) -> None:
        """Knows the end as it is now."""
        if not self.holds:
            await self.topic.read_on()

    # -- taking

    async def open(self, owner: bytes) -> Top:
        """As `EventLog.open`, without the lanes of earlier lives."""
        if owner in self.former:
            raise LaneLost(private=f"lane {self.topic.lane} was taken over from this owner")
        if owner == self.owner:
            await self._take_again()
            return self.state.top

        def guard(state: State) -> None:
            if state.retired:
                raise LaneLost(private=f"lane {self.topic.lane} is retired")

        await self.take(owner, guard)
        self._pass_to(owner)
        return self.state.top

    async def retire(self) -> None:
        """Nobody opens it or appends to it any more."""
        await self.refresh()
        if not self.state.retired:
            await self.take(b"", lambda state: None, retired=True)
        self._pass_to(b"")

    async def seed(self, top: Top) -> None:
        """Begins the lane behind `top`, if it is empty."""
        await self.refresh()
        if self.state.top.seq == 0:
            await self.take(self.state.owner, lambda state: None, retired=self.state.retired, top=top)

    async def take(self, owner: bytes, guard: Guard, *, retired: bool = False, top: Top | None = None) -> None:
        """Begins a term: shuts out whoever writes, and knows the end. OutcomeUnknown if the term may begin later."""
        await self._make()
        until_s = asyncio.get_running_loop().time() + _TAKE_S_MAX
        while True:
            why = await self._begin_term(owner, guard, retired, top)
            if not why:
                return
            if asyncio.get_running_loop().time() > until_s:
                raise OutcomeUnknown(private=f"lane {self.topic.lane} could not be taken: {why}")

    async def _begin_term(self, owner: bytes, guard: Guard, retired: bool, top: Top | None) -> str:
        """Why it did not begin; "" when it did. Who was shut out in the midst of it may try again, if the guard still
        lets him."""
        await self.let_go()
        await self.topic.read_on()  # who may not take it must not even disturb
        guard(self.state)
        producer = await self._wire.produce(self.topic.url, self.topic.name)
        try:
            await self.topic.read_on()
            guard(self.state)
            if self.topic.at is None:
                self.topic.first = (top or self.state.top).seq + 1
            while True:
                end = top if top is not None and self.state.top.seq == 0 else self.state.top
                term = State(self.state.term + 1, owner, retired, end)
                sent = await self._answered(producer.send(encode_frame(self.topic.lane, term)))
                if sent.place is None:
                    await self._wire.end(producer)
                    return sent.why or "no answer"
                await self.topic.read_on(sent.place)
                if self.state == term:
                    break  # else something of the former term came before the marker
        except BaseException:
            await self._wire.end(producer)
            raise
        self.topic.stop_tail()
        self._producer = producer
        self._doubt = False
        return ""

    async def let_go(self) -> None:
        """Sends nothing any more."""
        producer, self._producer = self._producer, None
        if self._pending is not None:
            self._pending, self._doubt = None, True
        if producer is not None:
            await self._wire.end(producer)

    async def _take_again(self) -> None:
        """Our own lane, whose producer broke."""
        owner = self.owner

        def guard(state: State) -> None:
            if state.owner != owner or state.retired:
                raise LaneLost(private=f"lane {self.topic.lane} has another owner")

        try:
            await self.take(owner, guard)
        except LaneLost:
            self._pass_to(b"")
            raise

    def _pass_to(self, owner: bytes) -> None:
        if self.owner:
            self.former.add(self.owner)
        self.owner = owner

    async def _make(self) -> None:
        if not self._made:
            await self._admin.make_topic(self.topic.namespace, self.topic.name)
            self._made = True

    # -- writing

    async def append(self, owner: bytes, records: Sequence[Record]) -> list[Record]:
        """As `EventLog.append`; those that were new."""
        if not owner or self.owner != owner:
            raise LaneLost(private=f"lane {self.topic.lane} is not held by this owner")
        try:
            await self.settle()
            if not self.ready:
                await self._take_again()
            fresh = await self.fresh(records)
            if fresh:
                await self._write_own(fresh)
            return fresh
        except LogUnavailable as error:
            if self.doubt:
                raise OutcomeUnknown(private=error.private) from error
            raise

    async def _write_own(self, records: Sequence[Record]) -> None:
        try:
            await self.write(records)
            return
        except SendFailed:
            try:
                await self._take_again()
            except LaneLost:
                if await self._stands(records):  # it came in before the lane was lost
                    return
                raise
        rest = await self.fresh(records)
        if rest:
            try:
                await self.write(rest)
            except SendFailed as error:
                raise OutcomeUnknown(private=str(error)) from error

    async def write(self, records: Sequence[Record]) -> None:
        """Behind the end. Raises OutcomeUnknown, and LogUnavailable where nothing was sent."""
        assert self.holds and self._producer is not None
        if self.refused:
            raise LogUnavailable(self.refused)
        state = self.state._replace(top=Top.of(records[-1]))
        data = encode_frame(self.topic.lane, state, records)
        if len(data) > PULSAR_MESSAGE_BYTES_MAX:
            raise TooLarge(f"one group has at most {PULSAR_MESSAGE_BYTES_MAX} bytes")
        self._pending = _Pending(state, records[0].seq, self._producer.send(data))
        await self._land()

    async def settle(self) -> None:
        """What was on its way stands, or its producer is gone. OutcomeUnknown while neither is so."""
        if self._pending is None:
            return
        if self._producer is None or not self._producer.connected:
            # The driver tries again, but its pauses grow to a minute; whoever takes the lane sees whether it stands.
            await self._wire.check()
            await self.let_go()
            return
        with contextlib.suppress(SendFailed):  # then, too
            await self._land()

    async def _land(self) -> None:
        pending = self._pending
        assert pending is not None
        sent = await self._answered(pending.sent)
        self._pending = None
        if sent.place is None:
            self._doubt = True
            await self.let_go()
            raise SendFailed(sent.why)
        before = self.topic.at
        if before is not None and sent.place <= before:  # it was read already
            return
        if before is not None and (before.ledger, before.entry + 1) == sent.place:
            self.topic.fold(Head(sent.place, pending.state, pending.first))
            return
        try:  # a new ledger, a reconnected producer that sent twice: what lies between must be looked at
            if before is not None:
                await self.topic.joined(before, sent.place)
        except BaseException as error:
            self._doubt = True
            await self.let_go()
            if isinstance(error, LogUnavailable):
                raise OutcomeUnknown(private=error.private) from error
            raise
        if self.state != pending.state:
            self._doubt = True
            await self.let_go()
            raise SendFailed("somebody else wrote")

    async def _answered(self, sending: "asyncio.Future[Sent]") -> Sent:
        try:
            async with asyncio.timeout(self._answer_s):
                return await asyncio.shield(sending)
        except TimeoutError as error:
            raise OutcomeUnknown(private=f"lane {self.topic.lane}: Pulsar did not answer") from error

    # -- comparing

    async def fresh(self, records: Sequence[Record]) -> list[Record]:
        """Those beyond the end. Corrupt for a gap, Forked where other bytes stand."""
        top = self.state.top
        if records[0].seq > top.seq + 1:
            raise Corrupt(f"lane {self.topic.lane} has a gap: it ends at seq {top.seq} here")
        known = [record for record in records if record.seq <= top.seq]
        if known:
            await self._compare(known, top)
        return list(records[len(known) :])

    async def _compare(self, known: Sequence[Record], top: Top) -> None:
        after = known[0].seq - 1
        try:
            held = await self.topic.page(after, len(known))
        except Trimmed as trimmed:
            # Of what is gone only the end can be compared, by its hash.
            held = await self.topic.page(trimmed.first - 1, known[-1].seq - trimmed.first + 1) if trimmed.first else []
        for record in held:
            if known[record.seq - known[0].seq] != record:
                raise Forked(f"lane {record.lane} has another record at seq {record.seq}")
        if known[-1].seq == top.seq and known[-1].hash != top.hash:
            raise Forked(f"lane {self.topic.lane} has another record at seq {top.seq}")

    async def _stands(self, records: Sequence[Record]) -> bool:
        last = records[-1]
        return last.seq <= self.state.top.seq and await self.topic.page(last.seq - 1, 1) == [last]
