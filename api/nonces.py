"""Which signed requests were received already, for as long as they would count again.

What was received is remembered by its own time, in whole seconds. A second that is forgotten, because it has passed
out of the window or because there is no more room, moves the floor: what is stamped before the floor is refused. So
is what is stamped before the process began: it can't know what the one before it received.
"""

from collections.abc import Callable

from core import limits
from core.errors import AlreadyReceived, OutOfTime, Unauthenticated


class Nonces:
    """Of one process. Times are ms of the wall clock."""

    def __init__(self, began_ms: Callable[[], int]) -> None:
        """`began_ms`: when the process began, by the clock as it is now: it may have been put right since."""
        self._began_ms = began_ms
        self._floor_ms = 0
        self._seconds: dict[int, set[bytes]] = {}
        self._count = 0

    def check(self, sent_ms: int, now_ms: int, shown_ms: int | None = None) -> None:
        """OutOfTime, which tells the sender `shown_ms` (else `now_ms`), and `now_ms`; Unauthenticated below the
        floor."""
        apart_ms = abs(now_ms - sent_ms)
        if apart_ms > limits.INTERNAL_AUTH_WINDOW_MS:
            shown_ms = now_ms if shown_ms is None else shown_ms
            raise OutOfTime(
                f"the signature is out of time: our clocks are {apart_ms} ms apart", wall_ms=shown_ms, judged_ms=now_ms
            )
        if sent_ms < max(self._floor_ms, self._began_ms()):
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
