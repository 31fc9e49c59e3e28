"""apisvc: the public listener, put together from what a process hands it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from api import docs_page, file_description, health, openapi
from api.calls import Calls
from api.clock_header import ClockHeader
from api.cors import cors
from api.cursors import Cursors
from api.file_routes import FileRoutes
from api.files import Files
from api.front import Plain
from api.guard import Guard, Handler
from api.health import Check
from api.metrics import Metrics
from api.operations import Other, Read, grouped, plain_first
from api.queries.account import Account
from api.queries.dialogs import Dialogs
from api.queries.entry import Entry
from api.queries.history import History
from api.queries.login import Login
from api.queries.mentions import Mentions
from api.queries.people import People
from api.queries.refreshing import Refreshing
from api.queries.standpoint import Standpoint
from api.queries.threads import Threads
from api.queries.updates import Updates
from api.rates import UNLIMITED, Rates
from api.reads import ReadRoutes
from api.schemas import Schema
from api.token_keys import TokenKeys, derived
from api.tokens import RULES, TokenRules, Tokens
from api.write_routes import WriteRoutes, is_plain
from api.writes import LaneWriter, RemoteDurability, Writes
from core import limits
from core.action import Action
from core.clock import HybridClock
from core.system import Clock, Entropy
from stores.at_hand import AtHand, at_hand
from stores.ports import HotStore
from stores.progress import Progress
from stores.view import StoreView

BATCH_PATH = "/v1/messages/batch"


@dataclass(frozen=True)
class PublicDeps:
    """Everything that the public listener needs."""

    dc: str
    """This DC's name."""
    key: bytes
    """Signs cursors, and tells retries apart; the same in all DCs."""
    actions: Mapping[str, type[Action]]
    """`core.action.registry()`."""
    lane_writer: LaneWriter
    view: StoreView
    hot: HotStore
    files: Files
    progress: Progress
    clock: HybridClock
    epoch: Callable[[], int]
    """The hot store's epoch, 0 before there is one."""
    remote: RemoteDurability
    wall: Clock
    entropy: Entropy
    checks: Mapping[str, Check] = field(default_factory=dict)
    """What `/readyz` asks: name -> what is missing."""
    others: Sequence[Other] = ()
    """Calls that somebody else adds to the application, as they describe them."""
    metrics: Metrics = field(default_factory=Metrics)
    in_flight_max: int = limits.REQUESTS_IN_FLIGHT_MAX
    bodies_bytes_max: int = limits.BODIES_BYTES_MAX
    bodies_bytes_of_one_max: int = limits.BODIES_BYTES_OF_ONE_MAX
    access_log: bool = False
    rates: Rates = UNLIMITED
    proxies: frozenset[str] = frozenset()
    """Addresses whose X-Forwarded-For is believed."""
    token_keys: TokenKeys | None = None
    """Those that sign tokens; the same in all DCs. Without them one that is made of `key`."""
    token_rules: TokenRules = RULES
    cors_origins: frozenset[str] = frozenset()
    """Of the web pages that may call from a browser."""


@dataclass(frozen=True)
class PublicParts:
    """What the application is made of, for whoever composes a process (the broker shares tokens and cursors)."""

    tokens: Tokens
    cursors: Cursors
    writes: Writes
    metrics: Metrics
    guard: Guard
    plain: Mapping[str, Plain]
    """Path of a POST -> who answers it past the framework (api/front.py)."""
    describe: Callable[[], Schema]
    """Makes the OpenAPI document."""


PARTS = web.AppKey("parts", PublicParts)


