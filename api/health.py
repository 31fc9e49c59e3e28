"""`/livez`, `/readyz` and `/metrics`: the same on every listener, without a token."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from api.metrics import Metrics
from api.reads import json_response

Check = Callable[[], Awaitable[str]]
"""What is missing, in a few words; "" when all is well."""


def add_routes(app: web.Application, metrics: Metrics, checks: Mapping[str, Check]) -> None:
    """Adds the three. `readyz` is 503 and names what is missing while any check says so."""

    async def livez(_: web.Request) -> web.Response:
        return json_response({"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        found = {name: await check() for name, check in checks.items()}
        missing = {name: problem for name, problem in found.items() if problem}
        return json_response({"ready": not missing, "missing": missing}, status=503 if missing else 200)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(text=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", scrape)
