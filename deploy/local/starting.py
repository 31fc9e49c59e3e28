"""One server process on loopback: started in a folder of its own, asked until it answers, ended by pid."""

import abc
import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import aiohttp

from cli.servers import Child
from cli.waiting import until
from core.errors import Unavailable

HOST = "127.0.0.1"
ASKED_S_MAX = 5.0
_ANSWER_BYTES_MAX = 65_536
Look = Callable[[], Awaitable[str]]
"""Why it is not ready yet; "" when it is."""


class Process(abc.ABC):
    """A child, and its last words when it does not come up."""

    def __init__(self, child: Child) -> None:
        self.child = child

    @property
    @abc.abstractmethod
    def found(self) -> dict[str, Any]:
        """How it is reached."""

    @abc.abstractmethod
    async def start(self) -> None:
        """Returns when it is ready. Unavailable with its last words if it ends before, or is too slow."""

    async def _begin(self, look: Look, ready_s_max: float) -> None:
        """Returns when `look` finds it ready. Unavailable with its last words if it ends before, or is too slow; then
        it is killed."""
        self.child.start()
        why = ""

        async def ready() -> bool:
            nonlocal why
            if not self.child.running:
                raise Unavailable(self.child.why_ended())
            try:
                why = await look()
            except (OSError, aiohttp.ClientError) as error:
                why = str(error) or type(error).__name__
            return not why

        try:
            there = await until(ready, ready_s_max)
        except BaseException:
            self.kill()
            raise
        if not there:
            self.kill()
            raise Unavailable(f"not ready after {ready_s_max:.0f} s: {why}; {self.child.why_ended()}")

    def kill(self) -> None:
        """SIGKILL. `start` begins again, on the same ports and folder."""
        self.child.kill()

    def pause(self) -> None:
        """SIGSTOP: when this returns, it stands still; the kernel goes on to accept connections for it."""
        pid = self._send(signal.SIGSTOP)
        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> int:
        pid = self.child.pid
        if pid is None:
            raise Unavailable(f"{self.child.name} does not run")
        os.kill(pid, number)
        return pid


class Startable(Protocol):
    """A server, or several that belong together."""

    @property
    def found(self) -> Mapping[str, Any]:
        """How it is reached: what `run` says on stdout."""
        ...

    async def start(self) -> None: ...
    def kill(self) -> None: ...


S = TypeVar("S", bound=Startable)


class Group(Generic[S]):
    """Servers that are started together, and killed together."""

    def __init__(self, members: Sequence[S]) -> None:
        self.members = list(members)

    async def start(self) -> None:
        """All of them, or none: what went wrong first is raised."""
        try:
            async with asyncio.TaskGroup() as group:
                for member in self.members:
                    group.create_task(member.start())
        except BaseExceptionGroup as errors:
            self.kill()
            raise errors.exceptions[0] from None
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        for member in self.members:
            member.kill()


async def asked(port: int, question: bytes, host: str = HOST) -> bytes:
    """What a TCP server says first, to this or of itself. OSError where nobody answers in time."""
    async with asyncio.timeout(ASKED_S_MAX):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(question)
            return await reader.read(_ANSWER_BYTES_MAX)
        finally:
            writer.close()


async def http(method: str, url: str, body: object = None) -> tuple[int, Any]:
    """(status, body) of an answer; the body is JSON where it can be, text else. OSError or ClientError without one."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ASKED_S_MAX)) as session,
        session.request(method, url, json=body) as answer,
    ):
        text = await answer.text()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text


def private(folder: Path) -> Path:
    """Makes a folder that only this user reads."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
