"""What a datacenter knows of itself, noted every few seconds: counters are read, nothing is counted for it.

The figures are those of /metrics and `planb status`; what is written is said in stores/series.py, MEASURES.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from core import limits
from core.durations import Durations, percentile_s
from core.system import Clock
from replicator.board import Board
from replicator.lag import LagMeter
from stores.series import Point, Series

log = logging.getLogger(__name__)

Counter = Callable[[], float]
"""Grows."""


class Reading(NamedTuple):
    measure: str
    kind: str
    values: tuple[float, ...]


Source = Callable[[float], Iterable[Reading]]
"""What there is to say of the last so many seconds."""


class Sampler:
    """One per process."""

    def __init__(
        self,
        dc: str,
        service: str,
        sources: Sequence[Source],
        put: Callable[[Sequence[Point]], None],
        *,
        now_ms: Clock,
        steady_ms: Clock,
    ) -> None:
        self._dc = dc
        self._service = service
        self._sources = sources
        self._put = put
        self._now_ms = now_ms
        self._steady_ms = steady_ms
        self._looked_ms = steady_ms()
        self.error = ""
        """Why the last look failed; "" when it did not."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(limits.SERIES_INTERVAL_MS / 1000)  # a period, not a condition
            self.look()

    def look(self) -> None:
        """Hands in what happened since the look before."""
        steady_ms = self._steady_ms()
        elapsed_s = max(steady_ms - self._looked_ms, 1) / 1000
        self._looked_ms = steady_ms
        at_ms = self._now_ms()
        try:
            points = [
                Point(Series(reading.measure, self._dc, self._service, reading.kind), at_ms, reading.values)
                for source in self._sources
                for reading in source(elapsed_s)
            ]
        except Exception as error:  # a defect of ours must not end what it only watches
            if not self.error:
                log.exception("the figures of this process can't be read")
            self.error = repr(error)
            return
        self.error = ""
        self._put(points)


def rates(measure: str, counters: Mapping[str, Counter]) -> Source:
    """By kind: how fast it grows, per second."""
    last = {kind: read() for kind, read in counters.items()}

    def look(elapsed_s: float) -> Iterator[Reading]:
        for kind, read in counters.items():
            now = read()
            yield Reading(measure, kind, ((now - last[kind]) / elapsed_s,))
            last[kind] = now

    return look


def latencies(stages: Mapping[str, Callable[[], Durations]]) -> Source:
    """By stage: how many there were, and how long they took."""
    last = {stage: (list(found.counts), found.seconds) for stage, read in stages.items() for found in (read(),)}

    def look(_: float) -> Iterator[Reading]:
        for stage, read in stages.items():
            found = read()
            counts, seconds = list(found.counts), found.seconds
            fresh = [now - before for now, before in zip(counts, last[stage][0], strict=True)]
            calls = sum(fresh)
            mean_ms = (seconds - last[stage][1]) * 1000 / calls if calls else 0.0
            shares = (percentile_s(fresh, percent) * 1000 for percent in (50, 99))
            yield Reading("latency", stage, (float(calls), mean_ms, *shares))
            last[stage] = counts, seconds

    return look


def lags(meter: LagMeter, board: Board) -> Source:
    """By origin: of what came of it."""
    last = {name: meter.noted(name) for name in board.peers}

    def look(_: float) -> Iterator[Reading]:
        for name, peer in board.peers.items():
            found = meter.since(name, last[name])
            last[name] = meter.noted(name)
            link_failed = float(peer.link == "failed")
            yield Reading("repl_lag", name, (*map(float, found), link_failed))

    return look


def presence(read: Callable[[], tuple[float, float]]) -> Source:
    """`read`: open websockets, and users who have one."""
    return lambda _: [Reading("presence", "websocket", read())]
