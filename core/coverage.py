"""V, `{lane: id}`: what a client, or a DC, has of every lane. Ids of one lane grow without gaps in V, so one id per
lane says it all; a watermark per DC, or the greatest id seen, does not (tests/models/test_cursor.py).
"""

from collections.abc import Mapping


def beyond(v: Mapping[int, int], id: int) -> bool:
    """Is this event not yet covered, so that a client that comes with `v` still needs its update?"""
    return id > v.get(id & 0xFFFF, 0)


def covers(v: Mapping[int, int], other: Mapping[int, int]) -> bool:
    """Is everything that `other` covers covered by `v`?"""
    return all(id <= v.get(lane, 0) for lane, id in other.items())


def must_reset(v: Mapping[int, int], trimmed: Mapping[int, int]) -> bool:
    """Was something trimmed that a client with `v` has not: its missing updates can not all be given any more."""
    return not covers(v, trimmed)
