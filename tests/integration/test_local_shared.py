"""A shared server is started once for all processes that use it, and ends with the last of them, however that ends."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.waiting import until
from tests.support.markdown import ROOT
from tests.support.shared import shared

pytestmark = [pytest.mark.integration]

USER = """
import pathlib, sys
from tests.support.shared import shared
with shared("etcd", pathlib.Path(sys.argv[1])) as found:
    print(found["endpoint"], flush=True)
    sys.stdin.read()
"""


@contextmanager
def user(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses it, until its input ends; its first line says where it is."""
    command = [sys.executable, "-c", USER, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def is_gone(endpoint: str) -> bool:
    async def refuses() -> bool:
        try:
            socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])), timeout=5).close()
        except ConnectionRefusedError:
            return True
        return False

    return await until(refuses, 20)


def answers(endpoint: str) -> bool:
    socket.create_connection(("127.0.0.1", int(endpoint.rpartition(":")[2])), timeout=5).close()
    return True


@pytest.mark.usefixtures("etcd")  # or it skips here, instead of failing in the processes
async def test_it_outlives_the_one_who_started_it_and_ends_with_the_last(tmp_path: Path) -> None:
    with user(tmp_path) as first:
        endpoint = said(first)
        with user(tmp_path) as second:
            assert said(second) == endpoint
            first.kill()
            first.wait()
            with shared("etcd", tmp_path) as found:
                assert found["endpoint"] == endpoint
            assert answers(endpoint)
            second.kill()
            second.wait()
    assert await is_gone(endpoint)


@pytest.mark.usefixtures("etcd")
async def test_after_its_end_it_is_started_anew(tmp_path: Path) -> None:
    for _ in range(2):
        with shared("etcd", tmp_path) as found:
            assert answers(found["endpoint"])
    assert await is_gone(found["endpoint"])


@pytest.mark.usefixtures("etcd")
def test_two_who_ask_at_once_get_the_same_one(tmp_path: Path) -> None:
    with user(tmp_path) as first, user(tmp_path) as second:
        assert said(first) == said(second) != ""


@pytest.mark.usefixtures("etcd")
def test_one_that_does_not_start_fails_its_test_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANB_SERVERS", str(tmp_path / "nothing"))  # of the process that is to start it
    match = r"etcd did not start: etcd [0-9.]+ is not installed"
    with pytest.raises(pytest.fail.Exception, match=match), shared("etcd", tmp_path):
        pass
    monkeypatch.undo()
    with shared("etcd", tmp_path) as found:
        assert answers(found["endpoint"])
