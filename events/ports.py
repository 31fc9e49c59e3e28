"""The event log port. Its contract suite is tests/contract/event_log.py; every adapter passes it.

A record's place (lane, seq) is for ever: a seq is never used for other bytes.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from events.record import Record


class Top(NamedTuple):
    """The end of a lane as this log holds it. `Top(0, 0, GENESIS)` for an empty one."""

    seq: int
    id: int
    hash: bytes

    @classmethod
    def of(cls, record: Record) -> "Top":
        """The end of a lane whose last record this is."""
        return cls(record.seq, record.id, record.hash)


class LogReader(Protocol):
    """What those need who only read: an `EventLog`, or one with its past (snapshot/past.py)."""

    async def read(self, lane: int, after: int, limit: int) -> list[Record]:
        """See `EventLog`."""
        ...

    async def tops(self) -> dict[int, Top]:
        """See `EventLog`."""
        ...


class EventLog(LogReader, Protocol):
    """One DC's durable log of all lanes: its own and, copied, those of the other DCs.

    Errors: `LogUnavailable` = nothing happened; `OutcomeUnknown` = the bytes may or may not be in the log, ask `top`
    and, if needed, append the same bytes again; `LaneLost` = another owner has the lane, or the lane's end is not the
    expected one: stop at once; `Forked` = other bytes stand at that seq.
    """

    async def open(self, lane: int, owner: bytes) -> Top:
        """Takes the lane for `owner` (unique per process start, not empty) and fences the previous owner, for good.
        Repeatable by the same owner. Returns the lane's end.

        Lanes of earlier incarnations of the same DC are retired by it: nobody can open or append to them again, and
        what they lack here may be stored as if they were foreign."""
        ...

    async def append(self, lane: int, owner: bytes, records: Sequence[Record]) -> None:
        """Appends dense records of an own lane, all or nothing, durably (synced) when it returns.

        Repeating the same bytes at the same seqs succeeds and changes nothing. LaneLost when `owner` does not hold
        the lane; Forked when other bytes stand there; Corrupt for a gap.
        """
        ...

    async def store(self, records: Sequence[Record]) -> None:
        """Appends dense, already verified records of *foreign* lanes (one or several), durably. What is refused stores
        nothing; where the outcome is unknown, some lanes may have theirs, or a first part of it, and others not.

        Records at or below a lane's top are compared and skipped (Forked if they differ; where the old ones were
        trimmed, only the top's hash can be compared). A gap is Corrupt. A lane that has an owner here is never
        touched: Corrupt.
        """
        ...

    async def seed(self, tops: Mapping[int, Top]) -> None:
        """Begins empty lanes after a restore: the next record of a lane is `top.seq + 1`. A lane that already has a
        top is left alone."""
        ...

    async def read(self, lane: int, after: int, limit: int) -> list[Record]:
        """Up to `limit` records with seq > `after`, in order; [] at the end. Raises `Trimmed` if `after + 1` was
        trimmed away.

        What this process wrote itself, and saw the log take, may be given without asking the log again, until
        LOG_TAIL_TRUST_MS after the last look at it: for so long, records that another process has trimmed may still be
        given, and records that a log has lost which lost its end. Other bytes than the log took there are never
        given. After `tops`, nothing of a lost end is given; who must not go beyond the log's end asks it first, and
        reads no further."""
        ...

    async def tops(self) -> dict[int, Top]:
        """The durable end of every lane held here: the durable frontier."""
        ...

    def follow(self) -> AsyncIterator[Mapping[int, Top]]:
        """Yields the ends of the lanes that have grown since the last yield; the first yield has all lanes. Coalesces;
        loses none. What is written by way of this adapter is told at once, what other processes write within
        FOLLOW_LOOK_MS. Ends never; raises LogUnavailable when the log is gone (follow again)."""
        ...

    async def trim(self, lane: int, through: int) -> None:
        """Forgets records with seq <= `through`; the lane's top stays. Repeatable."""
        ...

    async def close(self) -> None: ...


class Trimmed(Exception):
    """The wanted records are no longer in this log; `first` is the oldest seq that is (0: none)."""

    def __init__(self, lane: int, first: int) -> None:
        super().__init__(f"lane {lane} begins at seq {first} here")
        self.lane = lane
        self.first = first
