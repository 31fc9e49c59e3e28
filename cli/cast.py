"""The people of a story: a user and an SDK client per nick, each at home in one datacenter, and the watchers.

A watcher only listens: one per datacenter is a member of every channel from the beginning, so what it got can be
compared with what was said. Direct talks are watched by the two who talk.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from cli.conversation import home_dc, name_of, own, user_id
from cli.operate import equal_frontiers
from cli.regions import Region
from cli.sys_client import SysClient
from cli.waiting import until
from core import ids
from core.errors import Unavailable
from planb_sdk import Client, Message, Options

MAKE_AT_ONCE = 32
SETTLE_S_MAX = 120.0
CONNECTIONS_MAX = 256


@dataclass
class Watcher:
    """A client that follows its updates and keeps what it was shown."""

    nick: str
    client: Client
    shown: dict[tuple[str, str], Message] = field(default_factory=dict)
    """(sender, key) -> the message as it was last shown."""
    order: list[tuple[str, str]] = field(default_factory=list)
    """First showings."""
    doubled: int = 0
    """Messages told as new a second time, and updates told again that showed nothing else than what was shown."""
    _seen: set[tuple[str, str]] = field(default_factory=set)
    _new: set[tuple[str, str]] = field(default_factory=set)
    """Told as new."""
    task: asyncio.Task[None] | None = None

    async def follow(self) -> None:
        """Until cancelled."""
        async for update in self.client.updates():
            if update.type == "reset":
                await self._load_again()
                continue
            message = update.message
            if message is None or message.system:  # what nobody sent has no key to be counted by
                continue
            key = (message.sender, message.key)
            # A datacenter that lags behind the one before may show an older state, and then the newer one again: that
            # is no double. Told as new a second time, or told again as it stands, is.
            again = (update.event, message.id) in self._seen and self.shown.get(key) == message
            if again or (update.first and key in self._new):
                self.doubled += 1
            self._seen.add((update.event, message.id))
            if update.first:
                self._new.add(key)
            self._show(message)

    async def _load_again(self) -> None:
        """It was away for longer than updates are kept: histories tell the rest, as docs/client-protocol.md says."""
        async for dialog in self.client.dialogs():
            async for message in self.client.history(dialog.conversation):
                if not message.system:
                    self._show(message)

    def _show(self, message: Message) -> None:
        key = (message.sender, message.key)
        if key not in self.shown:
            self.order.append(key)
        self.shown[key] = message


class Cast:
    """Makes users at their home DCs and keeps their clients."""

    def __init__(
        self,
        regions: Mapping[str, Region],
        sys_key: bytes,
        *,
        watched: bool = True,
        key_file: Path | None = None,
        options: Options | None = None,
    ) -> None:
        """`key_file`: where the key is from, to be named when a datacenter does not take it. `options`: of all
        clients."""
        self._key_file = key_file
        self._options = options
        self._places = regions
        self._sys_key = sys_key
        self.names = tuple(regions)
        self.watchers = {name: own(f"watcher-{name}") for name in self.names} if watched else {}
        """DC -> nick."""
        self.watching: dict[str, Watcher] = {}
        """By nick."""
        self._clients: dict[str, Client] = {}
        self._others: dict[tuple[str, str], Client] = {}
        self._regions: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        self._away: list[str] = []
        """Who had to leave his home region."""
        self._session: aiohttp.ClientSession | None = None
        self._cut: set[frozenset[str]] = set()

    async def open(self) -> None:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX, limit_per_host=CONNECTIONS_MAX // 2)
        self._session = aiohttp.ClientSession(connector=connector)

    async def close(self) -> None:
        for watcher in self.watching.values():
            if watcher.task is not None:
                watcher.task.cancel()
        await asyncio.gather(*(w.task for w in self.watching.values() if w.task), return_exceptions=True)
        await asyncio.gather(
            *(client.close() for client in (*self._clients.values(), *self._others.values())), return_exceptions=True
        )
        if self._session is not None:
            await self._session.close()

    def sys(self, name: str) -> SysClient:
        """The internal listener of a DC."""
        return SysClient(name, self._places[name].sys_url, self._sys_key, key_file=self._key_file)

    @contextlib.asynccontextmanager
    async def _all_sys(self, names: Iterable[str]) -> AsyncIterator[dict[str, SysClient]]:
        async with contextlib.AsyncExitStack() as stack:
            yield {name: await stack.enter_async_context(self.sys(name)) for name in names}

    # -- people

    async def make(self, nicks: Iterable[str]) -> None:
        """Users, tokens and clients for nicks that have none; returns when every DC knows them."""
        new = [nick for nick in dict.fromkeys(nicks) if nick not in self._clients]
        at_once = asyncio.Semaphore(MAKE_AT_ONCE)
        async with self._all_sys(self.names) as clients:

            async def one(nick: str) -> None:
                async with at_once:
                    await self._make_one(nick, clients[self.region(nick)])

            await asyncio.gather(*(one(nick) for nick in new))
        await self.settled()

    async def _make_one(self, nick: str, sys: SysClient) -> None:
        user = user_id(nick)
        await sys.call("PUT", f"/sys/v1/users/{user}", {"name": name_of(nick)}, key=str(uuid.uuid4()))
        session = await sys.call("POST", "/sys/v1/tokens", {"user": user, "device": "demo"}, key=str(uuid.uuid4()))
        self._tokens[nick] = session["token"]
        self._clients[nick] = self.another(nick, self.region(nick))

    def another(self, nick: str, region: str, options: Options | None = None) -> Client:
        """One more client of this user, in some region: the same person on a second device."""
        regions = [region, *(name for name in self.names if name != region)]
        urls = [self._places[name].url for name in regions]
        return Client(
            urls, self._tokens[nick], user=user_id(nick), session=self._session, options=options or self._options
        )

    def region(self, nick: str) -> str:
        """Where this nick's client is now."""
        if nick not in self._regions:
            by_watcher = {watcher: name for name, watcher in self.watchers.items()}
            self._regions[nick] = by_watcher.get(nick) or home_dc(nick, self.names)
        return self._regions[nick]

    def client(self, nick: str) -> Client:
        return self._clients[nick]

    def settle_at(self, nick: str, region: str) -> None:
        """Makes a region a nick's home, before it has a client."""
        self._regions[nick] = region

    def switch_homes(self, source: str, target: str) -> None:
        """Everybody whose client is in `source` goes on in `target`, with cursor and outbox."""
        self._away = [nick for nick in self._clients if self.region(nick) == source]
        for nick in self._away:
            self._regions[nick] = target
            self._clients[nick].switch(self._places[target].url)

    async def delivered(self) -> None:
        """What the travellers had written is where they are now."""
        await asyncio.gather(*(self._clients[nick].settled() for nick in self._away))

    async def come_home(self, region: str) -> None:
        """Those who had to leave a region go back."""
        for nick in self._away:
            self._regions[nick] = region
            self._clients[nick].switch(self._places[region].url)
        await self.delivered()

    def strays(self, region: str) -> list[str]:
        """Whose home this is and whose client went elsewhere by itself."""
        url = self._places[region].url
        return [nick for nick, client in self._clients.items() if self.region(nick) == region and client.region != url]

    def call_home(self, region: str) -> list[str]:
        """These strays go back; what they wrote elsewhere and is not here is sent again by their clients."""
        strays = self.strays(region)
        for nick in strays:
            self._clients[nick].switch(self._places[region].url)
        return strays

    async def set_password(self, nick: str, password: str) -> None:
        """With it this user can log in by himself."""
        async with self.sys(self.region(nick)) as sys:
            fields = {"name": name_of(nick), "password": password}
            await sys.call("PUT", f"/sys/v1/users/{user_id(nick)}", fields, key=str(uuid.uuid4()))

    def token(self, nick: str) -> str:
        return self._tokens[nick]

    def also_at(self, nick: str, region: str) -> Client:
        """This user's client in a region, made when it is not his home."""
        if self.region(nick) == region:
            return self._clients[nick]
        if (nick, region) not in self._others:
            self._others[nick, region] = self.another(nick, region)
        return self._others[nick, region]

    # -- watching

    def watch(self, nicks: Iterable[str]) -> None:
        """These follow their updates from now on."""
        for nick in nicks:
            if nick not in self.watching:
                watcher = Watcher(nick, self._clients[nick])
                watcher.task = asyncio.create_task(watcher.follow(), name=f"watch {nick}")
                self.watching[nick] = watcher

    async def watching_now(self) -> None:
        """Returns when every watcher has its first cursor: what is said from now on must reach it."""

        async def all_begun() -> bool:
            for watcher in self.watching.values():
                if watcher.task is not None and watcher.task.done():
                    watcher.task.result()
            return all(watcher.client.position is not None for watcher in self.watching.values())

        if not await until(all_begun, SETTLE_S_MAX):
            raise Unavailable("not every watcher has a cursor")

    # -- the state of the planet

    def cut(self, a: str, b: str) -> None:
        """News does not get from one to the other directly any more."""
        self._cut.add(frozenset((a, b)))

    def heal(self, a: str, b: str) -> None:
        self._cut.discard(frozenset((a, b)))

    def connected(self, a: str, b: str) -> bool:
        """Can news get from a to b, if need be by way of a third?"""
        reached, frontier = {a}, [a]
        while frontier:
            here = frontier.pop()
            for there in self.names:
                if there not in reached and frozenset((here, there)) not in self._cut:
                    reached.add(there)
                    frontier.append(there)
        return b in reached

    async def settled(self, names: Iterable[str] | None = None) -> dict[str, str]:
        """Waits until these DCs (default: all) stand at one frontier; their digests by name."""
        async with self._all_sys(names or self.names) as clients:
            found = await equal_frontiers(clients, SETTLE_S_MAX)
        return {name: answer["digest"]["total"] for name, answer in found.items()}

    async def applied(self, name: str, event: str, timeout_s: float) -> None:
        """Returns when the DC has applied this event."""
        dc, incarnation, worker = ids.Lane.of(ids.lane_of(int(event)))
        origin = next(other for other, place in self._places.items() if place.number == dc)
        lane = f"{origin}/{incarnation}.{worker}"

        async def has_applied() -> bool:
            status = await sys.call("GET", "/sys/v1/status")
            return int(status["v"].get(lane, 0)) >= int(event)

        async with self.sys(name) as sys:
            if not await until(has_applied, timeout_s):
                raise Unavailable(f"{name} has not applied {event} after {timeout_s:.0f} s")
