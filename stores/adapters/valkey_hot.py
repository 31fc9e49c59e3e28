"""Hot state in Valkey or Redis >= 7.0: one function library (planb_hot.lua), one shared connection.

The server must keep nothing over a restart (`save ""`, no AOF) and belongs to this DC alone: `begin` empties its
database. Layout, costs and choices: docs/hot-state.md.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from copy import copy
from importlib import resources
from typing import Any

import hiredis

from core import limits
from core.errors import ConfigError, StoreUnavailable
from stores.adapters import hot_wire
from stores.adapters.hot_wire import digits
from stores.adapters.valkey_batcher import TIMEOUT_S, Argument, Batcher, Send
from stores.adapters.valkey_listener import subscribe
from stores.ports import Change, EpochLost, Frontier, HotBatch, Mark, Result, Stale, Unread, Updates

CHANNEL = "pb:announce"
FREED_LOOK_S = 0.02
"""How often `begin` looks whether what it emptied is freed."""
_Asked = tuple[str, str, "asyncio.Future[bytes | None]"]
"""Actor, key, and who waits."""


def _source() -> str:
    return resources.files("stores.adapters").joinpath("planb_hot.lua").read_text()


def _library(source: str) -> tuple[str, str, str]:
    """The Lua source with its layout and digest in their places; the layout; the digest."""
    found = re.search(r"^local LAYOUT = '(\d+)'$", source, re.MULTILINE)
    assert found, "planb_hot.lua names its layout"
    digest = hashlib.blake2b(source.encode(), digest_size=8).hexdigest()
    return source.replace("@layout@", found[1]).replace("@digest@", digest), found[1], digest


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
        self._bounds: tuple[Argument, ...] = (
            "updates", updates_kept, "updates_least", limits.least(updates_kept), "trim_share", limits.LIST_TRIM_SHARE,
            "recent", recent_kept, "ids", 4 * recent_kept, "waiting", waiting,
            "result_s", limits.RESULT_KEPT_S, "results", results_kept, "system_results", system_results_kept,
        )  # fmt: skip
        self._library, self._layout, self._digest = _library(_source())
        self._batcher = Batcher(url, greet=self._greet, timeout_s=timeout_s)
        self._asked: list[_Asked] = []
        """Results that this tick asks for."""
        self._asking: set[asyncio.Task[None]] = set()

    async def _greet(self, send: Send) -> None:
        """On each new connection: the functions are there, and an epoch of another server process is withdrawn."""
        run = (await _facts(send))["run_id"]
        opened = ("FCALL", f"pb_open_{self._layout}", 0, self._digest, run)
        current: int | None = None
        try:
            current = await send(*opened)
        except hiredis.ReplyError as error:
            if not _unknown_function(error):
                raise
        if current == 1:
            return
        try:
            await send("FUNCTION", "LOAD", "REPLACE", self._library)
        except hiredis.ReplyError as error:
            if current is None or not str(error).startswith("OOM"):
                raise
            return  # on a full server another release's functions do, of this layout
        await send(*opened)

    async def _call(self, function: str, *arguments: Argument) -> Any:
        function = f"{function}_{self._layout}"
        try:
            try:
                return await self._batcher.call("FCALL", function, 0, *arguments)
            except hiredis.ReplyError as error:
                if not _unknown_function(error):
                    raise
            await self._batcher.call("FUNCTION", "LOAD", "REPLACE", self._library)
            return await self._batcher.call("FCALL", function, 0, *arguments)
        except hiredis.ReplyError as error:
            raise _translated(error) from error

    # -- epochs

    async def begin(self, epoch: int) -> None:
        facts = await _facts(self._batcher.call)
        if facts["maxmemory_policy"].startswith("allkeys"):
            raise ConfigError(
                "the hot store's server evicts keys: updates would vanish within an epoch",
                private=f"maxmemory-policy {facts['maxmemory_policy']}, it must be noeviction",
            )
        await self._call("pb_begin", str(epoch), "run", facts["run_id"], *self._bounds)
        # Emptied at once, but freed in the background: until then a full server would refuse what is to be built.
        try:
            async with asyncio.timeout(limits.HOT_FREED_S_MAX):
                while (await _facts(self._batcher.call))["lazyfree_pending_objects"] != "0":  # noqa: ASYNC110
                    await asyncio.sleep(FREED_LOOK_S)
        except TimeoutError as error:
            raise StoreUnavailable("the hot store's server does not get to freeing what it held") from error

    async def publish_epoch(self, epoch: int, frontier: Frontier, trimmed: Mapping[int, int]) -> None:
        await self._call("pb_publish", str(epoch), hot_wire.pack_floor(frontier, trimmed))

    async def epoch(self) -> int | None:
        found = await self._call("pb_epoch")
        return None if found is None else int(found)

    async def frontier(self) -> Frontier:
        return _frontier(await self._call("pb_frontier"))

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
            raise Stale(_frontier(reply[1]))
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
        # Every write asks this, so what one tick of the loop asks leaves as one call.
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._ask)
        future: asyncio.Future[bytes | None] = loop.create_future()
        self._asked.append((actor, key, future))
        value = await future
        return None if value is None else hot_wire.unpack_result(actor, key, value)

    def _ask(self) -> None:
        asked, self._asked = self._asked, []
        task = asyncio.create_task(self._results(asked))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _results(self, asked: Sequence[_Asked]) -> None:
        try:
            values = await self._call("pb_results", *(part for actor, key, _ in asked for part in (actor, key)))
        except Exception as error:
            for _, _, future in asked:
                if not future.done():
                    future.set_exception(copy(error))  # each his own: raising writes into it
                    future.exception()  # a caller that is gone need not be told
        else:
            for (_, _, future), value in zip(asked, values, strict=True):
                if not future.done():
                    future.set_result(value)

    # -- brokers and presence

    async def announce(self, frame: bytes) -> None:
        try:
            await self._batcher.call("PUBLISH", CHANNEL, frame)
        except hiredis.ReplyError as error:
            raise _translated(error) from error

    def listen(self) -> AsyncIterator[bytes]:
        return subscribe(self._url, CHANNEL)

    async def present(self, user: str, connection: str, ttl_s: int) -> None:
        await self._call("pb_present", user, connection, ttl_s)

    async def online(self, users: Sequence[str]) -> list[bool]:
        return [there == 1 for there in await self._call("pb_online", *users)] if users else []

    async def close(self) -> None:
        await self._batcher.close()


async def _facts(send: Send) -> dict[str, str]:
    """What the server says of itself. `run_id` is the process: it changes with a restart, and a replica has another."""
    reply = await send("INFO", "server", "memory")
    facts = dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
    if missing := [name for name in ("run_id", "maxmemory_policy", "lazyfree_pending_objects") if name not in facts]:
        raise StoreUnavailable(private=f"the server does not tell its {', '.join(missing)}")
    return facts


def _unknown_function(error: hiredis.ReplyError) -> bool:
    return str(error).startswith("ERR Function not found")


def _translated(error: hiredis.ReplyError) -> Exception:
    code, _, text = str(error).partition(" ")
    if code == "EPOCHLOST":
        return EpochLost(text)
    if code == "FOREIGN":
        return ConfigError("the hot store's database holds other data; it must be this DC's alone", private=text)
    return StoreUnavailable(private=str(error))


def _frontier(flat: Sequence[bytes]) -> Frontier:
    return {int(flat[i]): Mark(int(flat[i + 1][20:]), int(flat[i + 1][:19])) for i in range(0, len(flat), 2)}
