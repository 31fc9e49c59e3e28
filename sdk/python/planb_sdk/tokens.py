"""The tokens of a session: the access token of every call, and the refresh token that brings the next two."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
EARLY = 0.1
"""A token is refreshed when so much of its life is left."""
EARLY_S_MAX = 60.0
TRY_AGAIN_S = 5.0
"""While the old token is still good."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What to keep, to go on with the session in another process."""

    token: str
    refresh_token: str = ""


class Tokens:
    """`ask` brings the answer of the server for a refresh token. One is on its way at a time, whoever waits for it."""

    def __init__(
        self, token: str, refresh_token: str, ask: Callable[[str], Awaitable[Json]], tell: Callable[[Pair], None] | None
    ) -> None:
        self.token = token
        self.refresh_token = refresh_token
        self._ask = ask
        self._tell = tell
        self._due_s = float("inf")
        self._ends_s = float("inf")
        self._asking: asyncio.Task[None] | None = None

    def take(self, answer: Json) -> None:
        """The tokens of a login or of a refresh. They are told before they are used."""
        self.token, self.refresh_token = answer["token"], answer["refresh_token"]
        life_s = float(answer["token_life_s"])
        self._ends_s = asyncio.get_running_loop().time() + life_s
        self._due_s = self._ends_s - min(EARLY_S_MAX, life_s * EARLY)
        if self._tell is not None:
            self._tell(Pair(self.token, self.refresh_token))

    async def fresh(self) -> str:
        """The access token, refreshed if it is about to expire. What a refresh raises counts only when it is over."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._due_s and self.refresh_token:
            if now_s >= self._ends_s:
                await self.renew(self.token)
            else:
                self._due_s = now_s + TRY_AGAIN_S  # others go on with this one meanwhile
                self._asking = self._begin()
        return self.token

    async def renew(self, expired: str) -> bool:
        """Another token than this one, which the server calls expired; False where there is none to be had."""
        if not self.refresh_token:
            return False
        if self.token == expired:
            await asyncio.shield(self._begin())
        return True

    def _begin(self) -> "asyncio.Task[None]":
        if self._asking is None:
            self._asking = asyncio.create_task(self._renew(), name="refresh of a token")
            self._asking.add_done_callback(self._done)
        return self._asking

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # whoever waits is told; else the server tells, when the old token is over

    async def _renew(self) -> None:
        self.take(await self._ask(self.refresh_token))

    async def close(self) -> None:
        """Nothing is asked any more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
