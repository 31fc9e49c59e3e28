"""One DC without its HTTP: log, stores, applier and lane writer, over any adapters."""

from typing import Any

from core.action import Origin, Position, registry
from core.clock import HybridClock
from core.event import Event
from core.ids import Lane
from core.system import entropy, wall_clock_ms
from events.adapters.memory import MemoryLog
from events.codec import codec
from events.lane_writer import LaneWriter
from events.signing import Signer
from stores.adapters.memory_hot import MemoryHot
from stores.adapters.memory_messages import MemoryMessageStore
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.apply import Applier
from stores.view import StoreView

ACTIONS = registry()
_SEED = bytes(range(32))


class OneDc:
    """A DC called `name`; stores not given are in memory."""

    def __init__(
        self, name: str = "fra", number: int = 1, *, log: Any = None, relational: Any = None,
        messages: Any = None, hot: Any = None, incarnation: int = 0, past: Any = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.log = log or MemoryLog()
        self.relational = relational or MemoryRelationalStore(clock=wall_clock_ms)
        self.messages = messages or MemoryMessageStore()
        self.hot = hot or MemoryHot()
        self.clock = HybridClock(wall_clock_ms)
        self.lane = Lane(number, incarnation, 0).number
        self.view = StoreView(name, self.relational, self.messages, self.hot)
        self.view.number = number
        self.view.dcs = frozenset({number})
        self.heard: set[str] | None = None
        """Whose updates a broker waits for; None: everybody's."""
        self.applier = Applier(
            event_log=past or self.log,
            relational=self.relational,
            messages=self.messages,
            hot=self.hot,
            view=self.view,
            actions=ACTIONS,
            codec=codec(),
            clock=self.clock,
            now_ms=wall_clock_ms,
            own_lanes={self.lane},
            heard=lambda owner: self.heard is None or owner in self.heard,
        )
        self.writer = LaneWriter(
            self.log, self.lane, entropy(8), self.clock, Signer(_SEED), self.applier.apply, now=wall_clock_ms
        )

    async def start(self) -> "OneDc":
        await self.applier.start()
        await self.writer.start(self.applier.catch_up)
        return self

    async def stop(self) -> None:
        await self.writer.close()
        await self.applier.close()

    async def do(
        self, action: str, actor: str, key: str = "", *, position: Position | None = None, **fields: Any
    ) -> Event:
        """One write: resolve and commit."""
        kind = ACTIONS[action]
        v = self.applier.progress.v
        origin = Origin(actor, key, self.name, wall_clock_ms(), self.view, entropy, position, v=v)
        args = await kind.resolve(kind.Request.model_validate(fields), origin)
        return await self.writer.commit(action, kind.version, actor, key, b"fingerpr", args)

    async def pull(self, other: "OneDc") -> None:
        """Takes over everything that `other` holds and we don't, and applies it."""
        mine = await self.log.tops()
        for lane, top in (await other.log.tops()).items():
            at = mine[lane].seq if lane in mine else 0
            if lane != self.lane and at < top.seq:
                await self.log.store(await other.log.read(lane, at, 10_000))
        # From the log, not from what came just now: an earlier call may have been cancelled between the two.
        for lane in (await self.log.tops()).keys() - {self.lane}:
            applied = self.applier.progress.applied.get(lane)
            records = await self.log.read(lane, applied.seq if applied else 0, 10_000)
            await self.applier.apply([codec().entry(record) for record in records])

    def position(self) -> Position:
        """Where a client stands that has drained everything here."""
        return Position(self.name, self.applier.epoch, 10**9, self.applier.progress.v(), {})
