"""A real etcd for tests."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from deploy.local.etcd import Etcd
from tests.support.servers import needs, started


@contextlib.contextmanager
def etcd_at(folder: Path) -> Iterator[Etcd]:
    """A started one, to do with as the test likes: `kill`, `start`, `pause`, `resume`."""
    needs("etcd")
    with started(Etcd(folder)) as server:
        yield server
