"""The nodes of a Redis or Valkey cluster: one batching connection for each, and who serves which slot at the moment.

Our functions declare no keys, so a node never redirects a call: one that is given a slot which it does not serve, or
not wholly, refuses it before its first write. Then the map is made anew from what all nodes say, and it is repeated.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import hiredis

from core import limits
from core.cause import cause_of
from core.errors import ConfigError, StoreUnavailable
from stores.adapters.cluster_map import SLOTS, Member, members, owners
from stores.adapters.hot_library import Library, facts, translated, unknown_function
from stores.adapters.valkey_batcher import RETRY_S, Argument, Batcher, Send, Server
from stores.ports import EpochLost

MOVING_LOOK_S = 0.02
"""How often it is tried again meanwhile."""
LATE_S = 0.1
"""After the first node has said who serves what, the others have so long to contradict."""


class Elsewhere(Exception):
    """The node does not serve a slot that it was asked for, or not wholly; nothing was written."""


class Node:
    """One server of the cluster."""

    def __init__(self, address: str, url: str, library: Library, timeout_s: float) -> None:
        self.address = address
        self.server = Server(url)
        self._library = library
        self._batcher = Batcher(url, greet=self._greet, timeout_s=timeout_s)
        self.life: str | None = None
        """The process, and its data: a restart changes it, and so does a time as a replica. None where it is to be
        asked."""

    async def _greet(self, send: Send) -> None:
        found = await facts(send)
        if found["role"] != "master":
            self.life = None
            return
        life = f"{found['run_id']}.{found['master_replid']}"
        before, self.life = self.life, life
        if before not in (None, life):
            raise StoreUnavailable(private=f"another process answers at {self.address}")
        current: int | None = None
        try:
            current = await send("FCALL", self._library.named("pb_digest"), 0, self._library.digest)
        except hiredis.ReplyError as error:
            if not unknown_function(error):
                raise
        if current != 1:
            try:
                await self._library.load(send)
            except hiredis.ReplyError as error:
                if current is None or not str(error).startswith("OOM"):
                    raise  # on a full server another release's functions do, of this layout

    async def living(self) -> str:
        """The life that answers now. Elsewhere if it is a replica's."""
        if self.life is None:
            found = await self.facts()
            if found["role"] != "master":
                raise Elsewhere
            self.life = f"{found['run_id']}.{found['master_replid']}"
        return self.life

    async def facts(self) -> dict[str, str]:
        return await facts(self.send)

    async def send(self, *command: Argument) -> Any:
        try:
            return await self._batcher.call(*command)
        except hiredis.ReplyError as error:
            raise _said(error) from error

    async def call(self, function: str, *arguments: Argument) -> Any:
        """One function. Elsewhere, EpochLost, ConfigError and StoreUnavailable as it says."""
        function = self._library.named(function)
        try:
            return await self._batcher.call("FCALL", function, 0, *arguments)
        except hiredis.ReplyError as error:
            if not unknown_function(error):
                raise _said(error) from error
        try:
            await self._library.load(self._batcher.call)
            return await self._batcher.call("FCALL", function, 0, *arguments)
        except hiredis.ReplyError as error:
            raise _said(error) from error

    async def close(self) -> None:
        await self._batcher.close()


def _said(error: hiredis.ReplyError) -> Exception:
    text = str(error)
    if "non local key" in text or text.startswith(("READONLY", "MOVED")):
        return Elsewhere(text)
    return translated(error)


