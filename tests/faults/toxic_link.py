"""A link between datacenters that can be bad in the ways toxiproxy knows: slow, narrow, one-way, reset, half-open."""

import asyncio
import socket
import struct

from cli.links import CHUNK_BYTES, Link, _still_there
from cli.planet import Planet

THERE, BACK = "there", "back"


class ToxicLink(Link):
    """Healthy until told otherwise; each way (`THERE`, `BACK`) is silent or not by itself."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.source, link.target, link.port, link._target_port)
        self.ways = {THERE: asyncio.Event(), BACK: asyncio.Event()}
        """Cleared: its bytes wait, as those of a network without this way do."""
        for way in self.ways.values():
            way.set()
        self.latency_s = 0.0
        """By which each chunk is late."""
        self.bytes_per_s = 0.0
        """0: as many as there are."""
        self._ends: set[asyncio.StreamWriter] = set()
        self._dead: set[asyncio.StreamWriter] = set()

    def reset(self) -> int:
        """Every connection is reset; how many ends."""
        for writer in self._ends:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return len(self._ends)

    def half_open(self) -> int:
        """Connections that are there stay and carry nothing more, in neither direction, for ever: nobody is told.
        New ones are well. How many ends."""
        self._dead |= self._ends
        return len(self._ends)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = self.ways[THERE if writer.get_extra_info("peername")[1] == self._target_port else BACK]
        self._ends.add(writer)
        try:
            while data := await reader.read(CHUNK_BYTES):
                await way.wait()
                if self.latency_s:
                    await asyncio.sleep(self.latency_s)  # the fault itself
                if self.bytes_per_s:
                    await asyncio.sleep(len(data) / self.bytes_per_s)  # the fault itself
                if writer in self._dead:
                    continue
                self.bytes += len(data)
                _still_there(writer)
                writer.write(data)
                await writer.drain()
            if writer in self._dead:  # who gave up is not heard of at the other end
                await asyncio.Event().wait()
            _still_there(writer)
            if writer.can_write_eof():
                writer.write_eof()
        finally:
            self._ends.discard(writer)
            self._dead.discard(writer)


def with_toxic_links(planet: Planet) -> Planet:
    """Before it is started."""
    planet.links = {pair: ToxicLink(link) for pair, link in planet.links.items()}
    return planet
