"""What is known of the other DCs: their frontiers by their own word, and whether they can be reached.

A DC's newest statement replaces the one before, whole. It may go back (that DC was restored): a maximum would then
let others forget what it needs.
"""

import asyncio
from collections.abc import Callable, Mapping

from core import limits
from core.system import Clock


class PeerState:
    """One other DC."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.heard = False
        self.durable: Mapping[int, int] = {}
        self.applied: Mapping[int, int] = {}
        self.held: Mapping[int, int] = {}
        self.link = "new"
        """Our pulls from it: "new", "ok" or "failed"."""
        self.since_ms = 0
        """Since when the link is in this state."""
        self.error = ""
        """The last failure; kept after it is over."""
        self.pulled_us_ms = 0
        """When it last pulled from us."""


class Board:
    """One per process."""

    def __init__(self, peers: Mapping[str, int], now_ms: Clock) -> None:
        """`peers`: name -> number, without ourselves."""
        self._now_ms = now_ms
        self.peers = {name: PeerState(name, number) for name, number in peers.items()}
        self._waiting: dict[int, dict[asyncio.Future[bool], int]] = {}
        self._waiters = 0
        self.on_rerouted: Callable[[], None] = lambda: None
        """Called when a direct link fails or comes back."""

    def note(self, name: str, durable: Mapping[int, int], applied: Mapping[int, int], held: Mapping[int, int]) -> None:
        """A statement of a peer about itself, in a request or an answer."""
        peer = self.peers[name]
        peer.heard = True
        peer.durable, peer.applied, peer.held = durable, applied, held
        for lane in self._waiting.keys() & durable.keys():
            self._release(lane, durable[lane])

    def note_pulled(self, name: str) -> None:
        """It pulled from us: it is reachable that way at least."""
        self.peers[name].pulled_us_ms = self._now_ms()

    def note_link(self, name: str, error: str = "") -> None:
        """Our pull from it worked, or failed with `error`."""
        peer = self.peers[name]
        state = "failed" if error else "ok"
        if error:
            peer.error = error
        if peer.link != state:
            peer.link = state
            peer.since_ms = self._now_ms()
            self.on_rerouted()

    def reachable(self, name: str) -> bool:
        """Can a write reach it at present, as far as we know?"""
        peer = self.peers[name]
        recently = self._now_ms() - limits.PULL_WAIT_MS_MAX - limits.PULL_SLACK_MS
        return peer.link == "ok" or peer.pulled_us_ms > recently

    def direct(self) -> list[int]:
        """Numbers of the DCs whose link works."""
        return [peer.number for peer in self.peers.values() if peer.link == "ok"]

    def holders(self, lane: int, seq: int) -> list[str]:
        """Peers that hold the lane durably through `seq`."""
        return [name for name, peer in self.peers.items() if peer.durable.get(lane, 0) >= seq]

    async def held_elsewhere(self, lane: int, seq: int, timeout_s: float) -> bool:
        """Waits until any peer says that it holds `seq` durably; False after the timeout, at once when no peer can
        be reached or REMOTE_WAITERS_MAX wait already."""
        if self.holders(lane, seq):
            return True
        if self._waiters >= limits.REMOTE_WAITERS_MAX or not any(map(self.reachable, self.peers)):
            return False
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(lane, {})[waiter] = seq
        self._waiters += 1
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter
        except TimeoutError:
            return False
        finally:
            self._waiters -= 1
            queue = self._waiting[lane]
            del queue[waiter]
            if not queue:
                del self._waiting[lane]

    def _release(self, lane: int, seq: int) -> None:
        for waiter, wanted in self._waiting[lane].items():
            if wanted <= seq and not waiter.done():
                waiter.set_result(True)
