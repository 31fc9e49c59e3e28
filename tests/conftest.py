"""Fixtures that more than one folder of tests uses. Keep it small: what one suite needs stays with that suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.valkey import ValkeyFactory, servers


@pytest.fixture
def valkey_server(tmp_path: Path) -> Iterator[ValkeyFactory]:
    """`valkey_server(appendfsync="always")` starts a private server; `None` (the default) is one without a log.

    Further arguments are the server's own options, e.g. `valkey_server(None, "--maxmemory", "3mb")`.
    """
    with servers(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def shared_valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyFactory]:
    """The same for a whole module: use a key prefix of your own per test, and leave the server running."""
    with servers(tmp_path_factory.mktemp("valkey")) as make:
        yield make
