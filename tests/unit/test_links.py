"""Relays between datacenters, on the loop that the demo runs on."""

import asyncio
import contextlib
import gc
import socket
import struct
from typing import Any

import uvloop

from cli.links import Link
from cli.servers import free_ports
from cli.waiting import until

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close a reset."""


def test_ends_that_vanish_in_the_midst_leave_nothing_that_nobody_has_seen() -> None:
    """What a relay can't do any more ends it; an exception that nobody takes would be printed over the dashboard."""
    unseen: list[dict[str, Any]] = []
    relayed = uvloop.run(_vanish(unseen))
    assert relayed > 0
    assert unseen == []


def test_a_relay_has_seen_why_each_of_its_ends_was_lost() -> None:
    """What it did not look at is printed when it is collected, or not: that depends on what is collected first."""
    gc.disable()
    try:
        unseen = uvloop.run(_reset_both())
    finally:
        gc.enable()
    assert unseen == []


async def _reset_both() -> list[BaseException | None]:
    loop = asyncio.get_running_loop()
    port, target = free_ports(2)
    unseen: list[BaseException | None] = []
    with socket.create_server(("127.0.0.1", target)) as listener:
        listener.setblocking(False)
        link = Link("fra", "iad", port, target)
        await link.start()
        for turn in range(8):
            caller = socket.socket()
            caller.setblocking(False)
            await loop.sock_connect(caller, ("127.0.0.1", port))
            called, _ = await loop.sock_accept(listener)
            called.setblocking(False)
            await loop.sock_sendall(caller, b"x")
            await loop.sock_recv(called, 1)
            for end in (caller, called) if turn % 2 else (called, caller):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.close()
            assert await until(lambda: _idle(link), 10.0)
            unseen += [one.exception() for one in gc.get_objects() if _unseen(one, loop)]
        await link.stop()
    return unseen


async def _idle(link: Link) -> bool:
    return not link._relays


def _unseen(one: object, loop: asyncio.AbstractEventLoop) -> bool:
    """Is it a future that would be printed as one whose exception nobody took?"""
    return isinstance(one, asyncio.Future) and one.get_loop() is loop and one.done() and one._log_traceback


async def _vanish(unseen: list[dict[str, Any]]) -> int:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(await reader.read(1_000) * 100)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def call(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            for _ in range(3):
                writer.write(b"x" * 1_000)
                await reader.read(500)
            if number % 2:
                writer.transport.abort()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    port, target = free_ports(2)
    server = await asyncio.start_server(serve, "127.0.0.1", target)
    link = Link("fra", "iad", port, target)
    await link.start()
    for _ in range(10):
        await asyncio.gather(*(call(number) for number in range(20)))
    await link.stop()
    server.close()
    gc.collect()
    return link.bytes
