"""Stores that fail at a chosen call, and a DC that dies there: what `apply` has to survive.

Every store and the log of one life of the process share one `Strike`. It counts their calls; at the chosen one the
process dies before or after the effect, or the caller is told that nothing is certain. A dead process calls nothing
any more; what it had not flushed is gone.
"""

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from core.errors import StoreUnavailable
from core.messages import Row
from stores.adapters.memory_messages import MemoryMessageStore
from stores.ports import Frontier

READS = frozenset({
    "frontier", "rows", "results", "parked", "conflicts", "meta", "history", "rows_of", "tops", "recent", "sent_since",
    "epoch", "updates", "trimmed", "pts", "dialogs", "unread", "seen", "result", "results_of", "online", "read", "dump",
})  # fmt: skip
WRITES = frozenset({
    "apply", "set_meta", "ready", "flush", "put", "begin", "publish_epoch", "decide", "announce", "set_frontier",
})  # fmt: skip


class Crash(BaseException):
    """kill -9. No `except Exception` may catch it."""


class How(Enum):
    BEFORE = "dies before the call"
    AFTER = "dies after the effect"
    REFUSED = "the call fails without effect"
    UNANSWERED = "the effect happens, the answer is lost"
    HOT_LOST = "the hot server is emptied just before the call"


class Strike:
    """Strikes at call number `at` (from 0; None: never) of those in `counted`, and `then` at others by number."""

    def __init__(
        self,
        at: int | None = None,
        how: How = How.BEFORE,
        counted: frozenset[str] = WRITES,
        then: Mapping[int, How] | None = None,
    ) -> None:
        self.plan = dict(then or {})
        if at is not None:
            self.plan[at] = how
        self.calls: list[str] = []
        self.dead = False
        self.struck = ""
        self.lose_hot: Callable[[], None] = lambda: None
        self.refuse_next = ""
        """The next call of this name fails without effect."""
        self.after_each: Callable[[], None] = lambda: None
        """Called after each effect, before anybody knows of it."""
        self._counted = counted

    def begin(self, name: str) -> How | None:
        """What is to happen to this call."""
        if self.dead:
            raise Crash(f"{name} of a dead process")
        if name.rpartition(".")[2] not in self._counted:
            return None
        how = self.plan.get(len(self.calls))
        if name == self.refuse_next:
            how, self.refuse_next = How.REFUSED, ""
        self.calls.append(name)
        if how is None:
            return None
        self.struck = name
        if how is How.BEFORE:
            self.die()
        if how is How.REFUSED:
            raise StoreUnavailable(private=f"struck at {name}")
        if how is How.HOT_LOST:
            self.lose_hot()
        return how

    def end(self, how: How | None) -> None:
        self.after_each()
        if self.dead:
            raise Crash("a dead process gets no answers")
        if how is How.AFTER:
            self.die()
        if how is How.UNANSWERED:
            raise StoreUnavailable(private=f"struck after {self.struck}")

    def die(self) -> None:
        self.dead = True
        raise Crash(self.struck)


class Struck:
    """A store or log whose calls go through a Strike."""

    def __init__(self, name: str, inner: Any, strike: Strike) -> None:
        self.inner = inner
        self._name = name
        self._strike = strike

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name == "put":
            return self._now(name, found)
        if name in ("dump", "follow", "listen") or name not in READS | WRITES:
            return found
        return self._soon(name, found)

    def _soon(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def called(*arguments: Any, **named: Any) -> Any:
            how = self._strike.begin(f"{self._name}.{name}")
            answer = await call(*arguments, **named)
            self._strike.end(how)
            return answer

        return called

    def _now(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            how = self._strike.begin(f"{self._name}.{name}")
            answer = call(*arguments)
            self._strike.end(how)
            return answer

        return called


class BehindMessages(MemoryMessageStore):
    """Written behind: what the last `lag` puts brought is durable only after a flush. `killed` is the next life's."""

    def __init__(self, durable: MemoryMessageStore | None = None, lag: int = 3) -> None:
        super().__init__()
        self.durable = durable or MemoryMessageStore()
        self._rows = copy.deepcopy(self.durable._rows)
        self._frontier = dict(self.durable._frontier)
        self._lag = lag
        self._pending: list[tuple[Sequence[Row], Frontier]] = []

    def put(self, rows: Sequence[Row], frontier: Frontier) -> None:
        super().put(rows, frontier)
        self._pending.append((list(rows), dict(frontier)))
        self._write(self._lag)

    async def written(self) -> None:
        self._write(0)

    async def flush(self) -> None:
        self._write(0)

    async def frontier(self) -> Frontier:
        return await self.durable.frontier()

    def _write(self, kept: int) -> None:
        while len(self._pending) > kept:
            self.durable.put(*self._pending.pop(0))

    def killed(self) -> "BehindMessages":
        return BehindMessages(copy.deepcopy(self.durable), self._lag)


def difference(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs between two states, shortly: for the message of a failed assertion."""
    lines = []
    for name in wanted.keys() | found.keys():
        a, b = wanted.get(name), found.get(name)
        if a != b:
            if isinstance(a, Mapping) and isinstance(b, Mapping):
                lines += [f"{name}.{line}" for line in difference(a, b)]
            else:
                lines.append(f"{name}: wanted {a!r:.600} found {b!r:.600}")
    return lines
