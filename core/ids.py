"""Ids: 63 bits in sonyflake's layout: `time 39 | seq 8 | lane 16`.

An event's identity, timestamp and tie-break in one. Time counts units of 10 ms since 2014-09-01 UTC
(sonyflake's default epoch); the machine id of sonyflake is our lane number `dc 5 | incarnation 4 | worker 7`.
So `id & 0xffff` names the lane that wrote it, and ids of one lane grow with its seq.
Source: https://github.com/sony/sonyflake (layout); `sonyflake-py` decodes ours in a test.
"""

import functools
import hashlib
from collections.abc import Iterable
from typing import NamedTuple

EPOCH_MS = 1_409_529_600_000
UNIT_MS = 10
SEQ_BITS = 8
LANE_BITS = 16
TICK_MAX = 1 << 47
"""A tick is the (time, seq) part of an id: `id >> 16`. 256 ticks make one unit of 10 ms."""

ID_MAX = (1 << 63) - 1


class Lane(NamedTuple):
    """One writer's log; `number` is its 16-bit form, the sonyflake machine id."""

    dc: int
    incarnation: int
    worker: int

    @property
    def number(self) -> int:
        assert self.dc < 32 and self.incarnation < 16 and self.worker < 128, self
        return self.dc << 11 | self.incarnation << 7 | self.worker

    @classmethod
    def of(cls, number: int) -> "Lane":
        """The lane of a 16-bit lane number."""
        return cls(number >> 11 & 31, number >> 7 & 15, number & 127)


def earlier_lives(lane: int, lanes: Iterable[int]) -> list[int]:
    """Those of `lanes` that an earlier incarnation of `lane`'s DC wrote: they are never opened again."""
    opened = Lane.of(lane)
    return [
        number
        for number in lanes
        if (other := Lane.of(number)).dc == opened.dc and other.incarnation < opened.incarnation
    ]


def lane_of(id: int) -> int:
    """The number of the lane that wrote this id."""
    return id & 0xFFFF


def tick_of(id: int) -> int:
    """The (time, seq) part."""
    return id >> LANE_BITS


def time_ms_of(id: int) -> int:
    """Milliseconds since 1970, in steps of 10."""
    return (id >> 24) * UNIT_MS + EPOCH_MS


def tick_at(wall_ms: int) -> int:
    """The first tick of a wall time in milliseconds since 1970."""
    return max(0, (wall_ms - EPOCH_MS) // UNIT_MS) << SEQ_BITS


def make_id(tick: int, lane: int) -> int:
    """The id of a tick on a lane. Raises OverflowError beyond 2188."""
    if not 0 <= tick < TICK_MAX:
        raise OverflowError(f"tick {tick} does not fit 47 bits")
    return tick << LANE_BITS | lane


def padded(id: int) -> str:
    """19 digits: string order is number order. The form for Lua, where a number is a double."""
    return f"{id:019d}"


def derived_id(*parts: str) -> int:
    """63 bits of BLAKE2b over the parts: two creations of one thing get one id, in any DC."""
    text = "\0".join(parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) & ID_MAX


@functools.lru_cache(maxsize=16_384)
def direct_conversation(a: str, b: str) -> str:
    """The conversation id of two users' direct chat, whoever asks."""
    low, high = sorted((a, b))
    return f"D{derived_id('direct', low, high)}"


def class_of(sender: str, key: str, conversation: str, fingerprint: bytes) -> int:
    """The number that all copies of one message share: a retry through another DC is a second event. Another request
    under the same key is another message."""
    return derived_id("message", sender, key, conversation, fingerprint.hex())
