"""The message store in memory: for tests and simulations. What is put is durable at once."""

from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice

from core import limits
from core.ids import ID_MAX
from core.messages import Row
from stores.adapters.message_rows import MessageRows, as_read, checked
from stores.ports import Frontier, Mark


class MemoryMessageStore:
    """stores.ports.MessageStore. Nothing in it awaits, so every call is atomic."""

    def __init__(self) -> None:
        self._rows = MessageRows()
        self._frontier: Frontier = {}

    def put(self, rows: Sequence[Row], frontier: Frontier) -> None:
        for row in [as_read(checked(row)) for row in rows]:
            self._rows.add(row)
        for lane, mark in frontier.items():
            if mark.seq > self._frontier.get(lane, Mark(0, 0)).seq:
                self._frontier[lane] = Mark(*mark)

    async def ready(self) -> None:
        """Nothing is ever queued."""

    async def flush(self) -> None:
        """Nothing is ever queued."""

    async def frontier(self) -> Frontier:
        return dict(sorted(self._frontier.items()))

    async def history(
        self, conversation: str, *, before: int | None = None, after: int | None = None, limit: int
    ) -> list[Row]:
        high = ID_MAX if before is None else before - 1
        low = 0 if after is None else after + 1
        page = islice(self._rows.messages(conversation, low, high, after is None), limit)
        return self._rows.rows_of(page)

    async def rows_of(self, messages: Iterable[int]) -> list[Row]:
        return self._rows.rows_of(messages)

    async def tops(self) -> dict[str, int]:
        return {conversation: sends[-1] for conversation, sends in sorted(self._rows.sends.items()) if sends}

    async def recent(self, conversation: str, limit: int) -> list[Row]:
        page = list(islice(self._rows.messages(conversation, 0, ID_MAX, True), limit))
        low = page[-1] if len(page) == limit else 0
        rows = {row.event: row for row in self._rows.recalls_from(conversation, low)}
        rows |= {row.event: row for row in self._rows.rows_of(page) if row.kind in ("send", "recall")}
        return [rows[event] for event in sorted(rows)]

    async def sends_since(self, id: int) -> list[Row]:
        rows = self._rows.rows
        return [rows[event] for event in sorted(rows) if event > id and rows[event].kind == "send"]

    async def dump(self) -> AsyncIterator[list[Row]]:
        events = sorted(self._rows.rows)
        for at in range(0, len(events), limits.CHUNK_ROWS_MAX):
            yield [self._rows.rows[event] for event in events[at : at + limits.CHUNK_ROWS_MAX]]

    async def load(self, rows: Sequence[Row]) -> None:
        self.put(rows, {})

    async def set_frontier(self, frontier: Frontier) -> None:
        self._frontier = {lane: Mark(*mark) for lane, mark in frontier.items()}

    async def close(self) -> None:
        """Nothing to close; the state stays, so that a simulation can open it again."""
