"""`Prefer: durability=remote`: a write is safe when another DC says that it holds it durably.

Received or applied there is not enough: the DC that has only received it may crash together with us (8,800 of 10,000
model histories lose a write that was answered).
"""

from replicator.board import Board


class RemoteDurability:
    """Learns from both directions: from what a peer's pull asks for, usually one round trip after the write, and from
    what it answers to ours."""

    def __init__(self, board: Board) -> None:
        self._board = board

    async def wait(self, lane: int, seq: int, timeout_s: float) -> bool:
        """Is `seq` durably in another DC? Waits up to `timeout_s`; False at once where no other DC is reachable."""
        return await self._board.held_elsewhere(lane, seq, timeout_s)
