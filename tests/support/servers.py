"""Real servers for tests: who has none skips, and says what to do; where there has to be one (CI), that fails."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import TypeVar

import pytest

from core.errors import NotFound
from deploy.local import install
from deploy.local.catalog import SERVERS
from deploy.local.starting import Process

P = TypeVar("P", bound=Process)


def needs(*servers: str) -> None:
    """Skips who asks where one of these is not installed; where it has to be (CI), that is a failure."""
    try:
        for name in servers:
            install.program(name, next(iter(SERVERS[name].programs)))
    except NotFound as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@contextlib.contextmanager
def started(server: P) -> Iterator[P]:
    """Started; killed at the end."""
    try:
        asyncio.run(server.start())
        yield server
    finally:
        server.kill()
