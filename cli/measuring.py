"""The measurements of one process, put together: what is read, how often, and where it goes."""

from functools import partial

from api.metrics import Metrics
from broker.hub import Hub
from cli.sampler import Sampler, lags, latencies, presence, rates
from core.system import Clock
from events.lane_writer import LaneWriter
from replicator.service import Replicator
from stores.apply import Applier
from stores.series import SeriesStore
from stores.series_writer import SeriesWriter


class Measuring:
    """`sampler` and `writer` run side by side, each until it is cancelled; then `close` it."""

    def __init__(
        self,
        store: SeriesStore,
        dc: str,
        *,
        applier: Applier,
        writer: LaneWriter,
        replicator: Replicator,
        service: str,
        hub: Hub | None,
        public: Metrics,
        now_ms: Clock,
        steady_ms: Clock,
    ) -> None:
        """`service`: the role of the process. `hub`: of one that has websockets."""
        self.writer = SeriesWriter(store)
        pushed = {"delivered": "deliveries", "told_to_fetch": "pokes", "closed_slow": "closed_slow"}
        sources = [
            rates(
                "msg_rate",
                {
                    "written": lambda: writer.top.seq,
                    "replayed": lambda: replicator.replayer.replayed,
                    "applied": lambda: applier.applied_events,
                    "requests": lambda: public.answered()[0],
                    "requests_failed": lambda: public.answered()[1],
                },
            ),
            lags(replicator.lag, replicator.board),
            latencies(
                {
                    "log": lambda: writer.append_times,
                    "rows": lambda: applier.row_times,
                    "hot": lambda: applier.hot_times,
                    "http": public.latency,
                }
            ),
        ]
        if hub is not None:
            sources += [
                presence(lambda: (hub.sockets, hub.metrics()["users"])),
                rates("push_result", {kind: partial(_read, hub, name) for kind, name in pushed.items()}),
            ]
        self.sampler = Sampler(dc, service, sources, self.writer.put, now_ms=now_ms, steady_ms=steady_ms)

    def add_metrics(self, metrics: Metrics) -> None:
        """Whether all that is measured is also kept."""
        metrics.gauge("planb_series_written_points", "Measured points stored.", lambda: self.writer.written)
        metrics.gauge("planb_series_dropped_points", "Measured points given up.", lambda: self.writer.dropped)
        metrics.gauge("planb_series_waiting_points", "Measured points not stored yet.", lambda: self.writer.waiting)

    def state(self) -> str:
        """For the status: "ok", or what is wrong."""
        if self.sampler.error:
            return f"nothing is measured: {self.sampler.error}"
        if self.writer.error:
            dropped = f"{self.writer.dropped:,} points dropped so far, clients notice nothing"
            return f"no measurements are kept ({dropped}): {self.writer.error}"
        return "ok"

    async def close(self) -> None:
        """When both have ended: brings away what waits, for a moment."""
        await self.writer.close()


def _read(hub: Hub, name: str) -> int:
    return hub.metrics()[name]
