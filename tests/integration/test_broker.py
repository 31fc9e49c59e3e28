"""The stream over real websockets on loopback, fed by the memory adapter of the hot store."""

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from broker import BrokerDeps, Hub, add_routes
from broker.frames import Close
from core import limits
from core.action import Position, Touch
from core.errors import Invalid, PlanBError, TokenExpired, Unauthenticated
from core.ids import lane_of, make_id
from core.messages import Row
from core.system import entropy, wall_clock_ms
from core.tables import Effect
from stores import render
from stores.adapters.memory_hot import MemoryHot
from stores.adapters.memory_messages import MemoryMessageStore
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.ports import Feed, HotBatch, RelationalBatch, Stamped
from stores.view import StoreView

CHANNEL = "C7"
LANE = 1
KERNEL_BYTES = 65_536
"""What the kernel takes of a connection in each direction; left to itself it takes many megabytes from a server whose
client does not read, and how many depends on the machine."""


class World:
    """A datacenter's stores with a broker on top; `say` does what an apply batch does."""

    def __init__(self) -> None:
        self.hot = MemoryHot()
        self.relational = MemoryRelationalStore(clock=wall_clock_ms)
        self.messages = MemoryMessageStore()
        self.view = StoreView("fra", self.relational, self.messages, self.hot)
        self.revoked: set[str] = set()
        self.expired: set[str] = set()
        self.ticks = itertools.count(1)
        self.url = ""
        self.hub: Hub
        self.http: aiohttp.ClientSession

    async def verify(self, token: str) -> tuple[str, str]:
        user, _, session = token.partition("/")
        if session in self.expired:
            raise TokenExpired
        if not session or session in self.revoked:
            raise Unauthenticated("the token is not valid")
        return user, session

    def open_cursor(self, user: str, cursor: str) -> Position:
        try:
            owner, dc, epoch, pts = cursor.split(",")
        except ValueError as error:
            raise Invalid("the cursor is not valid") from error
        if owner != user:
            raise Invalid("the cursor belongs to another user")
        return Position(dc, int(epoch), int(pts), {}, {})

    def id(self) -> int:
        return make_id(next(self.ticks), LANE)

    async def write(self, *effects: Effect) -> int:
        stamp = self.id()
        stamped = [Stamped(stamp, one) for one in effects]
        await self.relational.apply(RelationalBatch(stamped, (), (), (), {}))
        self.view.invalidate(stamped)
        return stamp

    async def join(self, user: str, channel: str = CHANNEL) -> None:
        await self.write(Effect("member_adds", (channel, user, LANE), {"knew": {}}))

    async def kick(self, user: str, channel: str = CHANNEL) -> None:
        at = self.id()
        await self.write(Effect("member_kicked", (channel, user, lane_of(at)), {"kicked": at}))

    async def say(
        self, *owners: str, text: str = "hi", announce: bool = True, poke: bool = False, count: int = 1
    ) -> None:
        """`count` messages, each for all of these owners, in one batch."""
        feeds: list[Feed] = []
        updates: list[bytes] = []
        rows: list[Row] = []
        for _ in range(count):
            id = self.id()
            rows.append(Row(id, "D1", id, "send", "Ubob", id, {"text": text, "key": str(id)}))
            feeds += [Feed(one, id, render.encode(id, Touch("message", ("D1", id)))) for one in owners]
        self.messages.put(rows, {})
        fed = await self.hot.apply(HotBatch(1, {}, feeds))
        entries = [render.decode(feed.entry) for feed in feeds[:: len(owners)]]
        updates = [msgspec.json.encode(one) for one in await render.render_all(self.view, entries, "")]
        deliveries = [(one, fed[one] - count + n + 1, None if poke else n) for n in range(count) for one in owners]
        if announce:
            await self.announce(deliveries, updates)

    async def touch(self, owner: str, touch: Touch, announce: bool = True) -> None:
        """One update about something else than a message."""
        id = self.id()
        fed = await self.hot.apply(HotBatch(1, {}, [Feed(owner, id, render.encode(id, touch))]))
        shown = (await render.render_all(self.view, [render.Entry(id, touch.type, touch.ref)], owner))[0]
        if announce:
            await self.announce([(owner, fed[owner], 0)], [msgspec.json.encode(shown)])

    async def announce(
        self, deliveries: Sequence[tuple[str, int, int | None]], updates: Sequence[bytes], revoked: Sequence[str] = ()
    ) -> None:
        await self.hot.announce(msgspec.msgpack.encode((deliveries, updates, revoked)))

    async def connect(self, user: str, **hello: Any) -> "Peer":
        peer = await self.raw()
        await peer.socket.send_json({"type": "hello", "token": f"{user}/s{user}", **hello})
        return peer

    async def raw(self, query: str = "", **headers: str) -> "Peer":
        return Peer(await self.http.ws_connect(f"{self.url}/v1/stream{query}", headers=headers, autoclose=False))


