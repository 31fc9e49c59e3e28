"""What other datacenters and the operator talk to, put together: the application of the internal listener."""

import functools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from api.app import PublicDeps, PublicParts
from api.clock_header import ClockHeader
from api.internal_auth import InternalAuth
from api.metrics import Metrics
from api.replay import Replay
from api.scheduler import Scheduler
from api.sys_app import SysDeps, create_sys_app
from api.sys_status import Figures, Status
from api.sys_writes import SysCalls, SysWriteRoutes
from cli.clock_watch import ClockWatch
from cli.disks import Disks
from cli.measuring import Measuring
from cli.membership import Membership
from core.ids import Lane
from events.codec import Codec
from events.lane_writer import LaneWriter
from events.ports import LogReader
from events.signing import Verifier
from replicator.collector import Collector
from replicator.service import Replicator
from snapshot.archiver import Archiver
from snapshot.past import LogWithPast
from snapshot.trimmer import Trimmer
from stores.apply import Applier
from stores.ports import RelationalStore


def build(
    public: PublicDeps,
    parts: PublicParts,
    *,
    auth: InternalAuth,
    applier: Applier,
    relational: RelationalStore,
    replicator: Replicator,
    past: LogReader,
    verifier: Verifier,
    codec: Codec,
    status: Status,
    digest: Callable[[], Awaitable[Mapping[str, Any]]],
    metrics: Metrics,
) -> web.Application:
    """`public`, `parts`: of the public listener, whose writes, tokens and checks are the same here."""
    progress = applier.progress
    clock = ClockHeader(public.key, public.clock, public.wall, progress)
    calls = SysCalls(parts.tokens, parts.cursors, clock, progress)
    replay = Replay(
        names=replicator.names,
        event_log=past,
        verifier=verifier,
        applier=applier,
        codec=codec,
        live=replicator.live,
        store=functools.partial(replicator.intake.take, way="replay"),
    )
    return create_sys_app(
        SysDeps(
            metrics=metrics,
            auth=auth,
            replicator=replicator,
            replay=replay,
            status=status,
            applier=applier,
            relational=relational,
            view=public.view,
            files=public.files,
            writes=SysWriteRoutes(parts.writes, calls, parts.cursors, clock, parts.tokens),
            actions=public.actions,
            digest=digest,
            entropy=public.entropy,
            now_ms=public.wall,
            checks=public.checks,
        )
    )


def figures(
    applier: Applier,
    writer: LaneWriter,
    replicator: Replicator,
    archiver: Archiver,
    trimmer: Trimmer,
    watch: ClockWatch,
    disks: Disks,
    series: Measuring | None,
    membership: Membership,
) -> Figures:
    """What the status shows of one process."""

    def archive() -> str:
        if archiver.failed:
            return f"nothing is archived: {archiver.failed.detail}"
        troubles = archiver.troubles.items()
        return "; ".join(f"{replicator.names.lane(lane)}: {trouble.detail}" for lane, trouble in troubles) or "ok"

    def feed() -> dict[str, str]:
        return {} if replicator.feed is None else {"feed": replicator.feed.error or "ok"}

    return Figures(
        log_first=lambda: trimmer.first,
        queues=lambda: {"lane": writer.pending, "apply": applier.queued},
        stores=lambda: (
            {
                "stores": "applying fails" if writer.stumbling else "ok",
                "archive": archive(),
                "series": series.state() if series else "off",
            }
            | feed()
        ),
        disks=disks.shown,
        coordination=membership.shown,
        written=lambda lane: membership.works_on(Lane.of(lane).worker),
        clock=watch.shown,
        counters=lambda: {"events": applier.applied_events, "superseded_writes": applier.superseded_writes},
    )


def scheduler_metrics(metrics: Metrics, scheduler: Scheduler) -> None:
    """What became of messages that were to be sent later."""
    metrics.gauge("planb_scheduled_sent", "Scheduled messages that this process sent.", lambda: scheduler.sent)
    metrics.gauge("planb_scheduled_failed", "Those that it gave up.", lambda: scheduler.failed)


def log_metrics(
    trimmer: Trimmer, past: LogWithPast, collector: Collector, replicator: Replicator, archiver: Archiver, disks: Disks
) -> Metrics:
    """What is kept and what is forgotten."""
    metrics = Metrics()
    metrics.gauge("planb_archive_failing", "1: nothing is archived.", lambda: int(archiver.failed is not None))
    metrics.gauge("planb_archive_lanes_stopped", "Lanes that can't be archived.", lambda: len(archiver.troubles))
    metrics.gauge("planb_log_records", "Records in the log, in memory.", lambda: trimmer.records)
    metrics.gauge("planb_log_trimmed_records", "Records that left the log.", lambda: trimmer.trimmed)
    metrics.gauge("planb_log_archive_reads_records", "Trimmed records that were read.", lambda: past.served)
    metrics.gauge("planb_conflict_rows_forgotten", "Of those that are old.", lambda: collector.collected)
    metrics.series("planb_disk_free_bytes", "Left on the folder's disk.", "folder", disks.free)
    if replicator.feed is not None:
        feed = replicator.feed
        metrics.gauge("planb_feed_records", "Records that Pulsar's replication brought.", lambda: feed.brought)
        metrics.gauge("planb_feed_failing", "1: from some datacenter it brings none.", lambda: int(bool(feed.error)))
    metrics.gauge("planb_bound_behind_records", "Beyond the collection bound.", replicator.beyond_bound)
    return metrics
