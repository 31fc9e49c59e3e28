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

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes a close a reset."""


def test_ends_that_vanish_in_the_midst_leave_nothing_that_nobody_has_seen() -> None:
    """What a relay can't do any more ends it; an exception that nobody takes would be printed over the dashboard."""
    unseen: list[dict[str, Any]] = []
    relayed = uvloop.run(_vanish(unseen))
    assert relayed > 0
    assert unseen == []


async def _vanish(unseen: list[dict[str, Any]]) -> int:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(1_000) * 100)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()

    async def call(number: int) -> None:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(3):
                writer.write(b"x" * 1_000)
                await reader.read(500)
            if number % 2:
                writer.transport.abort()
            writer.close()

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
