"""Hot state in a cluster of Redis >= 7.0 or Valkey: planb_hot_cluster.lua, one call per node and batch.

Every node must keep nothing over a restart and belongs, like the others, to this DC alone. What it costs, and what
happens when nodes go, come, or lose what they had: docs/hot-state.md.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from core import limits
from core.errors import StoreUnavailable
from stores.adapters import cluster_wire, hot_library, hot_wire
from stores.adapters.cluster_epoch import Epoch, Home
from stores.adapters.cluster_map import SLOTS, slot_of
from stores.adapters.cluster_nodes import Cluster, Elsewhere, Node
from stores.adapters.hot_results import Results
from stores.adapters.hot_wire import digits
from stores.adapters.valkey_batcher import TIMEOUT_S, Argument
from stores.adapters.valkey_hot import CHANNEL, bounds, freed
from stores.adapters.valkey_listener import subscribe
from stores.ports import Change, EpochLost, Frontier, HotBatch, Result, Stale, Unread, Updates

T = TypeVar("T")
SLOTS_PROBED = 16
"""Slots of each node that `epoch` looks at; other ones each time."""


class ClusterHot:
    """The HotStore on a cluster. What one node loses, the epoch loses: a rebuild and a new one, never data."""

    def __init__(
        self,
        url: str,
        *,
        updates_kept: int = limits.UPDATES_KEPT_MAX,
        recent_kept: int = limits.RECENT_KEPT_MAX,
        waiting: int = limits.HOT_WAITING_MAX,
        results_kept: int = limits.RESULTS_OF_USER_MAX,
        system_results_kept: int = limits.RESULTS_OF_SYSTEM_MAX,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._bounds = bounds(updates_kept, recent_kept, waiting, results_kept, system_results_kept)
        self._cluster = Cluster(url, hot_library.library(hot_library.source_for_cluster()), timeout_s)
        self._home = Home(self._cluster)
        self._results = Results(self._values)
        self._probed = 0

    # -- epochs

    async def begin(self, epoch: int) -> None:
        cluster = self._cluster
        await cluster.refresh()
        for slot in range(SLOTS):
            cluster.owner(slot)  # all are served, or it is unavailable
        self._home.forget()
        owned = {node: slots for node in cluster.primaries if (slots := cluster.slots_of(node))}
        for node in owned:
            hot_library.refuse_eviction(await node.facts())
            if (name := await node.call("pb_foreign_at")) is not None:
                raise hot_library.foreign(name.decode())
        try:
            lives = [await node.living() for node in owned]
        except Elsewhere as error:
            raise StoreUnavailable(private="a primary of the cluster has just become a replica") from error
        packed = [(node, cluster_wire.pack_tags(slots)) for node, slots in owned.items()]
        if await cluster.together([(node, node.call("pb_begin_at", str(epoch), tags)) for node, tags in packed]):
            raise StoreUnavailable(private="slots of the cluster are on their way: an epoch can't begin")
        await self._home.begin(epoch, self._bounds, lives)
        for node in owned:
            await freed(node.send)

    async def publish_epoch(self, epoch: int, frontier: Frontier, trimmed: Mapping[int, int]) -> None:
        await self._home.publish(epoch, hot_wire.pack_floor(frontier, trimmed))

    async def epoch(self) -> int | None:
        """Looks at every node: whoever lost what it had may not be asked by anyone else for long."""
        await self._cluster.refresh()
        known = await self._home.look()
        if known is None or not known.published:
            return None
        try:
            known = await self._home.admit(known)
            await self._probe(known)
        except EpochLost:
            await self._home.withdraw(known)
            return None
        return known.number

    async def _probe(self, known: Epoch) -> None:
        slots: list[int] = []
        for node in self._cluster.primaries:
            node.life = None
            owned = self._cluster.slots_of(node)
            if owned:
                slots += {owned[(self._probed + n) % len(owned)] for n in range(SLOTS_PROBED)}
        self._probed += SLOTS_PROBED
        await self._at(known, slots, "pb_slots", lambda places: ())

    async def frontier(self) -> Frontier:
        known = await self._home.look()
        if known is None or not known.published:
            raise EpochLost("no epoch is published here")
        return dict(self._home.frontier or {})

    # -- writes

    async def decide(self, changes: Sequence[Change]) -> list[bool]:
        def arguments(places: list[int]) -> list[Argument]:
            found: list[Argument] = [limits.CRDT_META_KEPT_S]
            for table, key, column, stamp in (changes[place] for place in places):
                found += (f"{table}/{key}", column, digits(stamp))
            return found

        slots = [slot_of(f"{table}/{key}") for table, key, _, _ in changes]
        return [lost == 1 for lost in await self._without_epoch(slots, "pb_decide_at", arguments)]

    async def apply(self, batch: HotBatch) -> dict[str, int]:
        """The parts of all nodes at once, and then the frontier. An attempt that ended between is found out by what
        each slot notes of its lanes, and repeated without doubling an update."""
        known = await self._home.for_batch(batch)
        try:
            try:
                answer = await self._parts(batch, known)
            except EpochLost:
                if (again := await self._lost(known)).number != batch.epoch:
                    raise
                answer = await self._parts(batch, again)
            if batch.moves:
                await self._home.move(batch)
        except (EpochLost, Stale):
            raise
        except BaseException:
            self._home.doubt()
            raise
        return answer

    async def _parts(self, batch: HotBatch, known: Epoch) -> dict[str, int]:
        answer: dict[str, int] = {}
        frontier = self._home.frontier or {}

        async def write(node: Node, part: HotBatch) -> None:
            await self._home.check(node, known)
            packed = cluster_wire.pack_part(part, known.bounds, frontier)
            pairs = iter(await node.call("pb_apply_at", *packed))
            answer.update((owner.decode(), pts) for owner, pts in zip(pairs, pairs, strict=True))

        async def again(left: list[HotBatch]) -> list[HotBatch]:
            parts = [pair for one in left for pair in cluster_wire.cut(one, self._cluster.owner).items()]
            refused = set(await self._cluster.together([(node, write(node, part)) for node, part in parts]))
            return [part for node, part in parts if node in refused]

        await self._cluster.until_served([batch], again)
        return answer

    # -- updates

    async def updates(self, owner: str, after: int, limit: int) -> Updates:
        first, pts, elements = await self._one(owner, "pb_updates", owner, after, limit)
        return Updates(first, [hot_wire.entry_of(element) for element in elements], pts)

    async def trimmed(self, owner: str) -> dict[int, int]:
        return hot_wire.lanes_of(await self._one(owner, "pb_trimmed", owner))

    async def pts(self, owners: Sequence[str]) -> list[int]:
        return await self._each(owners, "pb_pts", lambda places: [owners[place] for place in places])

    async def seen(self, owner: str, conversation: str, message: int, pts: int) -> dict[int, int]:
        return hot_wire.lanes_of(await self._one(owner, "pb_seen", owner, conversation, digits(message), pts))

    # -- dialogs

    async def dialogs(
        self, user: str, channels: Sequence[str], pinned: Sequence[str], after: tuple[int, str] | None, limit: int
    ) -> list[tuple[str, int]]:
        place: tuple[Argument, ...] = ("", "", "")
        if after is not None:
            place = (hot_wire.score(after[0]), digits(after[0]), after[1])
        shown = [name for name in dict.fromkeys(channels) if name not in set(pinned)]
        flat, tops = await asyncio.gather(
            # No supergroup is in his own index.
            self._one(user, "pb_dialogs", user, limit, *place, len(pinned), *pinned),
            self._channel_tops(shown),
        )
        found = {flat[i].decode(): int(flat[i + 1]) for i in range(0, len(flat), 2)}
        found |= {name: top for name, top in zip(shown, tops, strict=True) if top and _beyond(after, name, top)}
        return sorted(found.items(), key=_order)[:limit]

    async def tops(self, user: str, conversations: Sequence[str]) -> list[int]:
        if not conversations:
            return []
        tops = [int(top) for top in await self._one(user, "pb_own_tops", user, *conversations)]
        missing = [name for name, top in zip(conversations, tops, strict=True) if not top]
        others = dict(zip(missing, await self._channel_tops(missing), strict=True))
        return [top or others[name] for name, top in zip(conversations, tops, strict=True)]

    async def _channel_tops(self, channels: Sequence[str]) -> list[int]:
        found = await self._each(channels, "pb_channel_tops", lambda places: [channels[place] for place in places])
        return [int(top) for top in found]

    async def unread(self, user: str, asked: Sequence[tuple[str, int]]) -> list[Unread]:
        def arguments(places: list[int]) -> list[Argument]:
            return [user, *(part for at in places for part in (asked[at][0], digits(asked[at][1])))]

        found = await self._each([name for name, _ in asked], "pb_unread", arguments, size=2)
        return [Unread(number, more == 1) for number, more in found]

    async def result(self, actor: str, key: str) -> Result | None:
        return await self._results.get(actor, key)

    async def results_of(self, asked: Sequence[tuple[str, str]]) -> list[Result | None]:
        return await self._results.of(asked)

    async def _values(self, asked: Sequence[tuple[str, str]]) -> Sequence[bytes | None]:
        return await self._each(
            [actor for actor, _ in asked], "pb_results", lambda places: [part for at in places for part in asked[at]]
        )

    # -- brokers and presence

    async def announce(self, frame: bytes) -> None:
        async def ask(node: Node, places: list[int]) -> None:
            await node.send("PUBLISH", CHANNEL, frame)

        await self._cluster.spread([self._home.slot], ask)

    def listen(self) -> AsyncIterator[bytes]:
        return subscribe(self._cluster.next_server, CHANNEL)

    async def present(self, user: str, connection: str, ttl_s: int) -> None:
        await self._without_epoch([slot_of(user)], "pb_present", lambda places: (user, connection, ttl_s), single=True)

    async def online(self, users: Sequence[str]) -> list[bool]:
        slots = [slot_of(user) for user in users]
        found = await self._without_epoch(slots, "pb_online_at", lambda places: [users[place] for place in places])
        return [there == 1 for there in found]

    async def close(self) -> None:
        await self._cluster.close()

    # -- calls

    async def _in_epoch(self, read: Callable[[Epoch], Awaitable[T]]) -> T:
        """A reader takes the last epoch it saw, and looks again if that is over."""
        known = await self._home.known()
        try:
            return await read(known)
        except EpochLost:
            again = await self._lost(known)
        return await read(again)

    async def _lost(self, known: Epoch) -> Epoch:
        """Some slot or node does not carry `known`. The epoch that has followed; EpochLost if none has, and then it is
        over for all."""
        again = await self._home.look()
        if again == known:
            await self._home.withdraw(known)
        if again is None or again == known or not again.published:
            raise EpochLost("a node of the cluster does not carry the epoch")
        return again

    async def _at(
        self, known: Epoch, slots: Sequence[int], function: str, arguments: Callable[[list[int]], Sequence[Argument]]
    ) -> list[tuple[list[int], Any]]:
        """(places, reply) of each node's call."""
        replies: list[tuple[list[int], Any]] = []

        async def ask(node: Node, places: list[int]) -> None:
            await self._home.check(node, known)
            head = cluster_wire.pack_head(
                known.number, (slots[place] for place in places), known.floor, known.bounds["recent"]
            )
            replies.append((places, await node.call(f"{function}_at", head, *arguments(places))))

        await self._cluster.spread(slots, ask)
        return replies

    async def _one(self, tag: str, function: str, *arguments: Argument) -> Any:
        """Of one slot."""

        async def read(known: Epoch) -> Any:
            ((_, reply),) = await self._at(known, [slot_of(tag)], function, lambda places: arguments)
            return reply

        return await self._in_epoch(read)

    async def _each(
        self,
        tags: Sequence[str],
        function: str,
        arguments: Callable[[list[int]], Sequence[Argument]],
        size: int = 1,
    ) -> list[Any]:
        """The part of the answer that is each tag's: one element, or so many together."""
        if not tags:
            return []
        slots = [slot_of(tag) for tag in tags]

        async def read(known: Epoch) -> list[Any]:
            return _in_order(len(slots), await self._at(known, slots, function, arguments), size)

        return await self._in_epoch(read)

    async def _without_epoch(
        self,
        slots: Sequence[int],
        function: str,
        arguments: Callable[[list[int]], Sequence[Argument]],
        single: bool = False,
    ) -> list[Any]:
        replies: list[tuple[list[int], Any]] = []

        async def ask(node: Node, places: list[int]) -> None:
            reply = await node.call(function, *arguments(places))
            replies.append((places, [reply] if single else reply))

        if not slots:
            return []
        await self._cluster.spread(slots, ask)
        return _in_order(len(slots), replies, 1)


def _in_order(count: int, replies: Sequence[tuple[list[int], Any]], size: int) -> list[Any]:
    found: list[Any] = [None] * count
    for places, reply in replies:
        for n, place in enumerate(places):
            found[place] = reply[n] if size == 1 else tuple(reply[n * size : (n + 1) * size])
    return found


def _order(dialog: tuple[str, int]) -> tuple[int, str]:
    return -dialog[1], dialog[0]


def _beyond(after: tuple[int, str] | None, name: str, top: int) -> bool:
    return after is None or _order((name, top)) > (-after[0], after[1])
