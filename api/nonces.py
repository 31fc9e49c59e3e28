"""Which signed requests were received already, for as long as they would count again.

What was received is remembered by its own time, in whole seconds. A second that is forgotten, because it has passed
out of the window or because there is no more room, moves the floor: what is stamped before the floor is refused. So
is what is stamped before the process began: it can't know what the one before it received.
"""

from core import limits
from core.errors import AlreadyReceived, Unauthenticated


class Nonces:
    """Of one process. Times are ms of the wall clock."""

    def __init__(self, began_ms: int) -> None:
        self._floor_ms = began_ms
        self._seconds: dict[int, set[bytes]] = {}
        self._count = 0

    def check(self, sent_ms: int, now_ms: int) -> None:
        """Unauthenticated for what is out of time."""
        if abs(now_ms - sent_ms) > limits.INTERNAL_AUTH_WINDOW_MS:
            raise Unauthenticated("the signature is out of time: is a clock wrong?")
        if sent_ms < self._floor_ms:
            raise Unauthenticated("it was signed before this process can tell what it received: sign it anew")

    def take(self, sent_ms: int, nonce: bytes, now_ms: int) -> None:
        """Remembers one that was checked. AlreadyReceived for the second of its kind."""
        second = self._seconds.get(sent_ms // 1000)
        if second is None:
            self._forget_before(now_ms - limits.INTERNAL_AUTH_WINDOW_MS)
            second = self._seconds[sent_ms // 1000] = set()
        if nonce in second:
            raise AlreadyReceived("sign it anew, under the same Idempotency-Key")
        second.add(nonce)
        self._count += 1
        if self._count > limits.NONCES_MAX:
            self._forget(min(self._seconds))

    def _forget_before(self, ms: int) -> None:
        for second in [one for one in self._seconds if (one + 1) * 1000 <= ms]:
            self._forget(second)

    def _forget(self, second: int) -> None:
        self._count -= len(self._seconds.pop(second))
        self._floor_ms = max(self._floor_ms, (second + 1) * 1000)
