"""Raw connections for very many requests: bytes out, answers in, nothing checked and nothing repeated on the way."""

import asyncio
import re
from collections import deque
from typing import NamedTuple

ANSWER_S_MAX = 40.0
"""Longer than any call of ours may take (`digest?wait=` takes 30 s)."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Answer(NamedTuple):
    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> bytes:
        """b"" if it is not there."""
        at = self.head.find(b"\r\n" + name + b": ")
        return self.head[at + len(name) + 4 :].partition(b"\r\n")[0] if at >= 0 else b""


class Lost(Exception):
    """The server closed the connection; it holds the answers that came before."""

    def __init__(self, answers: list[Answer]) -> None:
        super().__init__(f"closed after {len(answers)} answers")
        self.answers = answers


class Pipe(asyncio.Protocol):
    """One connection. `ask` once at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._data = b""
        self._answers: deque[Answer] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, port: int) -> "Pipe":
        _, pipe = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return pipe

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._wake()

    def data_received(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data
        while self._next():
            pass
        self._wake()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def rest(self) -> bytes:
        """What came and is no answer: frames, after an upgrade."""
        return self._data

    def send(self, data: bytes) -> None:
        if self._transport is not None and not self._closed:
            self._transport.write(data)

    async def ask(self, data: bytes, count: int = 1) -> list[Answer]:
        """The next `count` answers. Lost when the connection ends before; TimeoutError when it hangs."""
        self.send(data)
        return await self.answers(count)

    async def answers(self, count: int, timeout_s: float = ANSWER_S_MAX) -> list[Answer]:
        """As `ask`, of what was sent already."""
        if len(self._answers) < count and not self._closed:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(timeout_s, self._late)
            try:
                while len(self._answers) < count and not self._closed:
                    self._waiter = loop.create_future()
                    await self._waiter
            finally:
                timer.cancel()
        found = [self._answers.popleft() for _ in range(min(count, len(self._answers)))]
        if len(found) < count:
            raise Lost(found)
        return found

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _late(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError(f"no answer in {ANSWER_S_MAX:.0f} s"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _next(self) -> bool:
        """Takes one answer from what came."""
        data = self._data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False
        status = int(data[9:12])
        found = _LENGTH.search(data, 0, end + 2)
        bare = status < 200 or status == 304
        size = int(found[1]) if found and not bare else 0
        if len(data) < end + 4 + size:
            return False
        self._data = data[end + 4 + size :]
        if status >= 200 or status == 101:
            self._answers.append(Answer(status, data[: end + 2], data[end + 4 : end + 4 + size]))
        return True
