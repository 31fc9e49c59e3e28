"""What an operator is told of one datacenter: `GET /sys/v1/status`. Lanes appear by name, ids as digits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.system import Clock
from replicator.service import Replicator
from stores.progress import Progress


@dataclass(frozen=True)
class Figures:
    """What the composition root adds: JSON-able values, read when asked."""

    log_first: Callable[[], Mapping[int, int]] = dict
    """lane -> the first seq that the log still holds."""
    queues: Callable[[], Mapping[str, int]] = dict
    """Queue lengths by name."""
    stores: Callable[[], Mapping[str, Any]] = dict
    """The state of each store by name."""
    disks: Callable[[], Mapping[str, Any]] = dict
    """The room that each folder's disk has, by setting."""
    coordination: Callable[[], Mapping[str, Any]] = dict
    """This process's lease, who leads, and which processes there are."""
    clock: Callable[[], Mapping[str, Any]] = dict
    """What is known of this machine's wall clock and the others' (docs/clock.md)."""
    written: Callable[[int], bool] = lambda lane: True
    """Whether a process of this datacenter holds this lane now, of those that nobody else may write on."""
    counters: Callable[[], Mapping[str, int]] = dict
    """Events and messages so far."""


class Status:
    """Makes the document, but for what is missing (api/health.py)."""

    def __init__(
        self,
        *,
        dc: str,
        incarnation: int,
        epoch: Callable[[], int],
        progress: Progress,
        replicator: Replicator,
        figures: Figures,
        now_ms: Clock,
    ) -> None:
        self._dc = dc
        self._incarnation = incarnation
        self._epoch = epoch
        self._progress = progress
        self._replicator = replicator
        self._figures = figures
        self._now_ms = now_ms

    def document(self) -> dict[str, Any]:
        """The present state."""
        replicator, progress, lanes = self._replicator, self._progress, self._replicator.names.lanes
        applied = {lane: mark.seq for lane, mark in progress.applied.items()}
        durable = replicator.durable()
        now_ms = self._now_ms()
        return {
            "dc": self._dc,
            "incarnation": self._incarnation,
            "epoch": self._epoch(),
            "now_ms": now_ms,
            "lanes": sorted(map(replicator.names.lane, replicator.live())),
            "written": sorted(map(replicator.names.lane, filter(self._figures.written, replicator.live()))),
            "durable": lanes(durable),
            "applied": lanes(applied),
            "v": lanes({lane: str(id) for lane, id in progress.v().items()}),
            "bound": lanes(replicator.bound()),
            "log": {"first": lanes(self._figures.log_first())},
            "coordination": self._figures.coordination(),
            "clock": self._figures.clock(),
            "lag_ms": {dc: lag._asdict() for dc, lag in sorted(replicator.lag.summary(now_ms).items())},
            "peers": self._peers(),
            "parked": sum(map(len, progress.parked.values())),
            "replication": self._replication(),
            "queues": {
                "inbox": replicator.intake.waiting,
                "replay": sum(replicator.replayer.behind().values()),
                "long_polls": replicator.pulls.waiting,
                **self._figures.queues(),
            },
            "disks": self._figures.disks(),
            "stores": {"log": replicator.growth.error or "ok", **self._figures.stores()},
            "counters": {
                "records_pulled": replicator.intake.stored,
                "records_served": replicator.pulls.served,
                "events_replayed": replicator.replayer.replayed,
                "records_refused": replicator.intake.bad(),
                "records_dropped": replicator.intake.dropped,
                **self._figures.counters(),
            },
        }

    def _peers(self) -> dict[str, Any]:
        lanes = self._replicator.names.lanes
        errors = {loop.name: loop.error for loop in self._replicator.loops}
        return {
            name: {
                "link": peer.link,
                "since_ms": peer.since_ms,
                "error": errors[name],
                "last_error": peer.error,
                "pulled_us_ms": peer.pulled_us_ms,
                "durable": lanes(peer.durable),
                "applied": lanes(peer.applied),
            }
            for name, peer in sorted(self._replicator.board.peers.items())
        }

    def _replication(self) -> dict[str, Any]:
        replicator, lanes = self._replicator, self._replicator.names.lanes
        foreign = replicator.intake.lanes()
        return {
            "behind": lanes(replicator.replayer.behind()),
            "blocked": lanes(
                {
                    lane: {"after": blocked.after, "reason": blocked.reason, "tries": blocked.tries}
                    for lane, blocked in replicator.replayer.blocked.items()
                }
            ),
            "forked": lanes({lane: state.forked for lane, state in foreign.items() if state.forked}),
            "holes": lanes(replicator.repairer.wanted),
            "repair_error": replicator.repairer.error,
            "came": dict(sorted(replicator.intake.came.items())),
        }
