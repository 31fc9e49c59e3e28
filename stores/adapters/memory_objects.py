"""An ObjectStore in memory: for tests, simulations and a DC that may forget."""

import bisect
from collections import Counter
from collections.abc import AsyncIterator

from core.errors import Invalid, NotFound
from stores.adapters.object_keys import checked, checked_size


class MemoryObjects:
    """Keeps what was put until the process ends; atomic because nothing awaits inside."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._folders: Counter[str] = Counter()

    async def put(self, key: str, data: bytes) -> None:
        self._write(key, data)

    async def put_new(self, key: str, data: bytes) -> bool:
        if checked(key) in self._objects:
            return False
        self._write(key, data)
        return True

    async def get(self, key: str) -> bytes:
        try:
            return self._objects[checked(key)]
        except KeyError:
            raise NotFound(f"there is no object {key}") from None

    async def exists(self, key: str) -> bool:
        return checked(key) in self._objects

    async def list(self, prefix: str) -> AsyncIterator[str]:
        keys = sorted(self._objects)
        for key in keys[bisect.bisect_left(keys, prefix) :]:
            if not key.startswith(prefix):
                return
            yield key

    async def delete(self, key: str) -> None:
        if self._objects.pop(checked(key), None) is not None:
            self._folders.subtract(_folders(key))
            self._folders = +self._folders

    def _write(self, key: str, data: bytes) -> None:
        if checked(key) in self._folders or any(folder in self._objects for folder in _folders(key)):
            raise Invalid(f"{key!r} is a folder of another key, or lies below one")
        checked_size(key, data)
        if key not in self._objects:
            self._folders.update(_folders(key))
        self._objects[key] = bytes(data)


def _folders(key: str) -> list[str]:
    return [key[:at] for at, char in enumerate(key) if char == "/"]
