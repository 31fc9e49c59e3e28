"""Message rows between `put` and the database: a queue that is written behind, and that reads look through.

What is put goes into an open batch; MESSAGE_LINGER_MS later, or when MESSAGE_WRITE_ROWS are in it, a task hands the
batch to the adapter's `write`, which makes it durable together with the frontier that it completes. A write that fails
is kept and tried again, with a growing pause; meanwhile `check` raises, so whoever would put more or read is told.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from core import limits
from core.errors import PlanBError, StoreUnavailable
from core.messages import Row
from stores.adapters.message_rows import Encoded, MessageRows, checked, decoded, encoded, shown
from stores.ports import Frontier, Mark

RETRY_S_MIN = 0.05
RETRY_S_MAX = 2.0

log = logging.getLogger(__name__)


class Batch:
    """Rows and the frontier that they complete. It stays as it is once it is written, for reads that began before."""

    def __init__(self) -> None:
        self.rows = MessageRows()
        self.frontier: Frontier = {}
        self.written = False
        self.encoded: dict[int, Encoded] = {}
        """event -> its row, as databases take it."""

    def __len__(self) -> int:
        return len(self.rows.rows)

    @property
    def empty(self) -> bool:
        return not self.rows.rows and not self.frontier

    def touches(self, conversation: str) -> bool:
        """Has it rows of this conversation?"""
        return conversation in self.rows.conversations

    def add(self, rows: Sequence[Row]) -> None:
        """All of them or, if one is refused (Undecodable), none: the writer would retry that one for ever."""
        for row, bound in [(checked(row), encoded(row)) for row in rows]:
            again = row.event in self.encoded
            self.rows.add(row)
            self.encoded[row.event] = encoded(self.rows.rows[row.event]) if again else bound

    def read(self, event: int) -> Row:
        """A row as the database will give it back."""
        return decoded(self.encoded[event])


class WriteBehind:
    """The queue and its task. Made on the running event loop."""

    def __init__(self, name: str, write: Callable[[Batch], Awaitable[None]]) -> None:
        """`name` tells an operator where the rows go. `write` may be called again with the same batch."""
        self._name = name
        self._write_batch = write
        self._open = Batch()
        self._writing: Batch | None = None
        self.failure: PlanBError | None = None
        """Why the last write failed; None while all is well."""
        self._put = asyncio.Event()
        self._hurry = asyncio.Event()
        self._moved = asyncio.Event()
        self._closing = asyncio.Event()
        self.written = 0
        """Batches."""
        self._task = asyncio.create_task(self._write_behind(), name=f"write {name}")

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    def put(self, rows: Sequence[Row], frontier: Frontier) -> None:
        """As `MessageStore.put`."""
        if self.closed:
            raise StoreUnavailable(private=f"{self._name}: closed")
        self._open.add(rows)
        for lane, mark in frontier.items():
            if mark.seq > self._open.frontier.get(lane, Mark(0, 0)).seq:
                self._open.frontier[lane] = mark
        self._put.set()
        if len(self._open) >= limits.MESSAGE_WRITE_ROWS:
            self._hurry.set()

    async def ready(self) -> None:
        """As `MessageStore.ready`."""
        self.check()
        while self._queued >= limits.MESSAGE_QUEUE_ROWS_MAX:
            await self._moved.wait()
            self.check()

    def check(self) -> None:
        """Raises while writing fails, and after `close`."""
        if self.failure is not None:
            raise self.failure.__class__(self.failure.detail, private=self.failure.private, retry_after_s=1)
        if self.closed:
            raise StoreUnavailable(private=f"{self._name}: closed")

    async def drain(self) -> None:
        """Returns when what was put before is in the database; raises if writing fails."""
        self.check()
        batches = self.unwritten()
        while not all(batch.written for batch in batches):
            self._hurry.set()
            await self._moved.wait()
            self.check()

    async def drain_for(self, conversation: str) -> None:
        """The same, if any of it is of this conversation."""
        self.check()
        if any(batch.touches(conversation) for batch in self.unwritten()):
            await self.drain()

    def unwritten(self) -> tuple[Batch, ...]:
        """Oldest first. A read keeps these from before it asks the database, so a row is in one of the two."""
        return tuple(batch for batch in (self._writing, self._open) if batch is not None and not batch.empty)

    async def close(self, flush: Callable[[], Awaitable[None]], release: Callable[[], Awaitable[None]]) -> None:
        """As `MessageStore.close`: writes what was put, by the store's `flush`, then releases the database. If it can
        not be written it raises, closed all the same: the frontier in the database does not cover those rows, so they
        are replayed."""
        if self.closed:
            return
        try:
            await flush()
        finally:
            await self._stop()
            await release()

    async def _stop(self) -> None:
        """No more is written, nor taken; who waits is told."""
        self._closing.set()
        self._notify()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def _queued(self) -> int:
        return len(self._open) + (len(self._writing) if self._writing else 0)

    def _notify(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def _write_behind(self) -> None:
        while True:
            await self._put.wait()
            await _until(self._hurry, limits.MESSAGE_LINGER_MS / 1000)
            self._put.clear()
            self._hurry.clear()
            self._writing, self._open = self._open, Batch()
            await self._write(self._writing)
            self._writing = None
            self._notify()

    async def _write(self, batch: Batch) -> None:
        """Until it is written. Anything that fails is taken for a failing database: rows are never given up."""
        pause_s = RETRY_S_MIN
        while True:
            try:
                await self._write_batch(batch)
            except Exception as cause:
                known = cause if isinstance(cause, PlanBError) else None
                self.failure = known or StoreUnavailable(private=repr(cause))
                log.error("message rows wait, writing fails: %s", self.failure.private, exc_info=known is None)
                self._notify()
                await _until(self._closing, pause_s)
                pause_s = min(2 * pause_s, RETRY_S_MAX)
            else:
                batch.written = True
                self.written += 1
                self.failure = None
                return


About = Callable[[frozenset[int], frozenset[int], Mapping[int, int] | None], Awaitable[list[Row]]]
"""What the database has about these message ids, and about all ids of their classes and of these further classes."""


async def rows_over(
    batches: Sequence[Batch], messages: Iterable[int], known: Mapping[int, int] | None, about: About
) -> list[Row]:
    """`MessageStore.rows_of`: unwritten rows over what the database has."""
    ids, asked = set(messages), set[int]()
    found: list[Row] = []
    # Twice only where an unwritten copy has an id that the database was not asked for.
    while not ids <= asked:
        asked |= ids
        sends = [batch.rows.rows.get(id) for batch in batches for id in asked]
        classes = {row.class_ for row in sends if row is not None and row.kind == "send"}
        found = await about(frozenset(asked), frozenset(classes), known)
        copies = {row.event: row.class_ for row in found if row.kind == "send"}
        asked |= copies.keys()
        for class_ in classes.union(copies.values()):
            for batch in batches:
                ids |= batch.rows.classes.get(class_, frozenset())
        ids |= asked
    rows = {row.event: row for row in found}
    for batch in batches:
        for id in ids:
            for event in batch.rows.about.get(id, ()):
                rows[event] = batch.read(event)
    return shown((rows[event] for event in sorted(rows)), known)


async def _until(event: asyncio.Event, timeout_s: float) -> None:
    """Waits for the event, at most so long."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
