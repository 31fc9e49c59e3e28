"""What belongs to a whole epoch on a cluster, in the slot of {dc}: its bounds, frontier and floor, and which processes
may serve it. Every process of this DC keeps a copy; the number in each call tells a node whether it is still right."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from core.errors import StoreUnavailable
from stores.adapters import cluster_wire, hot_wire
from stores.adapters.cluster_map import slot_of
from stores.adapters.cluster_nodes import Cluster, Elsewhere, Node
from stores.adapters.valkey_batcher import Argument
from stores.ports import EpochLost, Frontier, HotBatch, Stale

_NODE = "node:"


class Epoch(NamedTuple):
    number: int
    published: bool
    bounds: Mapping[str, int]
    floor: tuple[str, ...]
    """Lane, id, lane, ..."""
    lives: frozenset[str]
    """Of the processes that may serve it: those that were there at its beginning, and those that came to the cluster
    empty. A replica that takes over is none of them: it may lack the last writes."""


class Home:
    def __init__(self, cluster: Cluster) -> None:
        self.slot = slot_of("dc")
        self.frontier: Frontier | None = None
        """Where all lanes stand, or stood; None where that is to be asked."""
        self._cluster = cluster
        self._known: Epoch | None = None

    async def look(self) -> Epoch | None:
        """Asks which epoch there is. None also where the node that knows may not serve it: then it is over."""
        reply, life = await self._asked("pb_home")
        meta, frontier, floor = reply
        fields = {meta[i].decode(): meta[i + 1].decode() for i in range(0, len(meta), 2)}
        number = fields.pop("epoch", None)
        published, building = number is not None, fields.pop("building", None)
        number = number or building
        self._known = self.frontier = None
        if number is None:
            return None
        lives = frozenset(name.removeprefix(_NODE) for name in fields if name.startswith(_NODE))
        bounds = {name: int(value) for name, value in fields.items() if not name.startswith(_NODE)}
        found = Epoch(int(number), published, bounds, tuple(part.decode() for part in floor), lives)
        if life not in lives:
            await self.withdraw(found)
            return None
        self._known, self.frontier = found, hot_wire.frontier_of(frontier)
        return found

    async def known(self) -> Epoch:
        """The one that is published, as far as we know. EpochLost if none is."""
        found = self._known if self._known and self._known.published else await self.look()
        if found is None or not found.published:
            raise EpochLost("no epoch is published here")
        return found

    async def for_batch(self, batch: HotBatch) -> Epoch:
        """The batch's own epoch, published or not. EpochLost if it is another's; Stale if it does not begin where its
        lanes stand."""
        found = self._known
        empty = not any(batch[1:])
        if found is None or found.number != batch.epoch or empty or (batch.moves and self.frontier is None):
            found = await self.look()
        if found is None or found.number != batch.epoch:
            raise EpochLost("another epoch is here, or none")
        if not self._stands(batch):
            await self.look()
            if not self._stands(batch):
                raise Stale(dict(self.frontier or {}))
        return found

    def _stands(self, batch: HotBatch) -> bool:
        at = self.frontier or {}
        return all((at[lane].seq if lane in at else 0) == after for lane, (after, _) in batch.moves.items())

    async def check(self, node: Node, epoch: Epoch) -> None:
        """EpochLost if the process that answers there may not serve it; Elsewhere if it is a replica."""
        if (node.life or await node.living()) not in epoch.lives:
            raise EpochLost(f"another process answers at {node.address}")

    async def move(self, batch: HotBatch) -> None:
        reply, _ = await self._asked("pb_home_move", str(batch.epoch), cluster_wire.pack_moves(batch))
        if reply != 1:
            self.frontier = hot_wire.frontier_of(reply[1])
            raise Stale(dict(self.frontier))
        if self.frontier is not None:
            self.frontier.update({lane: end for lane, (_, end) in batch.moves.items()})

    def doubt(self) -> None:
        """Whether the last batch came in is not known."""
        self.frontier = None

    # -- the life of an epoch

    def forget(self) -> None:
        self._known = self.frontier = None

    async def begin(self, number: int, bounds: Mapping[str, int], lives: Iterable[str]) -> None:
        lives = frozenset(lives)
        fields: list[Argument] = [part for pair in bounds.items() for part in pair]
        fields += [part for life in lives for part in (f"{_NODE}{life}", 1)]
        await self._asked("pb_home_begin", str(number), *fields)
        self._known, self.frontier = Epoch(number, False, dict(bounds), (), lives), {}

    async def publish(self, number: int, floor: bytes) -> None:
        await self._asked("pb_home_publish", str(number), floor)
        await self.look()

    async def withdraw(self, epoch: Epoch) -> None:
        """It is over for everyone who asks."""
        self._known = None
        await self._asked("pb_home_withdraw", str(epoch.number))

    async def admit(self, epoch: Epoch) -> Epoch:
        """Lets nodes serve it that came to the cluster since: primaries that hold nothing, and so have lost nothing."""
        came = False
        for node in self._cluster.primaries:
            if self._cluster.slots_of(node) or node.life in epoch.lives:
                continue
            try:
                life = await node.living()
                if life not in epoch.lives and await node.send("DBSIZE") == 0:
                    await self._asked("pb_home_admit", str(epoch.number), life)
                    came = True
            except (StoreUnavailable, Elsewhere):
                continue  # who does not answer can wait, and a replica has no business here
        found = await self.look() if came else epoch
        if found is None or found.number != epoch.number:
            raise EpochLost("another epoch is here, or none")
        return found

    async def _asked(self, function: str, *arguments: Argument) -> tuple[Any, str]:
        """The reply, and the life of the node that gave it."""
        found: list[tuple[Any, str]] = []

        async def ask(node: Node, places: list[int]) -> None:
            life = await node.living()
            found.append((await node.call(function, *arguments), life))

        await self._cluster.spread([self.slot], ask)
        return found[0]
