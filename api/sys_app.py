"""syssvc: the internal listener. Peers pull here, the replicator replays here, operators and the customer's own system
call here. Every request is signed (api/internal_auth.py) but for /livez, /readyz and /metrics.

Nothing of this is reachable from the public listener, and its `dc` header is refused there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from api import health
from api.decoding import decode_object, refused
from api.fields import BODY, query_of, raw_body_of
from api.files import Files
from api.guard import Guard, Handler
from api.health import Check
from api.inquiries import Inquiries
from api.internal_auth import SCHEME, InternalAuth, Sender
from api.metrics import Metrics
from api.operations import grouped
from api.reads import json_response
from api.replay import Replay
from api.sys_status import Status
from api.sys_writes import SysWriteRoutes
from core import limits
from core.action import Action
from core.actions.fields import is_sha256
from core.errors import Conflict, Forbidden, Invalid, NotFound, NotYetHere, Undecodable
from core.system import Clock, Entropy
from replicator.service import Replicator
from replicator.wire import decode_request, encode_answer
from stores.apply import Applier
from stores.ports import RelationalStore
from stores.view import StoreView

_OPEN = frozenset({"/livez", "/readyz", "/metrics"})
_BODY_BYTES_MAX = {"/sys/v1/replay": limits.REPLAY_BODY_BYTES_MAX, "/sys/v1/pull": limits.BODY_BYTES_MAX}
"""Of calls that may bring more than REQUEST_BYTES_MAX."""
_WAIT_S_MAX = 30.0
_LOOKS_MAX = 3
"""How often a digest is read before it is told that the state does not stand still for so long."""
_SENDER: web.RequestKey[Sender] = web.RequestKey("sender", Sender)


@dataclass(frozen=True)
class SysDeps:
    """What the composition root hands in."""

    auth: InternalAuth
    replicator: Replicator
    replay: Replay
    status: Status
    applier: Applier
    relational: RelationalStore
    view: StoreView
    files: Files
    writes: SysWriteRoutes
    actions: Mapping[str, type[Action]]
    digest: Callable[[], Awaitable[Mapping[str, Any]]]
    """The digest of the present state, JSON-able."""
    entropy: Entropy
    now_ms: Clock
    checks: Mapping[str, Check] = field(default_factory=dict)
    """What `/readyz` asks: name -> what is missing."""
    metrics: Metrics = field(default_factory=Metrics)


def create_sys_app(deps: SysDeps) -> web.Application:
    """The application of the internal listener; its owner runs the replicator."""
    guard = Guard(deps.metrics, deps.entropy, refuse_dc_header=False, bodies_bytes_max=limits.SYS_BODIES_BYTES_MAX)
    doorkeeper = _Doorkeeper(deps.auth)
    app = web.Application(
        client_max_size=limits.REPLAY_BODY_BYTES_MAX,
        middlewares=[doorkeeper.sign_answers, guard.middleware, doorkeeper.authenticate],
    )
    for method, path, handler in _Routes(deps).table():
        most = _BODY_BYTES_MAX.get(path, limits.REQUEST_BYTES_MAX)
        app.router.add_route(method, path, guard.bounded(f"{method} {path}", doorkeeper.proven(handler, most), most))
    _replication_gauges(deps.metrics, deps.replicator, deps.now_ms)
    _clock_gauges(deps.metrics, deps.replicator, deps.applier)

    async def shutdown(_: web.Application) -> None:
        await deps.replicator.pulls.close()

    app.on_shutdown.append(shutdown)
    health.add_routes(app, deps.metrics, deps.checks)
    return app


class _Doorkeeper:
    """Signatures in and out. The answer's is outside of everything, so that problem documents are signed too."""

    def __init__(self, auth: InternalAuth) -> None:
        self._auth = auth

    @web.middleware
    async def authenticate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Who sent it, by its head, into the request."""
        if request.path not in _OPEN:
            # Known before it is admitted: a refusal of the latter is signed.
            sender = request[_SENDER] = self._auth.verify(request.method, request.raw_path, request.headers)
            self._auth.admit(request.method, request.headers, sender)
        return await handler(request)

    @staticmethod
    def proven(handler: Handler, bytes_max: int) -> Handler:
        """Lets a request through whose body is the one that was signed."""

        async def check(request: web.Request) -> web.StreamResponse:
            if request.body_exists and request.content_length is None and not request.content.is_eof():
                raise refused("send the body with its length", "Content-Length")
            sender = request[_SENDER]
            sender.check_body(await raw_body_of(request, sender.name, bytes_max))
            return await handler(request)

        return check

    @web.middleware
    async def sign_answers(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Binds the answer to an authenticated request."""
        response = await handler(request)
        if response.status == 401:
            response.headers["WWW-Authenticate"] = SCHEME
        sender = request.get(_SENDER)
        if sender is not None and isinstance(response, web.Response):
            body = response.body if isinstance(response.body, bytes) else b""
            response.headers.update(self._auth.sign_answer(sender, response.status, body))
        return response


