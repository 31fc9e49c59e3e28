"""Hot state in Valkey or Redis >= 7.0: one function library (planb_hot.lua), one shared connection.

The server must keep nothing over a restart (`save ""`, no AOF) and belongs to this DC alone: `begin` empties its
database. Layout, costs and choices: docs/hot-state.md.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import hiredis

from core import limits
from core.errors import StoreUnavailable
from stores.adapters import hot_library, hot_wire
from stores.adapters.hot_results import Results
from stores.adapters.hot_wire import digits
from stores.adapters.valkey_batcher import TIMEOUT_S, Argument, Batcher, Send, Server
from stores.adapters.valkey_listener import subscribe
from stores.ports import Change, Frontier, HotBatch, Result, Stale, Unread, Updates

CHANNEL = "pb:announce"
FREED_LOOK_S = 0.02
"""How often `begin` looks whether what it emptied is freed."""


def bounds(
    updates_kept: int, recent_kept: int, waiting: int, results_kept: int, system_results_kept: int
) -> dict[str, int]:
    """What an epoch is begun with, by the names that planb_hot.lua has for them."""
    return {
        "updates": updates_kept, "updates_least": limits.least(updates_kept), "trim_share": limits.LIST_TRIM_SHARE,
        "recent": recent_kept, "ids": 4 * recent_kept, "waiting": waiting,
        "result_s": limits.RESULT_KEPT_S, "results": results_kept, "system_results": system_results_kept,
    }  # fmt: skip


class ValkeyHot:
    """The HotStore on one server. Losing it costs a rebuild and a new epoch, never data."""

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
        self._url = url
        kept = bounds(updates_kept, recent_kept, waiting, results_kept, system_results_kept)
        self._bounds: tuple[Argument, ...] = tuple(part for pair in kept.items() for part in pair)
        self._library = hot_library.library(hot_library.source())
        self._batcher = Batcher(url, greet=self._greet, timeout_s=timeout_s)
        self._results = Results(self._values)

    async def _greet(self, send: Send) -> None:
        """On each new connection: the functions are there, and an epoch of another server process is withdrawn."""
        run = (await hot_library.facts(send))["run_id"]
        opened = ("FCALL", self._library.named("pb_open"), 0, self._library.digest, run)
        current: int | None = None
        try:
            current = await send(*opened)
        except hiredis.ReplyError as error:
            if not hot_library.unknown_function(error):
                raise
        if current == 1:
            return
        try:
            await self._library.load(send)
        except hiredis.ReplyError as error:
            if current is None or not str(error).startswith("OOM"):
                raise
            return  # on a full server another release's functions do, of this layout
        await send(*opened)

    async def _call(self, function: str, *arguments: Argument) -> Any:
        function = self._library.named(function)
        try:
            try:
                return await self._batcher.call("FCALL", function, 0, *arguments)
            except hiredis.ReplyError as error:
                if not hot_library.unknown_function(error):
                    raise
            await self._library.load(self._batcher.call)
            return await self._batcher.call("FCALL", function, 0, *arguments)
        except hiredis.ReplyError as error:
            raise hot_library.translated(error) from error

    # -- epochs

    async def begin(self, epoch: int) -> None:
        facts = await hot_library.facts(self._batcher.call)
        hot_library.refuse_eviction(facts)
        await self._call("pb_begin", str(epoch), "run", facts["run_id"], *self._bounds)
        await freed(self._batcher.call)

    async def publish_epoch(self, epoch: int, frontier: Frontier, trimmed: Mapping[int, int]) -> None:
        await self._call("pb_publish", str(epoch), hot_wire.pack_floor(frontier, trimmed))

    async def epoch(self) -> int | None:
        found = await self._call("pb_epoch")
        return None if found is None else int(found)

    async def frontier(self) -> Frontier:
        return hot_wire.frontier_of(await self._call("pb_frontier"))

    # -- writes

    async def decide(self, changes: Sequence[Change]) -> list[bool]:
        if not changes:
            return []
        arguments: list[Argument] = [limits.CRDT_META_KEPT_S]
        for table, key, column, stamp in changes:
            arguments += (f"{table}/{key}", column, digits(stamp))
        return [lost == 1 for lost in await self._call("pb_decide", *arguments)]

    async def apply(self, batch: HotBatch) -> dict[str, int]:
        reply = await self._call("pb_apply", *hot_wire.pack_batch(batch))
        if reply and reply[0] == b"stale" and not isinstance(reply[1], int):
            raise Stale(hot_wire.frontier_of(reply[1]))
        pairs = iter(reply)
        return {owner.decode(): pts for owner, pts in zip(pairs, pairs, strict=True)}

    # -- updates

    async def updates(self, owner: str, after: int, limit: int) -> Updates:
        first, pts, elements = await self._call("pb_updates", owner, after, limit)
        return Updates(first, [hot_wire.entry_of(element) for element in elements], pts)

    async def trimmed(self, owner: str) -> dict[int, int]:
        return hot_wire.lanes_of(await self._call("pb_trimmed", owner))

    async def pts(self, owners: Sequence[str]) -> list[int]:
        found: list[int] = await self._call("pb_pts", *owners) if owners else []
        return found

    async def seen(self, owner: str, conversation: str, message: int, pts: int) -> dict[int, int]:
        return hot_wire.lanes_of(await self._call("pb_seen", owner, conversation, digits(message), pts))

    # -- dialogs

    async def dialogs(
        self, user: str, channels: Sequence[str], pinned: Sequence[str], after: tuple[int, str] | None, limit: int
    ) -> list[tuple[str, int]]:
        place: tuple[Argument, ...] = ("", "", "")
        if after is not None:
            place = (hot_wire.score(after[0]), digits(after[0]), after[1])
        flat = await self._call("pb_dialogs", user, limit, *place, len(pinned), *pinned, *channels)
        return [(flat[i].decode(), int(flat[i + 1])) for i in range(0, len(flat), 2)]

    async def tops(self, user: str, conversations: Sequence[str]) -> list[int]:
        if not conversations:
            return []
        return [int(top) for top in await self._call("pb_tops", user, *conversations)]

    async def unread(self, user: str, asked: Sequence[tuple[str, int]]) -> list[Unread]:
        if not asked:
            return []
        flat = await self._call("pb_unread", user, *(part for name, id in asked for part in (name, digits(id))))
        return [Unread(flat[i], flat[i + 1] == 1) for i in range(0, len(flat), 2)]

    async def result(self, actor: str, key: str) -> Result | None:
        return await self._results.get(actor, key)

    async def results_of(self, asked: Sequence[tuple[str, str]]) -> list[Result | None]:
        return await self._results.of(asked)

    async def _values(self, asked: Sequence[tuple[str, str]]) -> Sequence[bytes | None]:
        values: list[bytes | None] = await self._call("pb_results", *(part for pair in asked for part in pair))
        return values

    # -- brokers and presence

    async def announce(self, frame: bytes) -> None:
        try:
            await self._batcher.call("PUBLISH", CHANNEL, frame)
        except hiredis.ReplyError as error:
            raise hot_library.translated(error) from error

    def listen(self) -> AsyncIterator[bytes]:
        server = Server(self._url)
        return subscribe(lambda: server, CHANNEL)

    async def present(self, user: str, connection: str, ttl_s: int) -> None:
        await self._call("pb_present", user, connection, ttl_s)

    async def online(self, users: Sequence[str]) -> list[bool]:
        return [there == 1 for there in await self._call("pb_online", *users)] if users else []

    async def close(self) -> None:
        await self._batcher.close()


async def freed(send: Send) -> None:
    """Returns when the server has freed what was emptied: it is empty at once, but until then a full server would
    refuse what is to be built."""
    try:
        async with asyncio.timeout(limits.HOT_FREED_S_MAX):
            while (await hot_library.facts(send))["lazyfree_pending_objects"] != "0":  # noqa: ASYNC110
                await asyncio.sleep(FREED_LOOK_S)
    except TimeoutError as error:
        raise StoreUnavailable("the hot store's server does not get to freeing what it held") from error
