"""A model of how active-active tools keep two Redis masters alike: each side's writes are sent to the other in their
order. It is a model of the mechanism, not of a product.

The writes are read from the server's own replication stream (PSYNC, as a replica reads it), and applied on the other
side in a transaction that begins with a mark, by which they are known there and not sent back. After a cut the stream
is resumed at its offset from the server's backlog: a partial resynchronisation, so nothing is lost on the way.
"""

import asyncio
from collections.abc import Iterator, Sequence

from tests.support.valkey import ValkeyServer

MARK = b"sent-by-the-other-side"


class Syncer:
    """Sends one side's writes to the other. `run` until it is cancelled."""

    def __init__(self, source: ValkeyServer, target: ValkeyServer) -> None:
        self._source = source
        self._target = target
        self._history = b"?"
        self._offset = -1
        self._task: asyncio.Task[None] | None = None
        self.sent = 0
        self.partial_resyncs = 0

    async def connect(self) -> None:
        """Goes on where it was; returns when the source has agreed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._source.port)
        after = self._offset + 1 if self._offset >= 0 else -1
        writer.write(_command(b"PSYNC", self._history, b"%d" % after))
        answer = await _line(reader)
        if answer.startswith(b"+CONTINUE"):
            self.partial_resyncs += 1
        else:
            _, self._history, offset = answer.split()
            self._offset = int(offset)
            await reader.readexactly(int((await _line(reader))[1:]))  # a snapshot of what was nothing
        self._task = asyncio.create_task(self._follow(reader, writer))

    async def cut(self) -> None:
        """The connection is gone. What the source wrote since waits in its backlog."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outward, there = await asyncio.open_connection("127.0.0.1", self._target.port)
        transaction: list[Sequence[bytes]] | None = None
        try:
            while True:
                command, size = await _read(reader)
                name = command[0].upper()
                if name == b"MULTI":
                    transaction = []
                elif name == b"EXEC":
                    for one in _own(transaction or []):
                        await self._send(outward, there, one)
                    transaction = None
                elif transaction is not None:
                    transaction.append(command)
                elif name == b"SET":
                    await self._send(outward, there, command)
                self._offset += size  # only now: what was not sent is read again after a cut
        finally:
            writer.close()
            there.close()

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: Sequence[bytes]) -> None:
        marked = (b"MULTI",), (b"SET", MARK, b"1"), command, (b"EXEC",)
        writer.write(b"".join(_command(*one) for one in marked))
        for _ in marked[:-1]:
            assert (await _line(reader)).startswith(b"+")
        assert await _line(reader) == b"*2"
        for _ in range(2):
            assert await _line(reader) == b"+OK"
        self.sent += 1


def _own(transaction: Sequence[Sequence[bytes]]) -> Iterator[Sequence[bytes]]:
    """What was written here, not by the tool."""
    if not any(command[1:2] == [MARK] for command in transaction):
        yield from (command for command in transaction if command[0].upper() == b"SET")


def _command(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line; empty ones keep a connection alive."""
    while not (line := (await reader.readuntil(b"\r\n")).strip()):
        pass
    return line


async def _read(reader: asyncio.StreamReader) -> tuple[list[bytes], int]:
    """One command of the stream, and its length in it."""
    head = await reader.readuntil(b"\r\n")
    size, parts = len(head), []
    for _ in range(int(head[1:])):
        line = await reader.readuntil(b"\r\n")
        part = await reader.readexactly(int(line[1:]) + 2)
        size += len(line) + len(part)
        parts.append(part[:-2])
    return parts, size
