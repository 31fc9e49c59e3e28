"""Clients of one conversation that write down all they do: plain HTTP, no code of the product, one try at a time."""

import asyncio
import base64
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.faults.history import OK, REFUSED, UNKNOWN, History, Read, Recall, Shown, Write

PAGE = 100
TRY_S_MAX = 8.0
PACE_S = 0.02
STAY = 0.9
"""The chance that a client stays in its datacenter from one thing that it does to the next."""

EPOCH_MS = 1_409_529_600_000
AHEAD_MS_MAX = 500
"""How far ahead an id still moves the clocks of those who see it: docs/clock.md."""


class Recorder:
    """One client. It writes, recalls, reads, and moves between datacenters, as its seed says, until it is cancelled."""

    def __init__(
        self, name: str, token: str, urls: dict[str, str], conversation: str, seed: str, history: History
    ) -> None:
        self.name = name
        self._headers = {"Authorization": f"Bearer {token}"}
        self._urls = urls
        self._conversation = conversation
        self._rng = random.Random(seed)
        self._history = history
        self._dc = self._rng.choice(sorted(urls))
        self._clock = ""
        self._sent: list[tuple[str, int]] = []
        self._unsure: list[str] = []
        self._count = 0

    async def run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TRY_S_MAX)) as session:
            self._session = session
            while True:
                if self._rng.random() > STAY:
                    self._dc = self._rng.choice(sorted(self._urls))
                await self._rng.choice((self._write, self._write, self._again, self._recall, self._read))()
                await asyncio.sleep(PACE_S * self._rng.random())  # a pace, not a condition

    async def settle(self) -> None:
        """Tries every message of unknown outcome again until it is known. Call when all is whole again."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TRY_S_MAX)) as session:
            self._session = session
            while self._unsure:
                await self._again()

    async def _write(self) -> None:
        self._count += 1
        await self._try(f"{self.name}-{self._count}")

    async def _again(self) -> None:
        """A message whose answer was lost is sent again under its key, wherever the client is now."""
        if self._unsure:
            await self._try(self._unsure.pop(0))

    async def _try(self, key: str) -> None:
        began_s, began_ms = now_s(), wall_ms()
        try:
            status, body = await self._call(
                "POST", "/v1/messages", {"to": self._conversation, "text": f"text of {key}"}, key
            )
        except BaseException:  # also when we are cancelled: nobody knows
            self._note(Write(self.name, self._dc, key, began_s, now_s(), UNKNOWN))
            raise
        outcome = outcome_of(status, body)
        id = int(body["id"]) if outcome == OK else 0
        self._note(Write(self.name, self._dc, key, began_s, now_s(), outcome, id))
        if outcome == OK:
            self._sent.append((key, id))
            self._judge(began_ms, id)

    def _note(self, write: Write) -> None:
        self._history.writes.append(write)
        if write.outcome == UNKNOWN:
            self._unsure.append(write.key)

    async def _recall(self) -> None:
        if not self._sent or self._rng.random() < 0.5:
            return
        key, id = self._rng.choice(self._sent)
        began_s = now_s()
        status, body = await self._call("DELETE", f"/v1/messages/{id}?for=all", None, f"recall-{key}")
        self._history.recalls.append(Recall(self.name, self._dc, key, began_s, now_s(), outcome_of(status, body)))

    async def _read(self) -> None:
        began_s, began_ms = now_s(), wall_ms()
        status, body = await self._call("GET", f"/v1/dialogs/{self._conversation}/messages?limit={PAGE}")
        if status == 200:
            whole = body["next_before"] is None
            messages = shown(body["messages"])
            self._history.reads.append(Read(self.name, self._dc, began_s, now_s(), messages, whole))
            self._judge(began_ms, *(one.id for one in messages))

    def _judge(self, began_ms: int, *ids: int) -> None:
        """Notes those that lie in the future."""
        self._history.misstamped.update(id for id in ids if stamped_ms(id) > began_ms + AHEAD_MS_MAX)

    async def _call(
        self, method: str, path: str, fields: dict[str, Any] | None = None, key: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Status and body; (0, {}) if nothing could be sent, (-1, {}) if nothing came back."""
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        if self._clock:
            headers["X-Clock"] = self._clock
        url = self._urls[self._dc] + path
        try:
            async with self._session.request(method, url, json=fields, headers=headers) as answer:
                body = await answer.json(content_type=None)
                self._clock = max(self._clock, answer.headers.get("X-Clock", ""), key=clock_of)
                return answer.status, body
        except aiohttp.ClientConnectorError:
            return 0, {}
        except (aiohttp.ClientError, TimeoutError, OSError):
            return -1, {}


def stamped_ms(id: int) -> int:
    """The time in an id, by docs/clock.md: its upper bits count 10 ms since 2014-09-01 UTC."""
    return EPOCH_MS + (id >> 24) * 10


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def now_s() -> float:
    return asyncio.get_running_loop().time()


def clock_of(header: str) -> int:
    """The number in an `X-Clock`."""
    return int.from_bytes(base64.urlsafe_b64decode(header.split(".")[1] + "==")) if header else 0


def outcome_of(status: int, body: dict[str, Any]) -> str:
    """What a client may believe: docs/client-protocol.md, "Errors"."""
    if status == 200:
        return OK
    if status == 0 or (status >= 400 and body.get("code") != "outcome_unknown"):
        return REFUSED
    return UNKNOWN


def shown(messages: list[dict[str, Any]]) -> tuple[Shown, ...]:
    """What a user wrote; system messages are left out."""
    return tuple(
        Shown(int(one["id"]), one["key"], one["recalled"], tuple(int(id) for id in one.get("copies", ())))
        for one in messages
        if not one["system"]
    )


async def whole(url: str, token: str, conversation: str) -> tuple[Shown, ...]:
    """The whole conversation, page by page."""
    found: tuple[Shown, ...] = ()
    before = ""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}, raise_for_status=True) as session:
        while True:
            path = f"/v1/dialogs/{conversation}/messages?limit={PAGE}{before}"
            async with session.get(url + path) as answer:
                page = await answer.json()
            found = shown(page["messages"]) + found
            if page["next_before"] is None:
                return found
            before = f"&before={page['next_before']}"


@asynccontextmanager
async def at_work(recorders: Sequence[Recorder]) -> AsyncIterator[None]:
    """They run meanwhile; one that breaks breaks the test."""
    tasks = [asyncio.create_task(one.run(), name=one.name) for one in recorders]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
