"""The durable side of a DC in SQLite and Valkey, for `crash_site`."""

import asyncio
from pathlib import Path
from typing import Any

from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore
from stores.adapters.valkey_hot import ValkeyHot
from tests.support.crash_site import Site
from tests.support.mesh import START_MS
from tests.support.valkey import ValkeyServer


class RealSite(Site):
    """The log stays in memory: its own crashes are tested with it. Starts on an empty hot server."""

    def __init__(self, folder: Path, hot: ValkeyServer, now_ms: int = START_MS) -> None:
        super().__init__(now_ms=now_ms)
        folder.mkdir()
        self._folder = folder
        self._server = hot
        self._open = False
        hot.ask("FLUSHALL")

    async def open(self) -> None:
        if self._open:
            await self.kill()
        self.relational = await SqliteRelationalStore.open(self._folder / "relational.db", clock=self.clock)
        self.messages = await SqliteMessageStore.open(self._folder / "messages.db")
        self.hot = ValkeyHot(self._server.url)
        self._open = True

    async def kill(self) -> None:
        """Rows that were not written yet are gone with the task that would have written them."""
        await _abandon(self.messages)
        await self.relational.close()
        await self.hot.close()
        self._open = False

    async def close(self) -> None:
        if self._open:
            await self.kill()

    def lose_hot(self) -> None:
        """kill -9, and a new process."""
        self._server.kill()
        self._server.start()


async def _abandon(messages: Any) -> None:
    writing = messages._queue._task
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await messages._file.close()
