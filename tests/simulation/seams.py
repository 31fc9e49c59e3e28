"""Where production code meets the machine, and what stands there in a simulation. All of it is undone afterwards.

Only names are replaced that stand for the machine: sessions, adapters, secrets, clock and entropy of the composition
root, and the socket class of the broker. Everything between them is production code.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from aiohttp import web

import broker.connection
import broker.routes
import cli.datacenter
import cli.process
import cli.token_key_file
import core.action
import events.codec
from events.codec import Codec
from tests.simulation.loop import PROCESS
from tests.simulation.sockets import WebSocketResponse

Session = Callable[[], Any]


OLD = "sim."
"""Actions with this prefix are unknown to the version before."""


def registry() -> dict[str, Any]:
    """The actions of the version that asks."""
    actions = core.action.registry()
    return actions if PROCESS.get().knows_new else old_registry()


def _steady_clock_ms() -> int:
    """Virtual time passes for all hosts alike, whatever their wall clocks show."""
    return int(asyncio.get_running_loop().time() * 1_000)


def old_registry() -> dict[str, Any]:
    """The actions of the version before."""
    return {name: action for name, action in core.action.registry().items() if not name.startswith(OLD)}


def codec() -> Codec:
    """The codec of the version that asks."""
    return events.codec.codec() if PROCESS.get().knows_new else _old_codec()


@functools.cache
def _old_codec() -> Codec:
    return Codec(old_registry())


def entropy(n: int) -> bytes:
    """Of whichever process asks."""
    return PROCESS.get().entropy(n)


@contextlib.contextmanager
def simulated(session: Session, wall_clock_ms: Callable[[], int]) -> Iterator[None]:
    """`session` makes a client session for the present process; `wall_clock_ms` is its host's clock."""
    root: Any = cli.datacenter
    life: Any = cli.process
    server = SimpleNamespace(**{name: getattr(web, name) for name in dir(web) if not name.startswith("__")})
    server.WebSocketResponse = WebSocketResponse
    with contextlib.ExitStack() as stack:
        for target, name, stand_in in (
            (root, "open_session", session),
            *(
                (module, name, stand_in)
                for module in (root, life)
                for name, stand_in in (
                    ("wall_clock_ms", wall_clock_ms),
                    ("steady_clock_ms", _steady_clock_ms),
                    ("entropy", entropy),
                )
            ),
            (root, "registry", registry),
            (root, "codec", codec),
            *(
                (module, "configuration", SimpleNamespace(secret=lambda key: key))
                for module in (life, cli.token_key_file)
            ),
            (broker.routes, "web", server),
        ):
            stack.enter_context(patch.object(target, name, stand_in))
        # Sets of connections have the same order in every run.
        stack.enter_context(patch.object(broker.connection.Connection, "__hash__", lambda one: hash(one.id)))
        yield
