"""How much room the folders of a datacenter have, looked at now and then."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOOK_S = 2.0


@dataclass(frozen=True)
class Room:
    """Of the disk that a folder is on, in bytes. `error`: why it is not known."""

    free: int = 0
    size: int = 0
    error: str = ""


class Disks:
    """By setting: `data_dir`, `objects_dir`. The look itself is a thread's: a network disk that hangs holds nobody up,
    and what was seen last is shown."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = dict(folders)
        self._rooms: dict[str, Room] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._rooms = await asyncio.to_thread(lambda: dict(self._look()))
            await asyncio.sleep(LOOK_S)  # a period, not a condition

    def _look(self) -> Iterator[tuple[str, Room]]:
        for name, folder in self._folders.items():
            try:
                found = os.statvfs(folder)
            except OSError as error:
                yield name, Room(error=os.strerror(error.errno or 0))
            else:
                yield name, Room(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)

    def shown(self) -> dict[str, dict[str, Any]]:
        """For the status. Empty before the first look."""
        return {
            name: {"folder": str(self._folders[name]), "free_bytes": room.free, "bytes": room.size, "error": room.error}
            for name, room in self._rooms.items()
        }

    def free(self) -> dict[str, float]:
        """For the metrics: bytes by setting, of those that are known."""
        return {name: float(room.free) for name, room in self._rooms.items() if not room.error}
