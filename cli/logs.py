"""IRC logs from files and pipes, read beside the event loop: a pipe may be silent for as long as it likes."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from cli import irc
from cli.conversation import Conversation
from core.errors import Invalid


async def read(paths: Sequence[Path]) -> list[Conversation]:
    """What is in them, in their order; Invalid names one that can't be read. Cancelled, it leaves the thread that waits
    for a pipe behind, which ends with the process."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[Conversation]] = loop.create_future()

    def tell(answer: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(lambda: None if found.done() else answer())

    def work() -> None:
        try:
            conversations = [_parsed(path) for path in paths]
        except BaseException as error:  # to be raised where it is waited for
            failure = error
            tell(lambda: found.set_exception(failure))
        else:
            tell(lambda: found.set_result(conversations))

    threading.Thread(target=work, name="logs", daemon=True).start()
    return await found


def _parsed(path: Path) -> Conversation:
    try:
        return irc.parse_file(path)
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error
