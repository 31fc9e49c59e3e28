"""`POST /sys/v1/replay`: events of another DC's lanes, turned back into API calls by the replicator.

A batch holds records of one origin's lanes, in lane order, each lane's last one signed by the origin. All of it is
proven before any of it changes anything: place, hash chain from what is durable here, signature. Nothing is validated
or decided again: that was done where it was written.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from core.errors import BadSignature, Corrupt, Invalid, LaneForked, LaneGap, LogUnavailable
from core.ids import Lane
from events.codec import Codec
from events.ports import LogReader, Top, Trimmed
from events.record import GENESIS, Entry, Record, decode_all
from events.signing import Verifier
from replicator.inbox import follows
from replicator.names import DcNames
from stores.progress import Progress

_NOTHING = Top(0, 0, GENESIS)


class Applying(Protocol):
    """The part of stores.apply.Applier that replay uses."""

    progress: Progress

    async def apply(self, entries: Sequence[Entry]) -> None: ...


class Replayed(NamedTuple):
    applied: dict[int, int]
    """lane -> applied seq, of the lanes of the batch."""
    parked: int
    """How many records of the batch are parked."""


class Replay:
    """One per process. `store` makes proven records durable that are not yet (replicator.intake.Intake.take)."""

    def __init__(
        self,
        *,
        names: DcNames,
        event_log: LogReader,
        verifier: Verifier,
        applier: Applying,
        codec: Codec,
        live: Callable[[], frozenset[int]],
        store: Callable[[Sequence[Record]], Awaitable[object]],
    ) -> None:
        self._names = names
        self._log = event_log
        self._verifier = verifier
        self._applier = applier
        self._entry = codec.entry
        self._live = live
        self._store = store
        self._ends: dict[int, tuple[int, bytes]] = {}
        """lane -> (seq, hash) of the last record replayed."""
        self.records = 0

    async def replay(self, origin: str, body: bytes) -> Replayed:
        """Applies a batch. Repeatable.

        Refused whole, and nothing changed: Invalid (an unknown DC, not records, lanes of another DC or ones that are
        written here), LaneGap, LaneForked, BadSignature. 503 errors: try the same again.
        """
        lanes = self._by_lane(self._names.number(origin), origin, _decode(body))
        tops = await self._log.tops()
        for lane, records in lanes.items():
            await self._prove(lane, records, tops.get(lane, _NOTHING))
        await self._make_durable(
            {lane: records for lane, records in lanes.items() if tops.get(lane, _NOTHING).seq < records[-1].seq}
        )
        everything = [record for records in lanes.values() for record in records]
        await self._applier.apply([self._entry(record) for record in everything])
        for lane, records in lanes.items():
            self._ends[lane] = (records[-1].seq, records[-1].hash)
        self.records += len(everything)
        progress = self._applier.progress
        parked = {lane: set(seqs) for lane, seqs in progress.parked.items() if lane in lanes}
        return Replayed(
            {lane: progress.applied[lane].seq for lane in lanes},
            sum(record.seq in parked.get(record.lane, ()) for record in everything) if parked else 0,
        )

    def _by_lane(self, number: int, origin: str, records: Sequence[Record]) -> dict[int, list[Record]]:
        lanes: dict[int, list[Record]] = {}
        for record in records:
            lanes.setdefault(record.lane, []).append(record)
        live = self._live()
        for lane in lanes:
            if Lane.of(lane).dc != number:
                raise Invalid(f"{self._names.lane(lane)} is not a lane of {origin}")
            if lane in live:
                raise Invalid(f"{self._names.lane(lane)} is written here")
        return lanes

    async def _prove(self, lane: int, records: Sequence[Record], top: Top) -> None:
        name = self._names.lane(lane)
        first, last = records[0], records[-1]
        at = self._applier.progress.applied.get(lane)
        applied = at.seq if at else 0
        if first.seq > applied + 1:
            raise LaneGap(f"{name} is applied through {applied}, the batch begins at {first.seq}", applied=applied)
        if not last.signature:
            raise BadSignature(f"the last record of {name}, {last.seq}, is not signed")
        before = await self._hash_before(first, top)
        if not follows(before, first):
            raise LaneForked(f"seq {first.seq} of {name} does not follow from what is here")
        try:
            self._verifier.vouched(before, records)
        except Corrupt as error:
            raise BadSignature(f"{name} from {first.seq} to {last.seq}: {error.detail}") from error
        common = min(last.seq, top.seq)
        if common >= first.seq:
            stored = top.hash if common == top.seq else await self._hash_at(lane, common)
            if stored is not None and stored != records[common - first.seq].hash:
                raise LaneForked(f"another record stands at seq {common} of {name}")

    async def _hash_before(self, first: Record, top: Top) -> bytes:
        """The hash that the batch must follow from, as this DC holds it."""
        if first.seq == 1:
            return GENESIS
        end = self._ends.get(first.lane)
        if end is not None and end[0] == first.seq - 1:
            return end[1]
        if top.seq == first.seq - 1:
            return top.hash
        found = await self._hash_at(first.lane, first.seq - 1)
        if found is not None:
            return found
        applied = self._applier.progress.applied.get(first.lane)
        raise LaneGap(
            f"the record before seq {first.seq} of {self._names.lane(first.lane)} is not here any more",
            applied=applied.seq if applied else 0,
        )

    async def _hash_at(self, lane: int, seq: int) -> bytes | None:
        """The hash that the log holds at `seq`; None if it was trimmed."""
        try:
            found = await self._log.read(lane, seq - 1, 1)
        except Trimmed:
            return None
        return found[0].hash if found else None

    async def _make_durable(self, lanes: Mapping[int, Sequence[Record]]) -> None:
        """Log first: what came by another way than our log is stored before it is applied."""
        if not lanes:
            return
        await self._store([record for records in lanes.values() for record in records])
        tops = await self._log.tops()
        for lane, records in lanes.items():
            if tops.get(lane, _NOTHING).seq < records[-1].seq:
                raise LogUnavailable(f"{self._names.lane(lane)} could not be stored through {records[-1].seq}")


def _decode(body: bytes) -> list[Record]:
    try:
        return decode_all(body)
    except Corrupt as error:
        raise Invalid("the body is not a sequence of records", private=error.detail) from error
