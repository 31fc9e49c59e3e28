"""A real Pulsar for tests."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from deploy.local.pulsar import Pulsar, PulsarPair
from tests.support.servers import needs, started

_tenants = itertools.count()


@contextlib.contextmanager
def pulsar_at(folder: Path, *, deduplication: bool = False) -> Iterator[Pulsar]:
    """A started one, to do with as the test likes: `kill`, `start`, `pause`, `resume`."""
    needs("java", "pulsar")
    with started(Pulsar(folder, deduplication=deduplication)) as server:
        yield server


def fresh_tenant() -> str:
    """Where nobody has been."""
    return f"test-{os.getpid()}-{next(_tenants)}"


__all__ = ["Pulsar", "PulsarPair", "fresh_tenant", "pulsar_at"]
