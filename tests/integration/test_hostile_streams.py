"""Clients that want too many streams, or send too much on one: refused by name, and nobody else is hurt.

Judged by what the server took, frame by frame; not by the time that it took."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from broker import frames
from broker.connection import REPLACED
from broker.frames import Close
from core import limits
from tests.integration.test_broker import Peer, World, served
from tests.support.replicated import until


def frame(opcode: int, payload: bytes = b"", *, last: bool = True) -> bytes:
    """As a client sends it, masked with zeros."""
    assert len(payload) < 126
    return struct.pack(">BBI", (0x80 if last else 0) | opcode, 0x80 | len(payload), 0) + payload


TEXT, PING, PONG, CONTINUATION = 1, 9, 10, 0
FLOODS = {
    "pings": frame(PING),
    "pings with something in them": frame(PING, b"x" * 100),
    "pongs that nobody asked for": frame(PONG),
    "texts": frame(TEXT, b'{"type":"ping"}'),
    "pieces without end": frame(CONTINUATION, last=False),
}
FLOOD_BYTES = 262_144


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with served() as world:
        yield world


async def flood(peer: Peer, piece: bytes) -> None:
    """All at once, whatever is answered."""
    if piece == FLOODS["pieces without end"]:
        piece = frame(TEXT, last=False) + piece * (FLOOD_BYTES // len(piece))
    else:
        piece *= FLOOD_BYTES // len(piece)
    wire = peer.socket._conn.transport  # type: ignore[union-attr]
    assert wire is not None
    wire.write(piece)


async def ended(peer: Peer) -> int:
    with contextlib.suppress(ConnectionError):
        return (await peer.closed())[0]
    return int(peer.socket.close_code or 0)


class Taken:
    """Frames that the server answered or looked into."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts = self.pongs = 0
        understood, pong = frames.from_client, aiohttp.web.WebSocketResponse.pong

        def from_client(text: str) -> Any:
            self.texts += 1
            return understood(text)

        async def answered(socket: Any, message: bytes = b"") -> None:
            self.pongs += 1
            await pong(socket, message)

        monkeypatch.setattr(frames, "from_client", from_client)
        monkeypatch.setattr(aiohttp.web.WebSocketResponse, "pong", answered)

    @property
    def all(self) -> int:
        return self.texts + self.pongs


@pytest.mark.parametrize("what", FLOODS)
@pytest.mark.parametrize("greeted", [True, False], ids=["after its hello", "before its hello"])
async def test_who_sends_too_much_is_closed_and_little_of_it_was_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch, what: str, greeted: bool
) -> None:
    taken = Taken(monkeypatch)
    peer = await (world.connect("Uada") if greeted else world.raw())
    if greeted:
        await peer.next("resume")
    await flood(peer, FLOODS[what])
    code = await ended(peer)
    assert code == (Close.REFUSED if what == "texts" and not greeted else Close.TOO_MUCH)
    assert taken.all <= limits.STREAM_CLIENT_FRAMES_MAX + 1


async def test_a_client_that_pings_now_and_then_is_answered_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAM_CLIENT_FRAMES_PER_S", 1_000)
    monkeypatch.setattr(limits, "STREAM_CLIENT_BYTES_PER_S", 100_000)
    peer = await world.connect("Uada")
    await peer.next("resume")
    for _ in range(4 * limits.STREAM_CLIENT_FRAMES_MAX):
        await peer.socket.send_json({"type": "ping"})
        await peer.next("pong")
        await peer.socket.ping()


async def test_two_that_flood_keep_no_message_from_a_third(world: World) -> None:
    """All of them arrive, in order, while the two come again and again."""
    ada = await world.connect("Uada")
    await ada.next("resume")
    floods = 0

    async def attack(user: str) -> None:
        nonlocal floods
        while True:
            peer = await world.connect(user)
            await peer.next("resume")
            await flood(peer, FLOODS["pings"])
            assert await ended(peer) == Close.TOO_MUCH
            floods += 1

    attackers = [asyncio.create_task(attack(user)) for user in ("Ubad", "Uworse")]
    sent = 0
    while floods < 6:
        await world.say("Uada", text=str(sent))
        sent += 1
        await ada.pts(1)
        for attacker in attackers:
            if attacker.done():
                attacker.result()
    for attacker in attackers:
        attacker.cancel()
    await asyncio.gather(*attackers, return_exceptions=True)
    seen = [one["pts"] for got in ada.frames if got["type"] == "updates" for one in got["updates"]]
    assert seen == list(range(1, sent + 1))


