"""Each server comes up on its own ports and folder, says why when it does not, and is gone when it is killed."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli.servers import Child
from cli.waiting import until
from core.errors import Unavailable
from deploy.local.catalog import SERVERS
from deploy.local.starters import NEEDS, STARTERS
from deploy.local.starting import Process
from tests.support.markdown import ROOT
from tests.support.servers import needs

pytestmark = [pytest.mark.integration]


SLOW_AND_PART_OF_A_PAIR = ("cassandra", "pulsar")


@pytest.mark.parametrize("name", [name for name in STARTERS if name not in SLOW_AND_PART_OF_A_PAIR])
def test_run_says_how_it_is_reached_and_ends_with_it(name: str, tmp_path: Path) -> None:
    """As somebody at a desk does: `python -m deploy.local run`, and Ctrl-C. (What is left out here is started so by
    the fixtures that share it.)"""
    needs(*NEEDS.get(name, (name,)))
    command = [sys.executable, "-m", "deploy.local", "run", name, "--home", str(tmp_path / "home")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stderr is not None
        try:
            text = line = ""
            while line != "}\n" and (line := running.stdout.readline()):
                text += line
            assert text, running.stderr.read()
            json.loads(text)
            ports = ports_of(text)
            assert ports
            for port in ports:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
            running.send_signal(signal.SIGINT)
            assert running.wait(30) == 0
        finally:
            running.kill()
        assert running.stderr.read() == ""
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def ports_of(text: str) -> set[int]:
    """All ports that are named in it."""
    return {int(port) for port in re.findall(r"(?<![0-9a-f])[0-9]{5}(?![0-9a-f])", text)}


def test_every_server_has_a_starter() -> None:
    assert {server for name in STARTERS for server in NEEDS.get(name, (name,))} == set(SERVERS)


class Shell(Process):
    """A server that is a line of shell, and never ready."""

    def __init__(self, folder: Path, line: str) -> None:
        super().__init__(Child("shell", ["sh", "-c", line], folder / "server.log"))

    @property
    def found(self) -> dict[str, str]:
        return {}

    async def start(self) -> None:
        await self._begin(self._look, 0.5)

    async def _look(self) -> str:
        raise ConnectionRefusedError("nobody there")


async def test_one_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    server = Shell(tmp_path, "echo no room on this disk; exit 3")
    with pytest.raises(Unavailable, match="shell ended with 3: no room on this disk"):
        await server.start()


async def test_one_that_does_not_get_ready_is_killed_and_told(tmp_path: Path) -> None:
    server = Shell(tmp_path, "echo still waiting; exec sleep 100")
    with pytest.raises(Unavailable, match=r"not ready after 0 s: nobody there; shell ended with -9: still waiting"):
        await server.start()
    assert not server.child.running


async def test_one_whose_start_is_cancelled_is_killed(tmp_path: Path) -> None:
    server = Shell(tmp_path, "exec sleep 100")

    async def runs() -> int | None:
        return server.child.pid

    beginning = asyncio.create_task(server.start())
    pid = await until(runs, 5)
    assert pid
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