class Peer:
    """A client that keeps what it got."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []

    async def next(self, type: str = "") -> dict[str, Any]:
        """The next frame (of this type)."""
        async with asyncio.timeout(10):
            while True:
                message = await self.socket.receive()
                assert message.type is WSMsgType.TEXT, (message.type, message.data, message.extra)
                frame: dict[str, Any] = json.loads(message.data)
                self.frames.append(frame)
                if type in ("", frame["type"]):
                    return frame

    async def pts(self, count: int, channel: str | None = None) -> list[int]:
        """The pts of the next `count` updates of an owner."""
        found: list[int] = []
        while len(found) < count:
            frame = await self.next("updates")
            found += [one["pts"] for one in frame["updates"] if one.get("channel") == channel]
        return found

    async def closed(self) -> tuple[int, str]:
        """Code and reason, whatever comes before them."""
        async with asyncio.timeout(20):
            while True:
                message = await self.socket.receive()
                if message.type is WSMsgType.CLOSE:
                    await self.socket.close()
                    return int(message.data), message.extra or ""
                assert message.type is WSMsgType.TEXT, message.type
                self.frames.append(json.loads(message.data))


@web.middleware
async def problems(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        return await handler(request)  # type: ignore[no-any-return]
    except PlanBError as error:
        headers = {"Retry-After": "1"} if error.retry_after_s else {}
        return web.json_response({"code": error.code, "detail": error.detail}, status=error.status, headers=headers)


def narrow(family: int) -> socket.socket:
    """What it accepts is as narrow as itself."""
    made = socket.socket(family, socket.SOCK_STREAM)
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        made.setsockopt(socket.SOL_SOCKET, buffer, KERNEL_BYTES)
    return made


@contextlib.asynccontextmanager
async def served(heartbeat_s: int = 20, tick_s: float = 0.05, **more: Any) -> AsyncIterator[World]:
    world = World()
    await world.hot.begin(1)
    await world.hot.publish_epoch(1, {}, {})
    app = web.Application(middlewares=[problems])
    deps = BrokerDeps(
        hot=world.hot,
        view=world.view,
        verify_token=lambda token: world.verify(token),
        open_cursor=world.open_cursor,
        entropy=entropy,
        clock=wall_clock_ms,
        heartbeat_s=heartbeat_s,
        tick_s=tick_s,
        **more,
    )
    world.hub = add_routes(app, deps)
    listening = narrow(socket.AF_INET)
    listening.bind(("127.0.0.1", 0))
    server = TestServer(app, socket_factory=lambda *_: listening)
    await server.start_server()
    world.url = str(server.make_url("")).rstrip("/")
    connector = aiohttp.TCPConnector(socket_factory=lambda address: narrow(address[0]))
    async with aiohttp.ClientSession(connector=connector) as world.http:
        try:
            yield world
        finally:
            await server.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with served() as world:
        yield world


def at(pts: int, epoch: int = 1, dc: str = "fra", channels: Mapping[str, int] | None = None) -> dict[str, Any]:
    return {"dc": dc, "epoch": epoch, "pts": pts, "channels": dict(channels or {})}


# -- hello and resume


async def test_the_hub_hears_those_who_are_here_and_any_supergroup_while_somebody_is(world: World) -> None:
    assert not any(map(world.hub.hears, ("Uada", "Ubob", CHANNEL)))
    peer = await world.connect("Uada")
    await peer.next("hello")
    assert [world.hub.hears(owner) for owner in ("Uada", "Ubob", CHANNEL)] == [True, False, True]


async def test_the_hello_tells_where_the_server_stands(world: World) -> None:
    await world.join("Uada")
    await world.say("Uada", count=3)
    await world.say(CHANNEL, count=2)
    peer = await world.connect("Uada")
    hello = await peer.next()
    assert hello == {"type": "hello", "dc": "fra", "epoch": 1, "pts": 3, "channels": {CHANNEL: 2}, "heartbeat_s": 20}
    assert (await peer.next()) == {"type": "resume", "reason": "none", "dc": "fra", "epoch": 1}


async def test_a_client_that_comes_back_gets_what_it_missed_in_order(world: World) -> None:
    await world.join("Uada")
    await world.say("Uada", count=5)
    await world.say(CHANNEL, count=4)
    peer = await world.connect("Uada", at=at(2, channels={CHANNEL: 1}))
    await peer.next("hello")
    assert await peer.pts(3) == [3, 4, 5]
    assert [one["pts"] for one in (await peer.next("updates"))["updates"]] == [2, 3, 4]
    await world.say("Uada")
    assert await peer.pts(1) == [6]
    assert all(frame["type"] != "resume" for frame in peer.frames)


async def test_the_position_may_come_in_the_cursor(world: World) -> None:
    await world.say("Uada", count=3)
    peer = await world.connect("Uada", cursor="Uada,fra,1,1")
    assert await peer.pts(2) == [2, 3]


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (at(1, dc="syd"), "other_dc"),
        (at(1, epoch=7), "epoch"),
        (at(9), "epoch"),
        (at(1), "channels"),
    ],
)
async def test_where_the_stream_cannot_go_on_the_client_is_told_to_fetch(
    world: World, position: dict[str, Any], reason: str
) -> None:
    await world.join("Uada")
    await world.say("Uada", CHANNEL, count=2)
    peer = await world.connect("Uada", at=position)
    assert (await peer.next("resume"))["reason"] == reason


async def test_beyond_the_bound_the_client_is_told_to_fetch(world: World) -> None:
    await world.say("Uada", count=limits.RESUME_UPDATES_MAX + 1)
    far = await world.connect("Uada", at=at(0))
    assert (await far.next("resume"))["reason"] == "too_far"
    near = await world.connect("Uada", at=at(1))
    assert await near.pts(limits.RESUME_UPDATES_MAX) == list(range(2, limits.RESUME_UPDATES_MAX + 2))


async def test_trimmed_updates_are_never_skipped_over(world: World) -> None:
    world.hot._updates_kept = 3
    await world.say("Uada", count=6)
    peer = await world.connect("Uada", at=at(1))
    assert (await peer.next("resume"))["reason"] == "too_far"


async def test_updates_that_come_during_the_greeting_are_neither_lost_nor_doubled(world: World) -> None:
    peers = []
    total = 60

    async def talk() -> None:
        for _ in range(total):
            await world.say("Uada")
            await asyncio.sleep(0.002)

    talking = asyncio.create_task(talk())
    for _ in range(10):
        peers.append(await world.connect("Uada", at=at(0)))
        await asyncio.sleep(0.01)
    await talking
    for peer in peers:
        assert await peer.pts(total) == list(range(1, total + 1))


async def test_what_is_announced_between_the_hello_and_the_first_frame_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = world.hot.pts

    async def meanwhile(owners: Sequence[str]) -> list[int]:
        found = await read(owners)
        before = world.hub.metrics()["announcements"]
        await world.say("Uada", count=2)
        async with asyncio.timeout(5):
            while world.hub.metrics()["announcements"] == before:  # noqa: ASYNC110
                await asyncio.sleep(0)
        return found

    monkeypatch.setattr(world.hot, "pts", meanwhile)
    peer = await world.connect("Uada", at=at(0))
    assert (await peer.next("hello"))["pts"] == 0
    assert await peer.pts(2) == [1, 2]


# -- delivery


async def test_one_owner_s_updates_arrive_in_order_and_in_few_frames(world: World) -> None:
    peer = await world.connect("Uada")
    await peer.next("resume")
    for _ in range(50):
        await world.say("Uada", count=4)
    assert await peer.pts(200) == list(range(1, 201))
    assert len(peer.frames) < 20


async def test_what_is_announced_twice_is_sent_once(world: World) -> None:
    peer = await world.connect("Uada")
    await peer.next("resume")
    update = b'{"event":"1","type":"message"}'
    await world.announce([("Uada", 1, 0), ("Uada", 2, 0), ("Uada", 1, 0)], [update])
    await world.announce([("Uada", 2, 0), ("Uada", 3, 0)], [update])
    assert await peer.pts(3) == [1, 2, 3]


async def test_a_hole_is_left_to_the_client_and_shows_in_pts(world: World) -> None:
    peer = await world.connect("Uada")
    await peer.next("resume")
    await world.say("Uada")
    await world.say("Uada", announce=False)
    await world.say("Uada")
    assert await peer.pts(2) == [1, 3]


async def test_an_update_without_a_body_is_a_poke(world: World) -> None:
    await world.join("Uada")
    peer = await world.connect("Uada")
    await peer.next("resume")
    await world.say("Uada", poke=True)
    assert await peer.next("poke") == {"type": "poke", "pts": 1}
    await world.say(CHANNEL, poke=True)
    assert await peer.next("poke") == {"type": "poke", "channel": CHANNEL, "pts": 1}


async def test_the_heartbeat_tells_the_newest_pts_also_when_the_announcement_was_lost() -> None:
    async with served(heartbeat_s=1) as world:
        await world.join("Uada")
        peer = await world.connect("Uada")
        await peer.next("resume")
        await world.say("Uada", CHANNEL, announce=False)
        while (beat := await peer.next("heartbeat"))["pts"] == 0:
            pass
        assert beat == {"type": "heartbeat", "pts": 1, "channels": {CHANNEL: 1}}


async def test_a_slow_reader_is_dropped_and_resumes_without_loss(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTION_QUEUE_MAX", 100)
    monkeypatch.setattr(limits, "RESUME_UPDATES_MAX", 5_000)
    slow, quick = await world.connect("Uada"), await world.connect("Uada")
    await slow.next("resume")
    await quick.next("resume")
    total = 0
    while world.hub.metrics()["connections"] == 2:
        await world.say("Uada", text="x" * limits.MESSAGE_BYTES_MAX, count=20)
        total += 20
        assert total < 4_000, "the slow reader was never dropped"
        await quick.pts(20)
    code, reason = await slow.closed()
    assert (code, reason) == (Close.SLOW, "slow: resume")
    got = [one["pts"] for frame in slow.frames if frame["type"] == "updates" for one in frame["updates"]]
    assert got == list(range(1, len(got) + 1))
    assert len(got) < total
    again = await world.connect("Uada", at=at(len(got)))
    assert got + await again.pts(total - len(got)) == list(range(1, total + 1))
    assert world.hub.metrics()["closed_slow"] == 1


async def test_what_waits_for_all_together_is_bounded_and_who_reads_is_not_hurt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bound = 4_000_000
    monkeypatch.setattr(limits, "STREAMS_BYTES_MAX", bound)
    users = [f"Uslow{number}" for number in range(8)]
    async with served() as world:
        slow = [await world.connect(user) for user in users]
        quick = await world.connect("Uquick")
        for peer in (*slow, quick):
            await peer.next("resume")
        most, total = 0, 0
        while world.hub.metrics()["closed_slow"] < 3:
            await world.say("Uquick", *users, text="x" * limits.MESSAGE_BYTES_MAX, count=5)
            total += 5
            most = max(most, world.hub.budget.bytes)
            assert total < 4_000, "nobody was ever dropped"
            assert await quick.pts(5) == list(range(total - 4, total + 1))
        assert most <= bound
        assert world.hub.metrics()["connections"] > 1
        again = await world.connect(users[0], at=at(total))
        assert (await again.next())["pts"] == total
        for peer in (*slow, quick, again):
            peer.socket._response.close()  # type: ignore[union-attr]
        while world.hub.metrics()["connections"]:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert world.hub.budget.bytes == 0


async def test_a_client_that_comes_back_and_does_not_read_counts_too(world: World) -> None:
    await world.say("Uada", text="x" * limits.MESSAGE_BYTES_MAX, count=200, announce=False)
    peer = await world.connect("Uada", at=at(0))
    while world.hub.budget.bytes < 500_000:  # noqa: ASYNC110  (a page holds three times as much as fits in between)
        await asyncio.sleep(0.005)
    assert await peer.pts(200) == list(range(1, 201))
    while world.hub.budget.bytes:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


# -- supergroups


async def test_who_is_not_a_member_gets_nothing_of_a_supergroup(world: World) -> None:
    peer = await world.connect("Uada")
    await peer.next("resume")
    await world.say(CHANNEL)
    await world.say("Uada")
    assert await peer.pts(1) == [1]
    assert [one.get("channel") for frame in peer.frames[2:] for one in frame["updates"]] == [None]


async def test_a_member_who_joins_while_connected_hears_the_supergroup(world: World) -> None:
    peer = await world.connect("Uada")
    await peer.next("resume")
    await world.join("Uada")
    await world.touch("Uada", Touch("chat", (CHANNEL,)))
    await world.say(CHANNEL)
    assert await peer.pts(1, CHANNEL) == [1]


async def test_who_is_kicked_gets_nothing_more_of_it_not_even_from_the_same_batch(world: World) -> None:
    await world.join("Uada")
    await world.join("Ueve")
    kicked, member = await world.connect("Uada"), await world.connect("Ueve")
    await kicked.next("resume")
    await member.next("resume")
    await world.say(CHANNEL)
    assert await kicked.pts(1, CHANNEL) == [1]
    await world.kick("Uada")
    shown = b'{"event":"9","type":"member","chat":"C7","user":"Uada","present":false}'
    secret = b'{"event":"10","type":"message"}'
    await world.say("Uada", announce=False)
    await world.announce([("Uada", 1, 0), (CHANNEL, 2, 0), (CHANNEL, 3, 1)], [shown, secret])
    assert await member.pts(3, CHANNEL) == [1, 2, 3]
    assert await kicked.pts(1) == [1]
    await world.say("Uada")
    await kicked.next("updates")
    heard = [one for frame in kicked.frames if frame["type"] == "updates" for one in frame["updates"]]
    assert [one["pts"] for one in heard if one.get("channel")] == [1]


async def test_a_poke_may_hide_a_kick_so_memberships_are_read_again(world: World) -> None:
    await world.join("Uada")
    peer = await world.connect("Uada")
    await peer.next("resume")
    await world.kick("Uada")
    await world.say("Uada", poke=True)
    await world.say(CHANNEL)
    await world.say("Uada")
    await peer.next("updates")
    assert "channel" not in peer.frames[-1]["updates"][0]


async def test_a_membership_whose_announcement_was_lost_is_found_at_the_heartbeat() -> None:
    async with served(heartbeat_s=1) as world:
        await world.join("Ueve")
        joins, kicked = await world.connect("Uada"), await world.connect("Ueve")
        await joins.next("resume")
        await kicked.next("resume")
        await world.join("Uada")
        await world.kick("Ueve")
        await world.say(CHANNEL, announce=False)
        while (beat := await joins.next("heartbeat"))["channels"] == {}:
            pass
        assert beat["channels"] == {CHANNEL: 1}
        while (await kicked.next("heartbeat"))["channels"]:
            pass
        await world.say(CHANNEL)
        assert await joins.pts(1, CHANNEL) == [2]
        await world.say("Ueve")
        await kicked.next("updates")
        assert "channel" not in kicked.frames[-1]["updates"][0]


# -- ends


async def test_a_revoked_session_is_closed_and_its_user_s_other_one_is_not(world: World) -> None:
    gone, stays = await world.connect("Uada", token="Uada/s1"), await world.connect("Uada", token="Uada/s2")
    await gone.next("resume")
    await stays.next("resume")
    await world.announce([], [], ["s1"])
    assert (await gone.closed())[0] == Close.REVOKED
    await world.say("Uada")
    assert await stays.pts(1) == [1]


async def test_a_revocation_whose_announcement_was_lost_is_found_at_the_heartbeat() -> None:
    async with served(heartbeat_s=1) as world:
        peer = await world.connect("Uada", token="Uada/s1")
        await peer.next("resume")
        world.revoked.add("s1")
        assert (await peer.closed())[0] == Close.UNAUTHENTICATED


async def test_an_expired_token_ends_a_stream_so_that_its_client_knows_to_refresh_it() -> None:
    async with served(heartbeat_s=1) as world:
        peer = await world.connect("Uada", token="Uada/s1")
        await peer.next("resume")
        world.expired.add("s1")
        assert (await peer.closed())[0] == Close.EXPIRED
        late = await world.raw()
        await late.socket.send_json({"type": "hello", "token": "Uada/s1"})
        assert (await late.closed())[0] == Close.EXPIRED


async def revoke(world: World, session: str) -> None:
    """As an apply does: first it is so, then it is told."""
    world.revoked.add(session)
    await world.announce([], [], [session])


async def test_a_session_that_is_revoked_between_the_upgrade_and_the_hello_gets_no_stream(world: World) -> None:
    with_header = await world.raw(Authorization="Bearer Uada/s1")
    async with world.http.post(f"{world.url}/v1/stream/ticket", headers={"Authorization": "Bearer Uada/s1"}) as answer:
        ticket = (await answer.json())["ticket"]
    with_ticket = await world.raw(f"?ticket={ticket}")
    await revoke(world, "s1")
    for peer in (with_header, with_ticket):
        await peer.socket.send_json({"type": "hello"})
        assert (await peer.closed())[0] == Close.UNAUTHENTICATED
        assert peer.frames == []


@pytest.mark.parametrize("look", [1, 2])
async def test_a_session_that_is_revoked_while_it_is_looked_at_gets_no_stream(look: int) -> None:
    """Whoever looked just before the revocation finds it valid, and says so just after it was announced."""
    looks, found, told = itertools.count(1), asyncio.Event(), asyncio.Event()

    async with served(heartbeat_s=60, tick_s=1) as world:
        verify = world.verify

        async def late(token: str) -> tuple[str, str]:
            holder = await verify(token)
            if next(looks) == look:
                found.set()
                await told.wait()
            return holder

        world.verify = late  # type: ignore[method-assign]
        peer = await world.raw()
        await peer.socket.send_json({"type": "hello", "token": "Uada/s1"})
        await found.wait()
        await revoke(world, "s1")
        while world.hub.metrics()["announcements"] < 1:  # noqa: ASYNC110  (the hub hears in its own time)
            await asyncio.sleep(0.002)
        told.set()
        assert (await peer.closed())[0] in (Close.UNAUTHENTICATED, Close.REVOKED)


async def test_after_an_interruption_every_session_is_looked_at_again_at_once() -> None:
    async with served(heartbeat_s=60, tick_s=1) as world:
        gone, stays = await world.connect("Uada", token="Uada/s1"), await world.connect("Ueve")
        await gone.next("resume")
        await stays.next("resume")
        world.revoked.add("s1")
        await world.hot.announce(b"")
        assert (await gone.closed())[0] == Close.UNAUTHENTICATED
        await world.say("Ueve")
        assert await stays.pts(1) == [1]


async def test_a_new_epoch_tells_everybody_to_fetch_and_pts_begin_again(world: World) -> None:
    peer = await world.connect("Uada")
    await peer.next("resume")
    await world.say("Uada", count=5)
    await peer.pts(5)
    world.hot.lose()
    await world.hot.begin(2)
    await world.hot.publish_epoch(2, {}, {})
    assert await peer.next("resume") == {"type": "resume", "reason": "epoch", "dc": "fra", "epoch": 2}
    await world.announce([("Uada", 1, 0)], [b'{"event":"1","type":"message"}'])
    assert await peer.pts(1) == [1]


async def test_an_interrupted_subscription_tells_everybody_to_fetch(world: World) -> None:
    peer = await world.connect("Uada")
    await peer.next("resume")
    await world.hot.announce(b"")
    assert (await peer.next("resume"))["reason"] == "epoch"


async def test_an_announcement_that_cannot_be_read_is_counted_and_the_next_one_is_heard(world: World) -> None:
    peer = await world.connect("Uada")
    await peer.next("resume")
    await world.hot.announce(b"\xc1")
    await world.announce([("Uada", 1, 4)], [])
    await world.say("Uada")
    assert await peer.pts(1) == [1]
    assert world.hub.metrics()["corrupt"] == 2


async def test_a_draining_server_tells_clients_to_move_and_takes_no_more(world: World) -> None:
    peer = await world.connect("Uada")
    await peer.next("resume")
    await world.hub.drain()
    assert await peer.closed() == (Close.MOVE, "move")
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await world.raw()
    assert refused.value.status == 503
    assert refused.value.headers["Retry-After"] == "1"


async def test_beyond_the_bound_connections_are_refused() -> None:
    async with served(connections_max=1) as world:
        peer = await world.connect("Uada")
        await peer.next("resume")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await world.raw()
        assert refused.value.status == 503


@pytest.mark.parametrize("frame", ['{"type":"hello"}', '{"type":"send","text":"x"}', "{", '{"type":"ping","a":1}'])
async def test_after_hello_a_client_may_only_ping(world: World, frame: str) -> None:
    peer = await world.connect("Uada")
    await peer.next("resume")
    await peer.socket.send_json({"type": "ping"})
    await peer.next("pong")
    await peer.socket.send_str(frame)
    assert (await peer.closed())[0] == Close.REFUSED


async def test_a_closed_connection_gives_up_presence_and_leaves_nothing_behind(world: World) -> None:
    peer = await world.connect("Uada")
    await peer.next("resume")
    assert await world.hot.online(["Uada"]) == [True]
    await peer.socket.close()
    async with asyncio.timeout(5):
        while world.hub.metrics()["sockets"]:  # noqa: ASYNC110  (the server's side tells nobody)
            await asyncio.sleep(0.01)
    assert await world.hot.online(["Uada"]) == [False]
    assert world.hub.metrics()["connections"] == 0
    assert not world.hub._by_user and not world.hub._by_session and not any(world.hub._slots)


# -- who connects


@pytest.mark.parametrize("name", ["token", "access_token", "Authorization"])
async def test_a_token_in_the_url_is_refused_by_name(world: World, name: str) -> None:
    async with world.http.get(f"{world.url}/v1/stream?{name}=Uada/s1") as answer:
        assert answer.status == 400
        assert name in (await answer.json())["detail"]


async def test_the_token_may_come_in_the_header(world: World) -> None:
    peer = await world.raw(Authorization="Bearer Uada/s1")
    await peer.socket.send_json({"type": "hello"})
    assert (await peer.next())["type"] == "hello"


async def test_a_bad_header_is_refused_before_the_upgrade(world: World) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await world.raw(Authorization="Bearer nobody")
    assert refused.value.status == 401


@pytest.mark.parametrize("hello", [{"type": "hello"}, {"type": "hello", "token": "nobody"}])
async def test_who_is_not_known_after_hello_is_closed(world: World, hello: dict[str, str]) -> None:
    peer = await world.raw()
    await peer.socket.send_json(hello)
    assert (await peer.closed())[0] == Close.UNAUTHENTICATED


async def test_who_says_nothing_is_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HELLO_S_MAX", 0.1)
    assert (await (await world.raw()).closed())[0] == Close.UNAUTHENTICATED


async def test_another_user_s_cursor_is_refused(world: World) -> None:
    peer = await world.connect("Uada", cursor="Ubob,fra,1,1")
    assert (await peer.closed())[0] == Close.REFUSED


async def test_a_ticket_opens_one_stream(world: World) -> None:
    async with world.http.post(f"{world.url}/v1/stream/ticket", headers={"Authorization": "Bearer Uada/s1"}) as answer:
        assert answer.status == 201
        ticket = (await answer.json())["ticket"]
    peer = await world.raw(f"?ticket={ticket}")
    await peer.socket.send_json({"type": "hello"})
    assert (await peer.next())["type"] == "hello"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await world.raw(f"?ticket={ticket}")
    assert refused.value.status == 401


async def test_a_ticket_needs_a_token(world: World) -> None:
    async with world.http.post(f"{world.url}/v1/stream/ticket") as answer:
        assert answer.status == 401
