"""What the simulation knows that no datacenter does: every record ever written, and every promise ever made."""

from typing import NamedTuple

from core.ids import lane_of
from events.record import KIND_EVENT, Record


class Violation(AssertionError):
    """An invariant does not hold."""


class Ledger:
    def __init__(self) -> None:
        self.records: dict[tuple[int, int], Record] = {}
        """(lane, seq) -> the record, whichever log took it first."""
        self.of_id: dict[int, tuple[int, int]] = {}
        self.violations: list[str] = []

    def broken(self, what: str) -> None:
        """Notes that an invariant does not hold; the run ends at its next look."""
        self.violations.append(what)

    def written(self, dc: str, record: Record) -> None:
        """A log takes a record that it did not hold."""
        place = (record.lane, record.seq)
        known = self.records.get(place)
        if known is None:
            self.records[place] = record
            other = self.of_id.setdefault(record.id, place)
            if other != place:
                self.broken(f"{dc}: id {record.id} stands at {other} and at {place}")
            if lane_of(record.id) != record.lane:
                self.broken(f"{dc}: id {record.id} is not of lane {record.lane}")
            before = self.records.get((record.lane, record.seq - 1))
            if before is not None and before.id >= record.id:
                self.broken(f"{dc}: the ids of lane {record.lane} do not grow at seq {record.seq}")
        elif known.hash != record.hash:
            self.broken(f"{dc}: seq {record.seq} of lane {record.lane} is used for two records")

    def events(self) -> list[Record]:
        """All events, in the order in which they were written first."""
        return [record for record in self.records.values() if record.kind == KIND_EVENT]


class Acknowledged(NamedTuple):
    """A write that a client was told to be done."""

    id: int
    key: str
    user: str
    action: str
    dc: str
    durability: str
    replayed: bool
    app: int
    """Which start of the user's app was told."""
