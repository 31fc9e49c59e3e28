"""`/livez`, `/readyz` and `/metrics`: the same on every listener, without a token."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from api.metrics import Metrics
from api.operations import Other
from api.reads import json_response
from core.errors import ForbiddenHeader

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


async def missing_of(checks: Mapping[str, Check]) -> dict[str, str]:
    """What is missing, by the check that says so; nothing when all is well."""
    found = {name: await _asked(name, check) for name, check in checks.items()}
    return {name: problem for name, problem in found.items() if problem}


def others() -> list[Other]:
    """How OpenAPI describes the three."""
    missing = {"type": "object", "additionalProperties": {"type": "string"}}
    ready = {
        "type": "object",
        "required": ["ready", "missing"],
        "properties": {"ready": {"type": "boolean"}, "missing": missing},
    }
    alive = {"type": "object", "required": ["alive"], "properties": {"alive": {"const": True}}}
    metrics = {"description": "In Prometheus's text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return [
        _other("livez", "Whether the process runs", {"200": _json("It does", alive)}),
        _other(
            "readyz",
            "Whether it serves, and what is missing",
            {"200": _json("It does", ready), "503": _json("Not now", ready)},
        ),
        _other("metrics", "Its figures", {"200": metrics}),
    ]


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _other(name: str, summary: str, responses: dict[str, Any]) -> Other:
    head = {"operationId": name, "summary": summary, "tags": ["operation"], "security": []}
    return Other("GET", f"/{name}", head | {"responses": responses}, (ForbiddenHeader,))


def add_routes(app: web.Application, metrics: Metrics, checks: Mapping[str, Check]) -> None:
    """Adds the three. `readyz` is 503 and names what is missing while any check says so."""

    async def livez(_: web.Request) -> web.Response:
        return json_response({"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        missing = await missing_of(checks)
        return json_response({"ready": not missing, "missing": missing}, status=503 if missing else 200)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(text=metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", scrape)
