"""What a datacenter's clients talk to, put together: the REST application with the websocket in it, or each alone."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Middleware

from api import health
from api.app import PARTS, PublicDeps, create_public_app
from api.cors import cors
from api.cursors import Cursors
from api.front import Plain
from api.guard import Guard
from api.health import Check
from api.metrics import Metrics
from api.rates import Kind, Rates
from api.token_keys import TokenKeys
from api.tokens import TokenRules, Tokens
from broker.deps import BrokerDeps
from broker.hub import Hub
from broker.routes import STREAM_PATHS, add_routes
from cli.settings import Settings
from core.errors import NotFound
from core.system import Clock, Entropy
from stores.ports import HotStore
from stores.view import StoreView


def rates(settings: Settings) -> Rates:
    """How fast one user may ask, by the settings."""
    asked = settings.public.rates
    return Rates({Kind.MESSAGES: asked.messages, Kind.WRITES: asked.writes, Kind.READS: asked.reads})


def token_rules(settings: Settings) -> TokenRules:
    """What the settings say of tokens."""
    return TokenRules(settings.public.token_issuer, settings.public.access_token_s)


class Built(NamedTuple):
    """What a listener of one role needs."""

    app: web.Application
    guard: Guard
    plain: Mapping[str, Plain]
    """What is answered past the framework."""


def build(deps: PublicDeps, *, streams_max: int, gate: Middleware) -> tuple[web.Application, Hub]:
    """`gate` lets nobody in before the datacenter serves."""
    app = create_public_app(deps)
    parts = app[PARTS]
    broker = _broker_deps(
        parts.tokens, parts.cursors, deps.view, deps.hot, deps.hot.listen, streams_max, deps.entropy, deps.wall
    )
    hub = _add_streams(app, broker, parts.metrics)
    app.middlewares.append(gate)
    return app, hub


def build_api(deps: PublicDeps, *, gate: Middleware) -> Built:
    """REST alone. Who asks for the stream is told where it is not."""
    app = create_public_app(deps)
    parts = app[PARTS]

    async def elsewhere(_: web.Request) -> web.StreamResponse:
        raise NotFound("no websockets here: they are at the address of `planb serve broker`")

    for method, path in STREAM_PATHS:
        app.router.add_route(method, path, elsewhere)
    app.middlewares.append(gate)
    return Built(app, parts.guard, parts.plain)


def build_broker(
    *,
    key: bytes,
    token_keys: TokenKeys,
    token_rules: TokenRules,
    view: StoreView,
    hot: HotStore,
    listen: Callable[[], AsyncIterator[bytes]],
    checks: Mapping[str, Check],
    gate: Middleware,
    metrics: Metrics,
    streams_max: int,
    entropy: Entropy,
    wall: Clock,
    cors_origins: Collection[str] = (),
) -> Built:
    """Websockets alone. `key`: signs cursors. `listen`: everything that is announced."""
    guard = Guard(metrics, entropy)
    app = web.Application(middlewares=[*cors(cors_origins), guard.middleware])
    tokens, cursors = Tokens(token_keys, view, wall, entropy, token_rules), Cursors(key)
    _add_streams(app, _broker_deps(tokens, cursors, view, hot, listen, streams_max, entropy, wall), metrics)
    health.add_routes(app, metrics, checks)
    app.middlewares.append(gate)
    return Built(app, guard, {})


def _broker_deps(
    tokens: Tokens,
    cursors: Cursors,
    view: StoreView,
    hot: HotStore,
    listen: Callable[[], AsyncIterator[bytes]],
    streams_max: int,
    entropy: Entropy,
    wall: Clock,
) -> BrokerDeps:
    async def verify(token: str) -> tuple[str, str]:
        caller = await tokens.authenticate(token)
        return caller.user, caller.session

    return BrokerDeps(
        hot=hot,
        view=view,
        verify_token=verify,
        open_cursor=lambda user, cursor: cursors.open(cursor, user).position(),
        entropy=entropy,
        clock=wall,
        connections_max=streams_max,
        listen=listen,
    )


def _add_streams(app: web.Application, deps: BrokerDeps, metrics: Metrics) -> Hub:
    hub = add_routes(app, deps)
    for name in hub.metrics():
        metrics.gauge(f"planb_stream_{name}", "Websockets: see docs/websocket.md.", _reader(hub, name))
    return hub


def _reader(hub: Hub, name: str) -> Callable[[], float]:
    return lambda: hub.metrics()[name]
