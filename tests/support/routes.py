"""Every call of both listeners, from the applications themselves."""

from types import SimpleNamespace
from typing import Any

from api import sys_app
from api.app import PARTS, create_public_app
from api.line_wire import PATH as LINE
from api.metrics import Metrics
from api.operations import Other
from api.rates import UNLIMITED
from broker import BrokerDeps, add_routes
from broker.description import described
from core.action import registry
from stores.progress import Progress

Route = tuple[str, str]
"""Method, path template."""


def public() -> tuple[dict[str, Any], set[Route]]:
    """The public listener's description, and what it has routes for. Nothing is called, so nothing stands behind."""
    nothing: Any = SimpleNamespace(dc="fra", key=bytes(32), checks={}, metrics=Metrics(), actions=registry())
    for name in (
        "lane_writer",
        "view",
        "hot",
        "files",
        "epoch",
        "remote",
        "wall",
        "clock",
        "in_flight_max",
        "bodies_bytes_max",
        "bodies_bytes_of_one_max",
        "access_log",
        "proxies",
        "cors_origins",
        "token_keys",
        "token_rules",
    ):
        setattr(nothing, name, None)
    nothing.progress, nothing.entropy, nothing.rates = Progress(), bytes, UNLIMITED
    nothing.others = [Other(*one) for one in described()]
    app = create_public_app(nothing)
    add_routes(app, BrokerDeps(*[nothing.view] * 6))
    served = {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource}
    return app[PARTS].describe(), {route for route in served if route[0] != "HEAD"}


def internal() -> set[Route]:
    nothing: Any = SimpleNamespace(actions=registry(), metrics=Metrics(), checks={})
    nothing.writes = SimpleNamespace(handler=lambda _: None)
    nothing.replicator = SimpleNamespace(names=None)
    return {("GET", LINE), *((method, path) for method, path, _ in sys_app._Routes(nothing).table())}


DOCUMENT, PUBLIC = public()
ROUTES = PUBLIC | internal()
