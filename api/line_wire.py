"""The line between a process that serves clients and the one that applies: `GET /sys/v1/line`, a websocket.

The request is signed as every one to the internal listener. The first frame from there is a nonce; with it both sides
have a key of this line alone, under which every further frame is bound to its place: `mac, payload`. What the payloads
are: `Ask` to the process that applies, stores.tidings.News from it.
"""

import hashlib
import hmac
from typing import TypeVar

import msgspec

from core import limits
from core.errors import Corrupt
from core.unreadable import UNREADABLE

PATH = "/sys/v1/line"
ROLES = ("api", "broker")
NONCE_BYTES = 16
_MAC_BYTES = 16
FRAME_BYTES_MAX = limits.LINE_WAITING_BYTES_MAX + limits.LANE_BATCH_BYTES_MAX
"""An ask has one group commit; news may be all that waits."""

T = TypeVar("T")
_encoder = msgspec.msgpack.Encoder()


class Ask(msgspec.Struct, frozen=True, array_like=True, gc=False):
    number: int
    """Of the line's asks; the answer names it."""
    kind: str
    """"apply": the lane through the seq, whose last records are here. "remote": until another datacenter holds the
    lane through the seq, as 1 or 0. "written": until message rows that were put can be read. "clock": what its wall
    clock shows, put right where that is known to be wrong."""
    lane: int = 0
    seq: int = 0
    timeout_ms: int = 0
    records: bytes = b""


class Seal:
    """One direction of one line."""

    def __init__(self, key: bytes, request_mac: str, nonce: bytes, direction: str) -> None:
        """`request_mac`: of the request that opened the line (internal_auth.py)."""
        text = f"line\n{direction}\n{request_mac}\n{nonce.hex()}"
        self._key = hmac.digest(key, text.encode(), "sha256")
        self._frames = 0

    def seal(self, message: msgspec.Struct) -> bytes:
        payload = _encoder.encode(message)
        return self._mac(payload) + payload

    def open(self, frame: bytes, kind: type[T]) -> T:
        """Corrupt for a frame that is not the next one of the other side."""
        mac, payload = frame[:_MAC_BYTES], frame[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(payload)):
            raise Corrupt("a frame of the line is not the next one of who opened it")
        try:
            return msgspec.msgpack.decode(payload, type=kind)
        except UNREADABLE as error:
            raise Corrupt("a frame of the line can't be read", private=str(error)) from error

    def _mac(self, payload: bytes) -> bytes:
        self._frames += 1
        place = self._frames.to_bytes(8)
        return hashlib.blake2b(place + payload, digest_size=_MAC_BYTES, key=self._key).digest()


def request_mac(authorization: str) -> str:
    """Of the request that opens a line."""
    return authorization.rpartition(":")[2]
