"""`/livez`, `/readyz` and `/metrics`: the same on every listener, without a token."""

import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from api.metrics import Metrics
from api.reads import json_response

log = logging.getLogger("planb.api")
Check = Callable[[], Awaitable[str]]
"""What is missing, in a few words; "" when all is well."""


async def _asked(name: str, check: Check) -> str:
    """A check that fails is an answer too: what it asks about is not there."""
    try:
        return await check()
    except Exception as error:
        log.error("the check %s failed: %r", name, error)
        return "the check failed"


def add_routes(app: web.Application, metrics: Metrics, checks: Mapping[str, Check]) -> None:
    """Adds the three. `readyz` is 503 and names what is missing while any check says so."""

    async def livez(_: web.Request) -> web.Response:
        return json_response({"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        found = {name: await _asked(name, check) for name, check in checks.items()}
        missing = {name: problem for name, problem in found.items() if problem}
        return json_response({"ready": not missing, "missing": missing}, status=503 if missing else 200)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(text=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", scrape)
