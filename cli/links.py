"""Links between datacenters on one machine: a TCP relay per direction, so that a link can really be cut.

A cut relay drops its connections and, like a network that lost its route, neither accepts nor refuses bytes: new
connections are accepted by the kernel and stay silent, so both sides see what a partition looks like.
"""

import asyncio
import contextlib
import logging

log = logging.getLogger(__name__)

CHUNK_BYTES = 65_536


class Link:
    """Relays one port to another datacenter's internal listener."""

    def __init__(self, source: str, target: str, port: int, target_port: int) -> None:
        self.source = source
        self.target = target
        self.port = port
        self._target_port = target_port
        self._whole = asyncio.Event()
        self._whole.set()
        self._server: asyncio.Server | None = None
        self._relays: set[asyncio.Task[None]] = set()
        self.bytes = 0

    @property
    def cut_now(self) -> bool:
        return not self._whole.is_set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._drop()
        await asyncio.gather(*self._relays, return_exceptions=True)

    def cut(self) -> None:
        """Stops all traffic; connections under way are lost."""
        self._whole.clear()
        self._drop()

    def heal(self) -> None:
        self._whole.set()

    def _drop(self) -> None:
        for relay in self._relays:
            relay.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.create_task(self._relay(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outward: asyncio.StreamWriter | None = None
        try:
            await self._whole.wait()
            inward, outward = await asyncio.open_connection("127.0.0.1", self._target_port)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, outward))
                group.create_task(self._copy(inward, writer))
        except* (OSError, asyncio.IncompleteReadError) as problem:
            log.debug("%s → %s: %s", self.source, self.target, problem.exceptions)
        finally:
            ends = [end for end in (writer, outward) if end is not None]
            for end in ends:
                end.transport.abort()
            for end in ends:  # why it was lost has to be looked at, or it is printed some time as an error of nobody's
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            self.bytes += len(data)
            _still_there(writer)
            writer.write(data)
            await writer.drain()
        _still_there(writer)
        if writer.can_write_eof():
            writer.write_eof()


def _still_there(writer: asyncio.StreamWriter) -> None:
    """uvloop answers a write to what was closed under us with a RuntimeError; it is a connection that was lost."""
    if writer.transport.is_closing():
        raise ConnectionResetError("the other end is gone")
