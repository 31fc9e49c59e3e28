"""`planb serve sys`: the process that applies, for a datacenter whose clients are served by processes of their own.

All that one queue of applied batches serialises is here, and so is everything that a datacenter does once: the internal
listener, replication, archive, snapshots' bookkeeping, measurements. It writes what the customer's own system and
operators write, on a lane of its own, and applies the lanes of all `planb serve api` of its datacenter.
"""

import asyncio
import contextlib
from collections.abc import Container

from api.app import PublicDeps, create_public_app
from api.desk import Desk
from cli.datacenter import Datacenter
from core import limits
from core.ids import Lane
from core.system import entropy
from events.codec import codec
from replicator.remote import RemoteDurability
from stores.announce import Announce
from stores.lane_feed import LaneFeed
from stores.tidings import Pulse, Tidings


class _OwnLanes(Container[int]):
    """All of this datacenter's present incarnation."""

    def __init__(self, dc: int, incarnation: int) -> None:
        self._prefix = (dc, incarnation)

    def __contains__(self, lane: object) -> bool:
        return isinstance(lane, int) and Lane.of(lane)[:2] == self._prefix


class SysProcess(Datacenter):
    """A datacenter without a public listener."""

    role = "sys"
    alone = False

    def _own_lanes(self) -> Container[int]:
        return _OwnLanes(self.settings.dc.number, self._own.incarnation)

    def _live(self) -> frozenset[int]:
        ours = self._own_lanes()
        return self._own.live() | {lane for lane in self.replicator.growth.tops if lane in ours}

    def _others(self, lane: int) -> bool:
        return lane != self.lane and lane in self._own_lanes()

    def _heard(self, owner: str) -> bool:
        return self.tidings.heard

    def _announcing(self) -> Announce | None:
        return lambda frame: self.tidings.announce(frame)

    async def _build_state(self) -> None:
        await super()._build_state()
        self.tidings = Tidings(self.applier.progress)
        self.view.told = self.tidings.forget
        self.feed = LaneFeed(self.past, self.applier, codec(), self._others)

    def _build_public(self, deps: PublicDeps) -> None:
        """Nobody listens: the internal listener writes by the same parts."""
        self.public = create_public_app(deps)

    def _build_listeners(self) -> None:
        super()._build_listeners()
        desk = Desk(
            key=self._sys_key,
            entropy=entropy,
            tidings=self.tidings,
            feed=self.feed,
            remote=RemoteDurability(self.replicator.board),
            written=self.messages.written,
            wall=self.clocks.trusted,
            serves=lambda: self.tidings.serves,
        )
        desk.add_to(self.sys)
        self.sys_metrics.gauge("planb_lines", "Processes that this one applies for.", lambda: len(self.tidings.lines))
        self.sys_metrics.gauge(
            "planb_lane_drained_records", "Of lanes whose process did not hand them over.", lambda: self.feed.drained
        )

    async def _listen_public(self) -> None:
        self._spawn("tidings", self.tidings.run())
        self._spawn("pulse", self._beat())

    async def _start(self) -> None:
        self._now = asyncio.Event()
        await super()._start()
        self._now.set()  # who waits for it to serve need not wait for the next pulse

    async def _beat(self) -> None:
        while True:
            self._now.clear()
            missing = {name: problem for name, check in self.serving.checks.items() if (problem := await check())}
            self.tidings.beat(
                Pulse(
                    self._own.incarnation,
                    self.applier.epoch,
                    self.clocks.doubt(),
                    self.serving.open,
                    missing,
                )
            )
            await self.feed.look(self.replicator.growth.tops)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limits.LINE_PULSE_MS / 1_000):
                    await self._now.wait()