class _Routes:
    def __init__(self, deps: SysDeps) -> None:
        self._deps = deps
        self._names = deps.replicator.names

    def table(self) -> list[tuple[str, str, Handler]]:
        """(method, path, handler)."""
        writes = [
            (method, path, self._deps.writes.handler(actions))
            for (method, path), actions in grouped(self._deps.actions.values(), "sys").items()
        ]
        return [
            ("POST", "/sys/v1/replay", self._replay),
            ("POST", "/sys/v1/pull", self._pull),
            ("GET", "/sys/v1/tops", self._tops),
            ("GET", "/sys/v1/status", self._status),
            ("GET", "/sys/v1/digest", self._digest),
            ("GET", "/sys/v1/parked", self._parked),
            ("POST", "/sys/v1/parked/retry", self._retry_parked),
            ("POST", "/sys/v1/hot/rebuild", self._rebuild_hot),
            ("GET", "/sys/v1/files/{sha256}", self._file),
            *Inquiries(self._deps).table(),
            *writes,
        ]

    async def _replay(self, request: web.Request) -> web.Response:
        origin = request.headers.get("dc")
        if not origin:
            raise refused("name the datacenter that the records come from", "dc")
        done = await self._deps.replay.replay(origin, request.get(BODY, b""))
        return json_response({"applied": {str(lane): seq for lane, seq in done.applied.items()}, "parked": done.parked})

    async def _pull(self, request: web.Request) -> web.Response:
        wanted = decode_request(request.get(BODY, b""))
        if wanted.dc != request[_SENDER].name:
            raise Forbidden("a pull is signed by the datacenter that it is for")
        answer = encode_answer(*await self._deps.replicator.pulls.answer(wanted))
        return web.Response(body=answer, content_type="application/octet-stream")

    async def _file(self, request: web.Request) -> web.Response:
        """The bytes of a file, if they are here; they are not looked for elsewhere."""
        sha256 = request.match_info["sha256"]
        data = await self._deps.files.held(sha256) if is_sha256(sha256) else None
        if data is None:
            raise NotFound("no such file is here")
        return web.Response(body=data, content_type="application/octet-stream")

    async def _tops(self, request: web.Request) -> web.Response:
        """Every lane's end, and what is applied; hashes in base64."""
        tops = self._deps.replicator.growth.tops
        applied = self._deps.applier.progress.applied
        return json_response(
            {
                "tops": {str(lane): [top.seq, top.hash] for lane, top in tops.items()},
                "applied": {str(lane): mark.seq for lane, mark in applied.items()},
            }
        )

    async def _status(self, request: web.Request) -> web.Response:
        missing = await health.missing_of(self._deps.checks)
        return json_response(self._deps.status.document() | {"missing": missing})

    async def _digest(self, request: web.Request) -> web.Response:
        """`?wait=fra/0.0:17,ams/0.1:5` waits until that is applied (at most 30 s), then 409 with Retry-After.

        The digest is read page by page; it is that of `applied` unless `moved` says that something was applied
        meanwhile, at each of several looks.
        """
        wanted = self._frontier(query_of(request, frozenset({"wait"})).get("wait", ""))
        progress = self._deps.applier.progress
        try:
            async with asyncio.timeout(_WAIT_S_MAX):
                while not progress.reached(wanted):
                    await progress.moved()
        except TimeoutError:
            raise NotYetHere("not all of `wait` is applied yet", retry_after_s=1) from None
        for _ in range(_LOOKS_MAX):
            before = await self._moment()
            digest = await self._deps.digest()
            moved = await self._moment() != before
            if not moved:
                break
        applied, parked, _ = before
        return json_response(
            {"applied": self._names.lanes(applied), "parked": parked, "moved": moved, "digest": digest}
        )

    async def _moment(self) -> tuple[dict[int, int], int, int]:
        """Between two batches: the applied frontier, how many events are parked, and how many were ever applied."""
        applier = self._deps.applier
        await applier.settled()
        progress = applier.progress
        applied = {lane: mark.seq for lane, mark in progress.applied.items()}
        return applied, sum(map(len, progress.parked.values())), applier.applied_events

    def _frontier(self, text: str) -> dict[int, int]:
        frontier = {}
        for part in filter(None, text.split(",")):
            lane, _, seq = part.rpartition(":")
            if not seq.isdecimal() or len(seq) > 18:
                raise refused("must be <lane>:<seq>,…, e.g. fra/0.0:17", "wait")
            frontier[self._names.lane_number(lane)] = int(seq)
        return frontier

    async def _parked(self, request: web.Request) -> web.Response:
        """What is parked here, why, and which datacenters have agreed to drop it."""
        parked = await self._deps.relational.parked()
        agreed: dict[tuple[int, int], list[int]] = {}
        async for rows in self._deps.relational.dump("drops"):
            for row in rows:
                if row.get("agreed"):
                    agreed.setdefault((row["lane"], row["seq"]), []).append(row["dc"])
        return json_response(
            {
                "parked": [
                    {
                        "lane": self._names.lane(item.lane),
                        "seq": item.seq,
                        "id": str(item.id),
                        "reason": item.reason,
                        "agreed_to_drop": [self._names.name(dc) for dc in agreed.get((item.lane, item.seq), ())],
                    }
                    for item in parked[: limits.PARKED_MAX]
                ]
            }
        )

    async def _retry_parked(self, request: web.Request) -> web.Response:
        """`{"lane": "fra/0.0", "seq": 17}`, or `{}` for all: which were applied, which still can't be."""
        fields = decode_object(request.get(BODY, b""))
        wanted = [(item.lane, item.seq) for item in await self._deps.relational.parked()]
        if fields:
            one = self._place(fields)
            if one not in wanted:
                raise NotFound(f"seq {one[1]} of {fields['lane']} is not parked")
            wanted = [one]
        done, failed = [], []
        for lane, seq in wanted:
            place = {"lane": self._names.lane(lane), "seq": seq}
            try:
                await self._deps.applier.retry_parked(lane, seq)
                done.append(place)
            except (Undecodable, NotFound, Conflict) as error:
                failed.append(place | {"reason": error.detail})
        return json_response({"applied": done, "parked": failed})

    def _place(self, fields: Mapping[str, Any]) -> tuple[int, int]:
        lane, seq = fields.get("lane"), fields.get("seq")
        if set(fields) != {"lane", "seq"} or not isinstance(lane, str) or not isinstance(seq, int):
            raise Invalid('send {"lane": "fra/0.0", "seq": 17}, or {} for all')
        return self._names.lane_number(lane), seq

    async def _rebuild_hot(self, request: web.Request) -> web.Response:
        """`{"epoch": 5}`: the one that it is in. Answered when all is there again, in a new one."""
        fields = decode_object(request.get(BODY, b""))
        epoch = fields.get("epoch")
        if set(fields) != {"epoch"} or not isinstance(epoch, int) or isinstance(epoch, bool):
            raise Invalid('send {"epoch": 5}, the epoch that the status shows')
        return json_response({"epoch": await self._deps.applier.rebuild_hot(epoch)})


