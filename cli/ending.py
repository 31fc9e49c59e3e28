"""How a command that runs servers is ended: by Ctrl-C, SIGTERM, or the terminal that is closed.

The first signal ends it in order; a second one hurries what is left of that. Nothing is interrupted half-way.
"""

import asyncio
import os
import signal
from collections.abc import Callable

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_CODE_OF_SIGNALS = 128


class Ended(Exception):
    """A signal ended the command. Exit code as shells have it: 128 and its number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = EXIT_CODE_OF_SIGNALS + number


class Ending:
    """Turns the first signal into the cancellation of the task that made this; later ones call `hurry`."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._hurry: Callable[[], None] = _nothing
        self.number: int | None = None
        """The signal that came first."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.end, number)

    def hurried_by(self, hurry: Callable[[], None]) -> None:
        """What a second signal does. It must not wait."""
        self._hurry = hurry

    def end(self, number: int) -> None:
        """What a signal does; also for who notices that the terminal is gone before its SIGHUP arrives."""
        if number == signal.SIGHUP:
            mute()
        if self.number is None:
            self.number = number
            self._task.cancel()
        else:
            self._hurry()


def mute() -> None:
    """Nobody reads what we print any more, and writing to a terminal that was closed is an error."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(nowhere, fd)
    os.close(nowhere)


def _nothing() -> None:
    """Nothing was begun yet."""
