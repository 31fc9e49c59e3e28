"""Which incarnations of a datacenter were ever opened, as its own object storage knows.

A lane that was opened may have been written on for a moment and burnt before a peer, the archive or a store that
survives had seen any of it. Opened again it would get other records at the same seqs. So whoever opens an incarnation
for the first time says so here before the first record is appended; object storage outlives the disks.
"""

from core.errors import Conflict
from stores.ports import ObjectStore


class Incarnations:
    """Of one DC number."""

    def __init__(self, objects: ObjectStore, number: int) -> None:
        self._objects = objects
        self._prefix = f"incarnations/{number}/"

    async def opened(self) -> set[int]:
        """Those that were claimed. Raises what the object store raises."""
        return {int(key.removeprefix(self._prefix)) async for key in self._objects.list(self._prefix)}

    async def claim(self, incarnation: int) -> None:
        """Before its first record. Conflict if it was claimed before: it is somebody else's, or was lost with its
        disks; the next start takes a later one."""
        if not await self._objects.put_new(f"{self._prefix}{incarnation:02d}", b""):
            raise Conflict(f"incarnation {incarnation} of this datacenter was opened before")