# -- how many streams


async def streams(world: World, user: str, session: str, count: int) -> list[Peer]:
    peers = []
    for _ in range(count):
        peer = await world.raw()
        await peer.socket.send_json({"type": "hello", "token": f"{user}/{session}"})
        await peer.next("resume")
        peers.append(peer)
    return peers


async def refused(world: World, token: str) -> int:
    peer = await world.raw()
    await peer.socket.send_json({"type": "hello", "token": token})
    return await ended(peer)


async def test_streams_of_one_session_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAMS_OF_SESSION_MAX", 3)
    mine = await streams(world, "Uada", "s1", 3)
    mine += await streams(world, "Uada", "s1", 2)
    assert [await ended(peer) for peer in mine[:2]] == [Close.REPLACED] * 2
    del mine[:2]
    await until(lambda: not world.hub.places.leaving)
    others = [await streams(world, "Uada", "s2", 1), await streams(world, "Ubob", "s3", 3)]
    await mine[0].socket.close()
    await until(lambda: world.hub.metrics()["sockets"] == 6)
    others.append(await streams(world, "Uada", "s1", 1))
    assert world.hub.metrics()["sockets"] == 7


async def test_streams_of_one_user_are_bounded_whatever_his_sessions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAMS_OF_USER_MAX", 5)
    here = [await streams(world, "Uada", f"s{n}", 1) for n in range(5)]
    assert await refused(world, "Uada/s9") == Close.TOO_MUCH
    with pytest.raises(aiohttp.WSServerHandshakeError) as early:
        await world.raw(Authorization="Bearer Uada/s9")
    assert early.value.status == 429
    here.append(await streams(world, "Uada", "s3", 1))  # who has one may have another instead
    assert await ended(here[3][0]) == Close.REPLACED
    here.append(await streams(world, "Ubob", "s1", 5))
    await until(lambda: world.hub.metrics()["sockets"] == 10)
    assert world.hub.metrics()["sockets"] == 10


async def test_streams_that_are_known_before_their_hello_count_from_then_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAMS_OF_SESSION_MAX", 2)
    silent = [await world.raw(Authorization="Bearer Uada/s1") for _ in range(3)]
    assert await silent[0].closed() == (Close.REPLACED, REPLACED)
    silent += await streams(world, "Uada", "s1", 1)
    assert await silent[1].closed() == (Close.REPLACED, REPLACED)
    for peer in silent:
        await peer.socket.close()
    await nobody(world)


async def nobody(world: World) -> None:
    """Nothing is left of anybody's streams."""
    await until(lambda: world.hub.metrics()["sockets"] == 0)
    places = world.hub.places
    assert not places.of_user and not places.of_session and not places.leaving


async def half_open(world: World) -> asyncio.StreamWriter:
    """Says hello, then neither reads nor answers any more, and never closes: a phone that left the WLAN."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(world.url.rpartition(":")[2]))
    head = (
        "GET /v1/stream HTTP/1.1",
        "Host: x",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==",
        "Authorization: Bearer Uada/s1",
    )
    writer.write("\r\n".join((*head, "", "")).encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(frame(TEXT, b'{"type":"hello"}'))
    await writer.drain()
    return writer


async def test_a_device_whose_link_flaps_is_let_in_at_once_and_what_it_left_is_closed(world: World) -> None:
    gone = [await half_open(world) for _ in range(limits.STREAMS_OF_SESSION_MAX)]
    await until(lambda: world.hub.metrics()["connections"] == len(gone))
    (peer,) = await streams(world, "Uada", "s1", 1)
    await until(lambda: not world.hub.places.leaving)
    assert world.hub.metrics()["closed_replaced"] == 1
    assert world.hub.metrics()["sockets"] == limits.STREAMS_OF_SESSION_MAX
    await peer.socket.close()
    for writer in gone:
        writer.close()
    await nobody(world)
