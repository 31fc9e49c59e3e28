"""Waiting for a condition outside this process, with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.03


async def until(look: Callable[[], Awaitable[T]], timeout_s: float) -> T:
    """Looks again and again; returns the first answer that is true, or, after `timeout_s`, the last one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        found = await look()
        if found or loop.time() > deadline:
            return found
        await asyncio.sleep(POLL_S)
