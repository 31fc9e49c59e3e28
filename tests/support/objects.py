"""Stores and logs that die at a chosen write, and object stores during whose operations the world goes on."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from stores.ports import ObjectStore


class Crash(Exception):
    """The process died here."""


class Crashes:
    """Counts the calls of the named methods on whatever it is put `around`, and dies at the nth, for good."""

    def __init__(self, at: int, *, after: bool) -> None:
        self._left = at
        self._after = after

    @property
    def happened(self) -> bool:
        return self._left <= 0

    def around(self, target: Any, *names: str) -> Any:
        return _Around(self, target, names)

    async def call(self, work: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        self._left -= 1
        if self._left < 0 or (self._left == 0 and not self._after):
            raise Crash
        done = await work(*args)
        if self._left == 0:
            raise Crash
        return done


class _Around:
    def __init__(self, crashes: Crashes, target: Any, names: tuple[str, ...]) -> None:
        self._crashes, self._target, self._names = crashes, target, names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return functools.partial(self._crashes.call, found) if name in self._names else found


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


def crashing_objects(inner: ObjectStore, at: int, *, after: bool) -> Any:
    """Dies at the nth write, before or after it happened."""
    return Crashes(at, after=after).around(inner, "put", "put_new", "delete")


async def keys(objects: ObjectStore, prefix: str = "") -> list[str]:
    return [key async for key in objects.list(prefix)]


async def damage(objects: ObjectStore, key: str, at: int = -1) -> None:
    """Flips one bit of an object."""
    data = bytearray(await objects.get(key))
    data[at] ^= 1
    await objects.put(key, bytes(data))
