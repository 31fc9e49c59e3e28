"""An ObjectStore around another one, in which a test can act, or crash, before and after each operation."""

from collections.abc import AsyncIterator, Awaitable, Callable

from stores.ports import ObjectStore


class Crash(Exception):
    """The process died here."""


class CrashingObjects:
    """Dies at the nth write (counted from 1; put, put_new and delete), before or after it happened; for good."""

    def __init__(self, inner: ObjectStore, at: int, *, after: bool) -> None:
        self._inner = inner
        self._left = at
        self._after = after

    async def _write(self, work: Awaitable[object]) -> object:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._after):
            if hasattr(work, "close"):
                work.close()
            raise Crash
        done = await work
        if self._left == 0:
            raise Crash
        return done

    async def put(self, key: str, data: bytes) -> None:
        await self._write(self._inner.put(key, data))

    async def put_new(self, key: str, data: bytes) -> bool:
        return bool(await self._write(self._inner.put_new(key, data)))

    async def get(self, key: str) -> bytes:
        return await self._inner.get(key)

    async def exists(self, key: str) -> bool:
        return await self._inner.exists(key)

    def list(self, prefix: str) -> AsyncIterator[str]:
        return self._inner.list(prefix)

    async def delete(self, key: str) -> None:
        await self._write(self._inner.delete(key))


class BusyObjects:
    """Awaits `act` before every operation: the rest of the world goes on meanwhile."""

    def __init__(self, inner: ObjectStore, act: Callable[[str], Awaitable[None]]) -> None:
        self._inner = inner
        self._act = act

    async def put(self, key: str, data: bytes) -> None:
        await self._act(key)
        await self._inner.put(key, data)

    async def put_new(self, key: str, data: bytes) -> bool:
        await self._act(key)
        return await self._inner.put_new(key, data)

    async def get(self, key: str) -> bytes:
        await self._act(key)
        return await self._inner.get(key)

    async def exists(self, key: str) -> bool:
        await self._act(key)
        return await self._inner.exists(key)

    async def list(self, prefix: str) -> AsyncIterator[str]:
        await self._act(prefix)
        async for key in self._inner.list(prefix):
            yield key

    async def delete(self, key: str) -> None:
        await self._act(key)
        await self._inner.delete(key)


async def keys(objects: ObjectStore, prefix: str = "") -> list[str]:
    return [key async for key in objects.list(prefix)]


async def damage(objects: ObjectStore, key: str, at: int = -1) -> None:
    """Flips one bit of an object."""
    data = bytearray(await objects.get(key))
    data[at] ^= 1
    await objects.put(key, bytes(data))
