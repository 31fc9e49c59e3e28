"""The garbage-collection bound: up to where every DC surely has each lane, so that nothing before it is needed again.

Per lane the smallest durable frontier over all DCs of the map. Parked events hold it down, here and in every other DC;
running snapshots need not (docs/decisions/0010). A DC that was never heard of holds it at 0, also one that is away for
long: nothing can be told yet that it is gone for good (docs/operations.md).
"""

from collections.abc import Iterable, Mapping

from replicator.board import Board


def held_down(parked: Mapping[int, Iterable[int]], snapshots: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """lane -> the last seq that this DC will not need again.

    `parked`: lane -> seqs of parked events. `snapshots`: F0 of each running snapshot, lane -> seq.
    """
    held = {lane: min(seqs) - 1 for lane, seqs in parked.items() if seqs}
    for frontier in snapshots:
        for lane, seq in frontier.items():
            held[lane] = min(held.get(lane, seq), seq)
    return held


def collection_bound(
    own_durable: Mapping[int, int], own_held: Mapping[int, int], board: Board, own_applied: Mapping[int, int]
) -> dict[int, int]:
    """lane -> seq: everything at or below is durable everywhere and held by nobody.

    Never beyond what is applied here. Lanes that only others know are 0 here and left out.
    """
    bound = {}
    for lane, seq in own_durable.items():
        least = min(seq, own_applied.get(lane, 0), own_held.get(lane, seq))
        for peer in board.peers.values():
            there = peer.durable.get(lane, 0) if peer.heard else 0
            least = min(least, there, peer.held.get(lane, there))
        bound[lane] = least
    return bound
