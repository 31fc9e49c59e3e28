"""The life of a process that serves a datacenter: what it opened is closed in reverse order, and whatever breaks ends
it."""

import asyncio
import base64
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, Protocol

from aiohttp import web

from api.token_keys import TokenKeys
from cli import settings as configuration
from cli import token_key_file
from cli.file_limit import make_room
from cli.listeners import runner_of
from cli.membership import Membership
from cli.settings import Listen, Settings
from core.clock import HybridClock
from core.errors import PlanBError
from core.system import entropy, steady_clock_ms, wall_clock_ms
from events.lane_writer import Apply, LaneWriter
from events.ports import EventLog
from events.signing import Signer

log = logging.getLogger(__name__)


class Ending(Protocol):
    def ends(self, why: str) -> None:
        """This process is going away; the first reason counts."""
        ...


class Process:
    """`start`, then `stop`; `failure` returns if it can't go on. One role each."""

    role: ClassVar[str]
    where: Listen
    """Where it is reached."""
    serving: Ending
    """There when the first task was spawned."""
    clock: HybridClock

    def __init__(self, settings: Settings, public_url: str = "") -> None:
        """`public_url`: as Membership."""
        self.settings = settings
        self._token_key = configuration.secret(settings.secrets.token_key_file)
        self._token_keys = TokenKeys(token_key_file.present(settings))
        self._sys_key = configuration.secret(settings.secrets.sys_key_file)
        self._signer = Signer(configuration.secret(settings.secrets.signing_key_file))
        self.room = make_room()
        self._failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []
        """Undo what `start` did, last first."""
        self.membership = self._member(public_url)

    def _member(self, public_url: str) -> Membership:
        return Membership(
            self.settings,
            base64.b64encode(self._signer.public).decode(),
            steady_ms=steady_clock_ms,
            wall_ms=wall_clock_ms,
            entropy=entropy,
            on_lost=self._fail,
            role=self.role,
            public_url=public_url,
        )

    def _lane_writer(self, event_log: EventLog, lane: int, owner: bytes, apply: Apply) -> LaneWriter:
        """This process writes there as long as it holds its leases."""
        return LaneWriter(
            event_log,
            lane,
            owner,
            self.clock,
            self._signer,
            apply,
            now=wall_clock_ms,
            process=f"{self.settings.dc.name} {socket.gethostname()}",
            on_lost=self._fail,
            refusal=self.membership.refusal,
        )

    async def start(self) -> None:
        """Returns when it serves. Whatever it raises, it is stopped then."""
        try:
            await self._start()
            self._spawn("token keys", token_key_file.follow(self._token_keys, self.settings))
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        """Drains and closes, in the reverse order of `start`."""
        if self._tasks:  # else it did not come as far
            self.serving.ends("stopping")
            await self.membership.drains()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._closers:
            try:
                await self._closers.pop()()
            except PlanBError as error:
                log.warning("while stopping: %s", error)

    async def failure(self) -> BaseException:
        """Waits until this process can't go on, and says why."""
        return await asyncio.shield(self._failed)

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Beside the rest, from now until `stop`."""
        self._tasks.append(self._watched(name, work))

    def _watched(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """If it breaks, the process ends."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("%s broke", task.get_name(), exc_info=error)
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._tasks:  # else it did not come as far
            self.serving.ends(str(error))
        if not self._failed.done():
            self._failed.set_result(error)

    async def _runner(self, app: web.Application) -> web.AppRunner:
        runner = await runner_of(app)
        self._closers.append(runner.cleanup)
        return runner
