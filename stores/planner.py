"""Which events of a batch this version can apply here, and what follows from each; the rest is parked or left out."""

import logging
from collections.abc import Mapping, Sequence

from core.action import Action
from core.errors import Undecodable
from events.codec import Codec
from events.record import Entry, Record
from stores.drops import Drops
from stores.fitness import reason_of
from stores.plan import Planned, plan
from stores.ports import Parked
from stores.progress import Progress

log = logging.getLogger(__name__)


class Planner:
    """One per Applier. Changes nothing: whoever applies a batch parks what comes back as parked."""

    def __init__(self, actions: Mapping[str, type[Action]], codec: Codec, progress: Progress, drops: Drops) -> None:
        self.actions = actions
        self.codec = codec
        self._progress = progress
        self._drops = drops

    def plan(self, entries: Sequence[Entry]) -> tuple[list[Planned], list[Parked]]:
        """What a store has as parked stays so until it is retried, also if this version could apply it."""
        planned: list[Planned] = []
        parked: list[Parked] = []
        waiting = self._progress.parked
        dropped, promised = self._drops.dropped, self._drops.promised
        for entry in entries:
            if waiting and self._progress.is_parked(entry.lane, entry.seq):
                continue
            if dropped and (entry.lane, entry.seq) in dropped:
                continue
            if promised and (entry.lane, entry.seq) in promised:
                parked.append(Parked(entry.lane, entry.seq, entry.id, "this datacenter has agreed to drop it"))
                continue
            try:
                item = self.one(entry)
            except Undecodable as error:
                log.error("event %s can't be applied, it is parked: %s", entry.id, error.detail)
                parked.append(Parked(entry.lane, entry.seq, entry.id, error.detail))
            else:
                if item is not None:
                    planned.append(item)
        return planned, parked

    def one(self, entry: Entry) -> Planned | None:
        """Whether it is parked or not. None for a record that holds no event; Undecodable for what this version can't
        apply."""
        if entry.event is None:
            if entry.problem:
                raise Undecodable(entry.problem)
            return None
        try:
            return plan(entry, entry.event, self.actions[entry.event.action])
        except Exception as error:  # whatever an action raises here, it raises in every DC: never block the lane
            raise Undecodable(reason_of(error)) from error

    def entries(self, records: Sequence[Record]) -> list[Entry]:
        """Decoded by this version."""
        return [self.codec.entry(record) for record in records]

    def again(self, records: Sequence[Record]) -> list[Planned]:
        """Of records that were applied before, without what is parked."""
        return self.plan(self.entries(records))[0]
