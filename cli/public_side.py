"""What a datacenter's clients talk to, put together: the REST application with the websocket in it."""

from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from api.app import PARTS, PublicDeps, create_public_app
from broker.deps import BrokerDeps
from broker.hub import Hub
from broker.routes import add_routes


def build(deps: PublicDeps, *, streams_max: int, gate: Middleware) -> tuple[web.Application, Hub]:
    """`gate` lets nobody in before the datacenter serves."""
    app = create_public_app(deps)
    parts = app[PARTS]

    async def verify(token: str) -> tuple[str, str]:
        caller = await parts.tokens.authenticate(token)
        return caller.user, caller.session

    hub = add_routes(
        app,
        BrokerDeps(
            hot=deps.hot,
            view=deps.view,
            verify_token=verify,
            open_cursor=lambda user, cursor: parts.cursors.open(cursor, user).position(),
            entropy=deps.entropy,
            clock=deps.wall,
            connections_max=streams_max,
        ),
    )
    for name in hub.metrics():
        parts.metrics.gauge(f"planb_stream_{name}", "Websockets: see docs/websocket.md.", _reader(hub, name))
    app.middlewares.append(gate)
    return app, hub


def _reader(hub: Hub, name: str) -> Callable[[], float]:
    return lambda: hub.metrics()[name]
