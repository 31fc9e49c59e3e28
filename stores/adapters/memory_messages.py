"""The message store in memory: for tests and simulations. What is put is durable at once."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import islice

from core import limits
from core.ids import ID_MAX
from core.messages import Row
from stores.adapters.message_rows import MessageRows, as_read, checked, sent, shown, without_text
from stores.ports import Frontier, Mark, Sent


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

    async def written(self) -> None:
        """Nothing is ever queued."""

    async def flush(self) -> None:
        """Nothing is ever queued."""

    async def frontier(self) -> Frontier:
        return dict(sorted(self._frontier.items()))

    async def page(
        self,
        conversation: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int,
        known: Mapping[int, int] | None = None,
    ) -> list[int]:
        high = ID_MAX if before is None else before - 1
        low = 0 if after is None else after + 1
        return list(islice(self._rows.messages(conversation, low, high, after is None, known), limit))

    async def rows_of(self, messages: Iterable[int], known: Mapping[int, int] | None = None) -> list[Row]:
        return shown(self._rows.rows_of(messages), known)

    async def tops(self, after: str, limit: int) -> list[tuple[str, int]]:
        page = islice((one for one in sorted(self._rows.conversations) if one > after), limit)
        return [(one, sends[-1] if (sends := self._rows.sends.get(one)) else 0) for one in page]

    async def recent(self, conversation: str, limit: int, before: int | None = None) -> list[Row]:
        high = ID_MAX if before is None else before - 1
        page = list(islice(self._rows.messages(conversation, 0, high, True), limit))
        low = page[-1] if len(page) == limit else 0
        rows = {row.event: row for row in self._rows.recalls_between(conversation, low, high)}
        rows |= {row.event: row for row in self._rows.rows_of(page) if row.kind in ("send", "recall")}
        return [without_text(rows[event]) for event in sorted(rows)]

    async def sent_since(self, id: int, limit: int) -> list[Sent]:
        rows = self._rows.rows
        sends = (rows[event] for event in sorted(rows) if event > id and rows[event].kind == "send")
        return list(islice((sent(row) for row in sends if row.body.get("key")), limit))

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
