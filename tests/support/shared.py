"""Servers that take long to start: one for all tests of a run, whichever of its processes they run in.

A process of its own starts the server, for whoever asks first, and ends when nobody uses it any more. Users hold a
shared lock (flock) on a file, so one that is killed uses it no longer. No test may stop such a server, or read what
another test wrote.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploy.local.starters import NEEDS
from tests.support.markdown import ROOT
from tests.support.servers import needs

READY_S_MAX = 200.0
POLL_S = 0.05


class CassandraNode(NamedTuple):
    host: str
    port: int
    datacenter: str


class PulsarCluster(NamedTuple):
    cluster: str
    broker_url: str
    admin_url: str


def folder_of(factory: pytest.TempPathFactory) -> Path:
    """The same one in all processes of this run, and no other's."""
    base = factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"


@contextlib.contextmanager
def shared(name: str, folder: Path) -> Iterator[Any]:
    """How the shared server of this name is reached: what `deploy.local run` says."""
    needs(*NEEDS.get(name, (name,)))
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    with (own / "users").open("a") as users:
        with (own / "start").open("a") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)  # waits for the end of one that has no users left
            found = _running(own) or _start(name, own)
        yield found


def _running(own: Path) -> Any:
    """How it is reached; None where it does not run."""
    with (own / "alive").open("a") as alive:
        try:
            fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # it has its lock
            return json.loads((own / "found").read_text())
    return None


def _start(name: str, own: Path) -> Any:
    home = own / f"home-{time.monotonic_ns()}"
    command = [sys.executable, "-m", "deploy.local", "run", name, "--home", str(home), "--users", str(own / "users")]
    with (own / "alive").open("a") as alive, (own / "found").open("wb") as found, (own / "log").open("wb") as log:
        fcntl.flock(alive, fcntl.LOCK_EX)  # it inherits the lock, and has it until it ends, however it ends
        keeper = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=found, stderr=log, start_new_session=True,
            pass_fds=[alive.fileno()],
        )  # fmt: skip
    deadline = time.monotonic() + READY_S_MAX
    while not (said := (own / "found").read_text()).endswith("\n}\n"):
        if keeper.poll() is not None or time.monotonic() > deadline:
            keeper.kill()
            keeper.wait()
            pytest.fail(f"{name} did not start: {(own / 'log').read_text()[-2000:]}", pytrace=False)
        time.sleep(POLL_S)
    return json.loads(said)
