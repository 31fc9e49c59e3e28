"""Somebody in each datacenter who goes on to talk while its servers, or the links between them, are broken."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from cli.cast import Cast
from cli.conversation import name_of, user_id
from planb_sdk import Client, Options

PACE_S = 0.2
"""Between an answer and the next message."""


class Voices:
    """They stay where they are: what breaks there they wait for."""

    def __init__(self, cast: Cast, chat: str, nicks: Mapping[str, str], give_up_s: float) -> None:
        """`nicks`: datacenter -> a member of `chat`, at home there."""
        stay = Options(give_up_s=give_up_s, auto_switch=False)
        self._chat = chat
        self._nicks = dict(nicks)
        self._clients: dict[str, Client] = {dc: cast.another(nick, dc, stay) for dc, nick in nicks.items()}
        self.acknowledged: dict[tuple[str, str], str] = {}
        """(user, key) -> event."""
        self.said: dict[str, int] = dict.fromkeys(nicks, 0)
        """Datacenter -> messages that were acknowledged there."""

    @contextlib.asynccontextmanager
    async def talking(self) -> AsyncIterator[None]:
        """At its end everybody waits for the answer to his last message. Unreachable when one does not come."""
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for dc in self._clients:
                group.create_task(self._talk(dc, enough), name=f"a voice in {dc}")
            try:
                yield
            finally:
                enough.set()

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    async def _talk(self, dc: str, enough: asyncio.Event) -> None:
        nick = self._nicks[dc]
        while not enough.is_set():
            receipt = await self._clients[dc].send(self._chat, f"{name_of(nick)} says {self.said[dc]}")
            self.acknowledged[user_id(nick), receipt.key] = receipt.id
            self.said[dc] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(enough.wait(), PACE_S)
