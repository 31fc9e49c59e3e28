"""What a process answers that stands by: that it lives, and does not serve. Load balancers and service managers ask."""

import logging
from types import TracebackType

from aiohttp import web

from api.health import add_routes
from api.metrics import Metrics
from api.problems import response
from cli.listeners import open_plain
from cli.settings import Listen
from core.errors import ConfigError, NotServing

log = logging.getLogger(__name__)


class Standby:
    """On the public port, as long as the block lasts; nowhere if that is taken: the process that serves may have it."""

    def __init__(self, where: Listen, dc: str) -> None:
        self.waits_for = "another process"
        self._where = where
        self._dc = dc
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "Standby":
        app = web.Application()
        add_routes(app, Metrics(), {"lease": self._check})
        app.router.add_route("*", "/{path:.*}", self._refuse)
        try:
            self._runner = await open_plain(app, self._where)
        except ConfigError as error:
            log.info("standing by without a listener: %s", error)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _check(self) -> str:
        return f"{self._dc} is run by {self.waits_for}; this process stands by"

    async def _refuse(self, request: web.Request) -> web.Response:
        return response(NotServing(await self._check(), retry_after_s=1), "")
