"""Chunks: stretches of a table's rows, compressed, stored under the hash of their bytes.

Where a chunk ends is decided by the rows themselves (a row whose CRC is 0 modulo CHUNK_ROWS_MEAN ends one), so a row
that is added or changed moves no boundary but its own, and all other chunks are found to be there already.
After "A low-bandwidth network file system" (Muthitacharoen et al., SOSP 2001), with rows for bytes.

A chunk is a zstd frame of JSON lines in UTF-8 with sorted keys: an object per row of a relational table, an array
[event, conversation, message, kind, actor, class, body] per message row.
"""

import asyncio
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import zstandard

from core import limits
from core.errors import Corrupt, NotFound
from core.unreadable import UNREADABLE
from snapshot.manifest import Chunk
from stores.ports import ObjectStore

_LEVEL = 3
_RAW_MAX = limits.CHUNK_BYTES_MAX + limits.BODY_BYTES_MAX
_encoder = msgspec.json.Encoder(order="deterministic")


PREFIX = "chunks/"


def chunk_key(hash: str) -> str:
    return f"{PREFIX}{hash}"


class Cutter:
    """Cuts one table's rows, in their order, into the raw bytes of chunks."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, rows: Iterable[Any]) -> list[tuple[int, bytes]]:
        """The chunks (rows, raw bytes) that these rows complete."""
        done = []
        for row in rows:
            line = _encoder.encode(row)
            self._lines.append(line)
            self._size += len(line) + 1
            if (
                zlib.crc32(line) % limits.CHUNK_ROWS_MEAN == 0
                or len(self._lines) >= limits.CHUNK_ROWS_MAX
                or self._size >= limits.CHUNK_BYTES_MAX
            ):
                done += self.finish()
        return done

    def finish(self) -> list[tuple[int, bytes]]:
        """The last chunk, if there is one."""
        if not self._lines:
            return []
        chunk = (len(self._lines), b"\n".join(self._lines) + b"\n")
        self._lines, self._size = [], 0
        return [chunk]


async def put_chunk(objects: ObjectStore, rows: int, raw: bytes) -> Chunk:
    """Stores a chunk. One that is there already is read and reused, or replaced should it be damaged."""
    data, hash = await asyncio.to_thread(_pack, raw)
    key = chunk_key(hash)
    if not await objects.exists(key):
        await objects.put_new(key, data)
    elif await objects.get(key) != data:
        await objects.put(key, data)
    return Chunk(hash, rows, len(data), len(raw))


async def check_chunk(objects: ObjectStore, chunk: Chunk) -> bytes:
    """The chunk's object, its hash verified. Corrupt names it, missing or damaged."""
    key = chunk_key(chunk.hash)
    try:
        data = await objects.get(key)
    except NotFound:
        raise Corrupt(f"{key}: missing", object=key) from None
    if await asyncio.to_thread(_hash, data) != chunk.hash:
        raise Corrupt(f"{key}: damaged (its hash differs)", object=key)
    return data


async def get_rows(objects: ObjectStore, chunk: Chunk, kind: Any = Any) -> Sequence[Any]:
    """The chunk's rows as `kind`. Corrupt names the chunk."""
    data = await check_chunk(objects, chunk)
    key = chunk_key(chunk.hash)
    try:
        rows = await asyncio.to_thread(_unpack, data, chunk.raw_bytes, kind)
    except (zstandard.ZstdError, *UNREADABLE) as error:
        raise Corrupt(f"{key}: not a chunk of rows", private=str(error), object=key) from error
    if len(rows) != chunk.rows:
        raise Corrupt(f"{key}: {len(rows)} rows where the manifest says {chunk.rows}", object=key)
    return rows


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def _pack(raw: bytes) -> tuple[bytes, str]:
    data = zstandard.ZstdCompressor(level=_LEVEL).compress(raw)
    return data, _hash(data)


def _unpack(data: bytes, raw_bytes: int, kind: Any) -> Sequence[Any]:
    if raw_bytes > _RAW_MAX:
        raise zstandard.ZstdError(f"{raw_bytes} bytes are more than a chunk may hold")
    raw = zstandard.ZstdDecompressor().decompress(data, max_output_size=raw_bytes)
    return msgspec.json.Decoder(kind).decode_lines(raw)