def _replication_gauges(metrics: Metrics, replicator: Replicator, now_ms: Clock) -> None:
    """The replicator's figures among the metrics of this process."""
    gauge = metrics.gauge
    gauge("planb_replay_behind_records", "Durable here, not applied yet.", _sum(replicator.replayer.behind))
    gauge("planb_replay_blocked_lanes", "Lanes whose replay is stopped.", lambda: len(replicator.replayer.blocked))
    gauge("planb_replayed_events", "Events replayed.", lambda: replicator.replayer.replayed)
    gauge("planb_inbox_records", "Pulled, not proven yet.", lambda: replicator.intake.waiting)
    gauge("planb_records_pulled", "Records stored from elsewhere.", lambda: replicator.intake.stored)
    metrics.series("planb_records_came", "Of them, by their way here.", "way", lambda: replicator.intake.came)
    gauge("planb_records_served", "Records given to peers.", lambda: replicator.pulls.served)
    gauge("planb_links_failed", "Peers that can't be pulled from.", lambda: _failed(replicator))
    gauge("planb_lag_p99_ms", "Worst p99 of lag; 0 if nothing came lately.", lambda: _worst_lag(replicator, now_ms()))


def _clock_gauges(metrics: Metrics, replicator: Replicator, applier: Applier) -> None:
    """What is known of wall clocks (docs/clock.md)."""
    clocks, lanes = replicator.clocks, replicator.names.lanes
    metrics.gauge("planb_clock_error_ms", "Our wall clock minus the median, if known.", lambda: clocks.error_ms() or 0)
    metrics.gauge("planb_clock_apart_ms", "Greatest difference to a peer's wall clock.", clocks.apart_ms)
    metrics.gauge("planb_clock_refusing", "1 while writes are refused for it.", lambda: bool(clocks.doubt()))
    metrics.series(
        "planb_clock_offset_ms",
        "A peer's wall clock minus ours.",
        "peer",
        lambda: {peer: offset.ms for peer, offset in clocks.offsets().items()},
    )
    metrics.series("planb_far_ahead_events", "Events stamped too far ahead.", "lane", lambda: lanes(applier.far_ahead))


def _sum(read: Callable[[], Mapping[int, int]]) -> Callable[[], float]:
    return lambda: sum(read().values())


def _failed(replicator: Replicator) -> int:
    return sum(peer.link == "failed" for peer in replicator.board.peers.values())


def _worst_lag(replicator: Replicator, now_ms: int) -> int:
    return max((lag.p99_ms for lag in replicator.lag.summary(now_ms).values()), default=0)
