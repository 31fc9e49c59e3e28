"""Every call of both listeners, from the applications themselves."""

from types import SimpleNamespace
from typing import Any

from api import sys_app
from api.app import create_public_app
from api.metrics import Metrics
from core.action import registry
from stores.progress import Progress


def routes() -> set[tuple[str, str]]:
    """(method, path template) of both listeners. Nothing is called, so nothing stands behind them."""
    nothing: Any = SimpleNamespace(dc="fra", key=bytes(32), checks={}, metrics=Metrics(), actions=registry())
    for name in (
        "lane_writer",
        "view",
        "hot",
        "epoch",
        "remote",
        "wall",
        "entropy",
        "clock",
        "in_flight_max",
        "bodies_bytes_max",
        "access_log",
    ):
        setattr(nothing, name, None)
    nothing.progress, nothing.entropy = Progress(), bytes
    public = create_public_app(nothing)
    found = {(route.method, route.resource.canonical) for route in public.router.routes() if route.resource}
    found |= {("GET", "/v1/stream"), ("POST", "/v1/stream/ticket")}
    nothing.writes = SimpleNamespace(handler=lambda _: None)
    nothing.replicator = SimpleNamespace(names=None)
    return found | {(method, path) for method, path, _ in sys_app._Routes(nothing).table()}


ROUTES = routes()
