"""The two listeners of a datacenter, as they are opened: who answers, how many connections, how long silence lasts."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from api.app import PARTS
from api.door import Door
from api.front import Front, Plain
from api.guard import Guard
from cli.settings import Listen
from core import limits
from core.errors import ConfigError
from core.system import Clock

SHUTDOWN_S_MAX = 5.0
BACKLOG = 1_024


class _NotOfClients(logging.Filter):
    """A client's own mistakes are told to him, and to nobody else: anybody could fill the log with them."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, (HttpProcessingError, ConnectionError))


log = logging.getLogger("planb.http")
log.addFilter(_NotOfClients())


async def runner_of(app: web.Application) -> web.AppRunner:
    """Starts the application; `cleanup` ends it. Bodies are taken as they come: what is compressed is refused, and to
    unpack it before that would be the sender's choice of how much memory he gets."""
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=log,
        shutdown_timeout=SHUTDOWN_S_MAX,
        keepalive_timeout=limits.KEEP_ALIVE_S,
        auto_decompress=False,
    )
    await runner.setup()
    return runner


async def open_public(
    runner: web.AppRunner, where: Listen, door: Door, serves: Callable[[], bool], wall: Clock
) -> Front:
    """Plain writes are answered in front of the framework. ConfigError if the port can't be had."""
    parts = runner.app[PARTS]
    return await open_front(runner, where, door, serves, wall, parts.guard, parts.plain)


async def open_front(
    runner: web.AppRunner,
    where: Listen,
    door: Door,
    serves: Callable[[], bool],
    wall: Clock,
    guard: Guard,
    plain: Mapping[str, Plain],
    *,
    shared: bool = False,
) -> Front:
    """As `open_public`; `shared`: several processes listen on the port."""
    server = runner.server
    assert server is not None, "set up"
    front = Front(plain, guard, door.watched(server), serves, wall, door)
    with _listening(where):
        await front.start(where.host, where.port, BACKLOG, shared=shared)
    return front


async def open_sys(runner: web.AppRunner, where: Listen, door: Door) -> None:
    """The framework answers everything. ConfigError if the port can't be had."""
    assert runner.server is not None, "set up"
    with _listening(where):
        await door.listen(where.host, where.port, BACKLOG, runner.server)


async def open_plain(app: web.Application, where: Listen) -> web.AppRunner:
    """A small listener without a front; `cleanup` closes it. ConfigError if the port can't be had."""
    runner = await runner_of(app)
    try:
        with _listening(where):
            await web.TCPSite(runner, where.host, where.port).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


@contextlib.contextmanager
def _listening(where: Listen) -> Iterator[None]:
    """A port that is taken, or not ours to take, is named."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"can't listen on {where.host}:{where.port}: {os.strerror(error.errno or 0)}") from error