class Cluster:
    """`redis+cluster://[user:password@]host:port[,host:port]`: some of its nodes are enough."""

    def __init__(self, url: str, library: Library, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme != "redis+cluster" or parts.path.strip("/"):
            raise ConfigError(f"not a redis+cluster:// address: {parts.scheme}://…")
        login, _, hosts = parts.netloc.rpartition("@")
        self._login = f"{':'.join(quote(unquote(part), safe='') for part in login.split(':'))}@" if login else ""
        self._seeds = [host if ":" in host else f"{host}:6379" for host in hosts.split(",") if host]
        if not self._seeds:
            raise ConfigError("redis+cluster:// names no host")
        self._library = library
        self._timeout_s = timeout_s
        self._nodes: dict[str, Node] = {}
        self._owners: list[Node | None] = [None] * SLOTS
        self._said: set[Member] = set()
        self._due = True
        """Somebody found the map wrong, or a node silent."""
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at = -RETRY_S
        self.primaries: list[Node] = []
        self._listened = itertools.count()

    def _node(self, address: str) -> Node:
        if address not in self._nodes:
            self._nodes[address] = Node(address, f"redis://{self._login}{address}/0", self._library, self._timeout_s)
        return self._nodes[address]

    def owner(self, slot: int) -> Node:
        """StoreUnavailable where nobody serves it."""
        node = self._owners[slot]
        if node is None:
            self._due = True
            raise StoreUnavailable(private=f"no node of the cluster serves slot {slot}")
        return node

    def slots_of(self, node: Node) -> list[int]:
        return [slot for slot, owner in enumerate(self._owners) if owner is node]

    def next_server(self) -> Server:
        """One after the other, so that who can't reach the first tries the next."""
        addresses = [node.address for node in self.primaries] or self._seeds
        return self._node(addresses[next(self._listened) % len(addresses)]).server

    async def refresh(self) -> None:
        """Makes the map anew; those who want it at the same time share it."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(self._refresh_done)
        await asyncio.shield(self._refreshing)

    def _refresh_done(self, task: "asyncio.Task[None]") -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # a caller that is gone need not be told

    async def current(self) -> None:
        """Makes the map anew if somebody found it wrong, but not all the time."""
        if self._due and asyncio.get_running_loop().time() >= self._refreshed_at + RETRY_S:
            await self.refresh()

    async def _refresh(self) -> None:
        asked = [self._node(address) for address in {*(node.address for node in self.primaries), *self._seeds}]
        tasks = {asyncio.create_task(self._view(node)): node for node in asked}
        done, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        while late and not any(task.exception() is None for task in done):
            more, late = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
            done |= more
        if late:
            more, late = await asyncio.wait(late, timeout=LATE_S)
            done |= more
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        self._refreshed_at = asyncio.get_running_loop().time()
        views = [task.result() for task in done if task.exception() is None]
        if not views:
            errors = [error for task in done if (error := task.exception())]
            causes = "; ".join(getattr(error, "private", "") or cause_of(error) for error in errors)
            raise StoreUnavailable(private=f"no node of the cluster answers: {causes}")
        self._due = False
        said = {member for view in views for member in view}
        if said != self._said:
            await self._take(said)

    @staticmethod
    async def _view(node: Node) -> list[Member]:
        return members((await node.send("CLUSTER", "NODES")).decode(), node.address)

    async def _take(self, said: set[Member]) -> None:
        self._said = said
        before = self._owners
        claimed = owners(one for one in said if one.primary)
        self._owners = [None if address is None else self._node(address) for address in claimed]
        for was, now in set(zip(before, self._owners, strict=True)):
            if now is not None and now is not was:
                now.life = None  # whoever comes to a slot is asked who he is
        self.primaries = [self._node(address) for address in sorted({one.address for one in said if one.primary})]
        known = {one.address for one in said} | set(self._seeds)
        for address in [address for address in self._nodes if address not in known]:
            await self._nodes.pop(address).close()

    async def spread(self, slots: Sequence[int], ask: Callable[[Node, list[int]], Awaitable[None]]) -> None:
        """Calls `ask` for each node that serves some of the slots, with their places, all at once. Where it raises
        Elsewhere it is called again, for whoever serves these slots then."""

        async def again(left: list[int]) -> list[int]:
            groups: dict[Node, list[int]] = {}
            for place in left:
                groups.setdefault(self.owner(slots[place]), []).append(place)
            refused = await self.together([(node, ask(node, places)) for node, places in groups.items()])
            return [place for node in refused for place in groups[node]]

        await self.until_served(list(range(len(slots))), again)

    async def until_served(self, left: list[Any], again: Callable[[list[Any]], Awaitable[list[Any]]]) -> None:
        """Calls `again` with what is left until it leaves nothing; between two calls the map is made anew."""
        await self.current()
        clock = asyncio.get_running_loop().time
        end = clock() + limits.HOT_SLOT_WAIT_S_MAX
        while left := await again(left):
            self._due = True
            if clock() > end:
                raise StoreUnavailable(private="slots of the cluster are on their way for too long")
            await asyncio.sleep(MOVING_LOOK_S)
            await self.refresh()

    async def together(self, asked: Sequence[tuple[Node, Awaitable[None]]]) -> list[Node]:
        """Waits for all; the nodes that raised Elsewhere. Raises EpochLost if one said so, else the first error."""
        found = await asyncio.gather(*(one for _, one in asked), return_exceptions=True)
        errors = [error for error in found if isinstance(error, BaseException) and not isinstance(error, Elsewhere)]
        if any(isinstance(error, StoreUnavailable) for error in errors):
            self._due = True
        for error in sorted(errors, key=lambda error: not isinstance(error, EpochLost)):
            raise error
        return [node for (node, _), error in zip(asked, found, strict=True) if isinstance(error, Elsewhere)]

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        for node in self._nodes.values():
            await node.close()
