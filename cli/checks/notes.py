"""What a check has found, line by line."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, TypeVar

from cli.settings import Settings
from core.errors import ConfigError, PlanBError, Unavailable

T = TypeVar("T")
State = Literal["ok", "warning", "problem"]
SENTENCE_CHARS_MAX = 400


class Finding(NamedTuple):
    """One line."""

    check: str
    state: State
    fact: str
    """What was measured."""
    fix: str = ""
    """A command or a setting that sets it right."""
    exit_code: int = 0
    """Of a problem: 8 where something has to be set, 6 where something does not answer or has no room."""


class Notes:
    """Of one check."""

    def __init__(self, check: str) -> None:
        self.check = check
        self.found: list[Finding] = []

    def ok(self, fact: str) -> None:
        self.found.append(Finding(self.check, "ok", fact))

    def warning(self, fact: str, fix: str) -> None:
        self.found.append(Finding(self.check, "warning", fact, fix))

    def wrong(self, fact: str, fix: str) -> None:
        """Something has to be set otherwise."""
        self.found.append(Finding(self.check, "problem", fact, fix, ConfigError.exit_code))

    def down(self, fact: str, fix: str) -> None:
        """Something does not answer, or can't at the moment."""
        self.found.append(Finding(self.check, "problem", fact, fix, Unavailable.exit_code))

    def failed(self, error: PlanBError, fix: str, where: str = "") -> None:
        """As the error says: what has to be set ends with ConfigError's code, all else is down. `where`, unless it says
        so itself."""
        told = (error.private,) if error.private and error.detail == error.title else (error.detail, error.private)
        said = ": ".join(filter(None, (where, *told)))[:SENTENCE_CHARS_MAX]
        (self.wrong if isinstance(error, ConfigError) else self.down)(said, fix)


Check = Callable[[Settings, Notes], Awaitable[None]]


async def in_thread(work: Callable[[], T]) -> T:
    """Its result. The thread is left alone if nobody waits any more: a disk that hangs does not keep us here."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # of T where there is no error

    def run() -> None:
        try:
            result, error = work(), None
        except Exception as caught:
            result, error = None, caught
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True).start()
    return await done
