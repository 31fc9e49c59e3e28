"""What a client's cursor covers, asked about single events.

A client keeps what it wrote until a cursor covers it. Having come to another datacenter, or back to one that was
rebuilt, it names the acknowledged events that it still keeps and is told which of them are not covered there: those
may be on their way, or may be lost with the datacenter that acknowledged them. It sends them again under the same
keys; one that arrives after all is the same message twice, which every reader shows once.
"""

from collections.abc import Iterable, Mapping

from core.ids import lane_of


def uncovered(v: Mapping[int, int], ids: Iterable[int]) -> list[int]:
    """The event ids that lie beyond `v` (lane -> last id applied without a gap), in the order given.

    Exact while the lane is open: ids of one lane grow with its seq, so `id <= v[lane]` means that the event was
    applied. A lane that `v` does not name covers nothing.
    """
    return [id for id in ids if id > v.get(lane_of(id), 0)]