def create_public_app(deps: PublicDeps) -> web.Application:
    """The application; `app[PARTS]` has what others share. Routes may be added until it is started."""
    keys = deps.token_keys or TokenKeys([derived(deps.key)])
    tokens = Tokens(keys, deps.view, deps.wall, deps.entropy, deps.token_rules)
    cursors = Cursors(deps.key)
    writes = Writes(
        dc=deps.dc,
        lane_writer=deps.lane_writer,
        view=deps.view,
        at_hand=at_hand(deps.view),
        results=deps.hot,
        stored=deps.view,
        progress=deps.progress,
        remote=deps.remote,
        wall=deps.wall,
        entropy=deps.entropy,
        secret=deps.key,
    )
    clock = ClockHeader(deps.key, deps.clock, deps.wall, deps.progress)
    calls = Calls(tokens, cursors, clock, deps.progress, deps.proxies)
    guard = Guard(
        deps.metrics,
        deps.entropy,
        in_flight_max=deps.in_flight_max,
        access_log=deps.access_log,
        bodies_bytes_max=deps.bodies_bytes_max,
        bodies_bytes_of_one_max=deps.bodies_bytes_of_one_max,
    )
    middlewares = [*cors(deps.cors_origins), guard.middleware]
    app = web.Application(middlewares=middlewares, client_max_size=limits.BODY_BYTES_MAX)
    deps.metrics.gauge("planb_rate_refused", "Requests of users who ask too fast.", lambda: deps.rates.refused)
    routes = WriteRoutes(writes, calls, cursors, clock, deps.rates)
    handlers: dict[tuple[str, str], Handler] = {
        ("POST", BATCH_PATH): routes.batch_handler(deps.actions["message.send"])
    }
    plain: dict[str, Plain] = {}
    for place, actions in grouped(deps.actions.values(), "public").items():
        handlers[place] = routes.handler(actions)
        if place[0] == "POST" and is_plain(actions):
            plain[place[1]] = routes.plain(actions[0], AtHand(deps.view).session_now)
    reads = _reads(deps, tokens, cursors, writes)
    read_routes = ReadRoutes(calls, clock, deps.rates)
    body_bytes_max = {("POST", BATCH_PATH): limits.BODY_BYTES_MAX}
    for read in reads:
        handlers[read.method, read.path] = read_routes.handler(read)
        body_bytes_max[read.method, read.path] = read.body_bytes_max
    file_routes = FileRoutes(deps.actions["file.put"], deps.files, deps.view, writes, routes, calls, clock, deps.rates)
    for place, (handler, most) in file_routes.handlers().items():
        handlers[place], body_bytes_max[place] = handler, most
    for (method, path), handler in sorted(handlers.items(), key=lambda item: plain_first(item[0][1])):
        most = body_bytes_max.get((method, path), limits.REQUEST_BYTES_MAX)
        app.router.add_route(method, path, guard.bounded(f"{method} {path}", handler, most))
    health.add_routes(app, deps.metrics, deps.checks)
    others = [*health.others(), *docs_page.others(), *file_description.others(deps.actions["file.put"]), *deps.others]

    def describe() -> Schema:
        return openapi.document(deps.actions.values(), reads, others, deps.dc)

    docs_page.add_routes(app, describe)
    app[PARTS] = PublicParts(tokens, cursors, writes, deps.metrics, guard, plain, describe)
    return app


def _reads(deps: PublicDeps, tokens: Tokens, cursors: Cursors, writes: Writes) -> list[Read]:
    standpoint = Standpoint(deps.dc, deps.view, deps.hot, deps.progress, deps.epoch)
    return [
        *Login(deps.view, tokens, writes, deps.actions["token.issue"], deps.actions["session.revoke"]).reads(),
        *Refreshing(deps.view, tokens, writes, deps.actions["token.refresh"]).reads(),
        *Account(deps.view).reads(),
        *People(deps.view, deps.hot, deps.wall).reads(),
        *Entry(deps.view, writes.links, deps.wall).reads(),
        *Dialogs(deps.key, deps.view, deps.hot, cursors, standpoint).reads(),
        *History(deps.view).reads(),
        *Threads(deps.view).reads(),
        *Mentions(deps.view).reads(),
        *Updates(deps.view, deps.hot, cursors, standpoint).reads(),
    ]
