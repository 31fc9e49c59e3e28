"""What waits for the log: groups of writes with their callers, and the batch of groups that one append carries."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from core import limits
from core.errors import OutcomeUnknown, Overloaded, PlanBError, TooLarge
from core.event import Event
from events.ports import Top
from events.record import KIND_EVENT, Entry, Record, chain
from events.signing import Signer

Failure = Callable[[], PlanBError]
"""Makes a caller's error: each gets his own, because raising writes into it."""


class Write(msgspec.Struct, frozen=True, gc=False):
    """A write that was decided: an event without its id."""

    action: str
    version: int
    actor: str
    key: str
    fingerprint: bytes
    args: Any

    def event(self, id: int) -> Event:
        """The event that it becomes."""
        return Event(id, self.action, self.version, self.actor, self.key, self.fingerprint, self.args)


class Group:
    """Records that go into the log together, with consecutive ids, and the one caller that waits for them."""

    __slots__ = ("bodies", "done", "events", "ids", "kind", "patient", "size_bytes")

    def __init__(
        self, kind: int, ids: Sequence[int], bodies: Sequence[bytes], events: Sequence[Event | None], patient: bool
    ) -> None:
        self.kind = kind
        self.ids = ids
        self.bodies = bodies
        self.events = events
        self.patient = patient
        """Waits however long it takes: the open record."""
        self.size_bytes = sum(map(len, bodies))
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __len__(self) -> int:
        return len(self.ids)

    def answer(self, failure: Failure | None = None) -> None:
        """Tells the caller, unless it has been told or has gone away."""
        if self.done.done():
            return
        if failure is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(failure())


class Cut:
    """Writes of several callers, cut into as few groups as an append takes."""

    def __init__(self, room: int) -> None:
        """`room`: for so many records."""
        self._room = room
        self._parts: list[tuple[list[int], list[bytes], list[Event | None]]] = []
        self._size_bytes = 0
        self.places: list[list[int]] = []
        """Of each group, where its writes stand."""

    def require_room(self) -> None:
        """Overloaded if there is none for one more."""
        if not self._room:
            raise Overloaded(retry_after_s=0.5)

    def add(self, at: int, body: bytes, event: Event) -> None:
        """TooLarge for what no append takes."""
        size = len(body)
        if size > limits.LANE_BATCH_BYTES_MAX:
            raise TooLarge(f"one group of events has at most {limits.LANE_BATCH_BYTES_MAX} bytes")
        self._size_bytes += size
        if not self.places or self._size_bytes > limits.LANE_BATCH_BYTES_MAX or self._is_full():
            self._size_bytes = size
            self._parts.append(([], [], []))
            self.places.append([])
        ids, bodies, events = self._parts[-1]
        ids.append(event.id)
        bodies.append(body)
        events.append(event)
        self.places[-1].append(at)
        self._room -= 1

    def _is_full(self) -> bool:
        return len(self.places[-1]) == limits.LANE_BATCH_MAX

    def groups(self) -> list[Group]:
        """Each with a caller of its own to be told."""
        return [Group(KIND_EVENT, ids, bodies, events, patient=False) for ids, bodies, events in self._parts]


class Batch:
    """One group commit: dense records behind `top`, the last one signed."""

    def __init__(self, lane: int, top: Top, groups: Sequence[Group], signer: Signer) -> None:
        self.groups = groups
        self.records: list[Record] = []
        self.entries: list[Entry] = []
        self.timer: asyncio.TimerHandle | None = None
        seq, hash = top.seq, top.hash
        for group in groups:
            for id, body, event in zip(group.ids, group.bodies, group.events, strict=True):
                seq += 1
                hash = chain(hash, lane, seq, id, group.kind, body)
                self.records.append(Record(lane, seq, id, group.kind, body, hash, b""))
                self.entries.append(Entry(lane, seq, id, event))
        self.records[-1] = replace(self.records[-1], signature=signer.sign(hash))

    def __len__(self) -> int:
        return len(self.records)

    def answer(self, failure: Failure | None = None) -> None:
        """Tells all callers."""
        self.stop_timer()
        for group in self.groups:
            group.answer(failure)

    def give_up(self) -> None:
        """Tells those callers who don't wait for ever that the outcome is unknown."""
        for group in self.groups:
            if not group.patient:
                group.answer(OutcomeUnknown)

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Queue:
    """Groups in the order of their ids."""

    def __init__(self) -> None:
        self._groups: list[Group] = []

    def __bool__(self) -> bool:
        return bool(self._groups)

    def put(self, group: Group) -> None:
        self._groups.append(group)

    def head(self) -> list[Group]:
        """The oldest whole groups that one append takes, at least one if there is any. They stay until `drop`."""
        count = records = size_bytes = 0
        for group in self._groups:
            records += len(group)
            size_bytes += group.size_bytes
            if count and (records > limits.LANE_BATCH_MAX or size_bytes > limits.LANE_BATCH_BYTES_MAX):
                break
            count += 1
        return self._groups[:count]

    def drop(self, groups: Sequence[Group]) -> None:
        """Forgets what `head` gave."""
        del self._groups[: len(groups)]

    def take_all(self) -> list[Group]:
        taken, self._groups = self._groups, []
        return taken


def total(sized: Iterable[Group | Batch]) -> int:
    """How many records they are together."""
    return sum(map(len, sized))
