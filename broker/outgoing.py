"""What waits to leave on one connection. Bounded; everything besides updates is at most one frame of its kind."""

import asyncio
from collections.abc import Mapping

from broker import frames
from broker.budget import Budget
from core import limits


class Outgoing:
    """The queue of one connection. Per owner pts only ever grow; what would not is dropped as seen."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._leaving = 0
        self.filled = asyncio.Event()
        self._items: list[tuple[str, int, bytes]] = []
        self._bytes = 0
        self._pokes: dict[str, int] = {}
        self._resume: bytes | None = None
        self._heartbeat: bytes | None = None
        self._pong = False
        self._at: dict[str, int] = {}

    def update(self, owner: str, pts: int, item: bytes) -> bool:
        """False if the reader is too slow for it."""
        if pts <= self._at.get(owner, 0):
            return True
        if len(self._items) >= limits.CONNECTION_QUEUE_MAX:
            return False
        if self._items and self._bytes + len(item) > limits.CONNECTION_QUEUE_BYTES_MAX:
            return False
        self._at[owner] = pts
        self._items.append((owner, pts, item))
        self._bytes += len(item)
        self.filled.set()
        self._budget.move(len(item))
        return True

    def poke(self, owner: str, pts: int) -> None:
        """Tells the client that it has to fetch through `pts`."""
        if pts > self._at.get(owner, 0):
            self._at[owner] = self._pokes[owner] = pts
            self.filled.set()

    def resume(self, frame: bytes) -> None:
        """The client will fetch everything: what waits is dropped, and pts may start anywhere again."""
        self.clear()
        self._at.clear()
        self._resume = frame
        self.filled.set()

    def heartbeat(self, frame: bytes) -> None:
        self._heartbeat = frame
        self.filled.set()

    def pong(self) -> None:
        self._pong = True
        self.filled.set()

    def start(self, at: Mapping[str, int]) -> None:
        """Everything through `at` was sent already, or is for the client to fetch."""
        self._keep([one for one in self._items if one[1] > at.get(one[0], 0)])
        for owner, pts in at.items():
            self._at[owner] = max(pts, self._at.get(owner, 0))

    def forget(self, owner: str) -> None:
        """Nothing more of this owner."""
        self._keep([one for one in self._items if one[0] != owner])
        self._pokes.pop(owner, None)
        self._at.pop(owner, None)

    def behind(self, owner: str, pts: int) -> bool:
        """Did something of at least this pts come already? A sign of a new epoch, or of a double."""
        return pts <= self._at.get(owner, 0)

    def clear(self) -> None:
        self._keep([])
        self._pokes.clear()
        self._resume = self._heartbeat = None
        self._pong = False

    @property
    def size(self) -> int:
        """What waits, and what was taken and has not left."""
        return self._bytes + self._leaving

    def drop(self) -> None:
        """Nothing leaves any more."""
        self.clear()
        self._budget.move(-self._leaving)
        self._leaving = 0

    def leave(self, size: int) -> None:
        """So many bytes are being written."""
        self._leaving += size
        self._budget.move(size)

    def left(self, size: int) -> None:
        """So many of them have been."""
        size = min(size, self._leaving)  # dropped meanwhile
        self._leaving -= size
        self._budget.move(-size)

    def _keep(self, items: list[tuple[str, int, bytes]]) -> None:
        size = sum(len(one[2]) for one in items)
        self._budget.move(size - self._bytes)
        self._items, self._bytes = items, size

    def take(self) -> list[bytes]:
        """All that waits, as frames in the order of sending; each is to be told of when it has `left`."""
        taken: list[bytes] = [] if self._resume is None else [self._resume]
        if self._items:
            taken.extend(frames.updates([one[2] for one in self._items]))
        taken.extend(frames.poke(owner, pts) for owner, pts in self._pokes.items())
        if self._heartbeat is not None:
            taken.append(self._heartbeat)
        if self._pong:
            taken.append(frames.PONG)
        self.clear()
        self.filled.clear()
        self.leave(sum(map(len, taken)))
        return taken
