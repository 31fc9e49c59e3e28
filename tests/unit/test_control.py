"""Which demo another terminal reaches."""

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cli.control import ControlServer, call, folder
from core.errors import Conflict, NotFound


class Demos:
    """Of one user; each says which verbs it was given."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._running: list[ControlServer] = []
        self.done: list[tuple[int, list[str]]] = []

    async def start(self, pid: int) -> None:
        async def verb(words: list[str]) -> dict[str, Any]:
            self.done.append((pid, words))
            return {"did": " ".join(words)}

        with self._patch.context() as patch:
            patch.setattr(os, "getpid", lambda: pid)
            server = ControlServer({"dc": verb}, Path(f"/tmp/demo-{pid}"))
        await server.start()
        self._running.append(server)

    async def stop(self) -> None:
        for server in self._running:
            await server.stop()


@pytest_asyncio.fixture
async def demos(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Demos]:
    with tempfile.TemporaryDirectory() as short:  # a socket's path has at most 107 bytes
        monkeypatch.setattr(tempfile, "tempdir", short)
        found = Demos(monkeypatch)
        yield found
        await found.stop()


async def test_the_only_demo_needs_no_name_and_says_which_it_is(demos: Demos) -> None:
    await demos.start(576)
    answer = await call("dc", "kill", "nrt")
    assert answer == {"did": "kill nrt", "demo": 576, "home": "/tmp/demo-576"}


async def test_of_several_demos_none_is_guessed(demos: Demos) -> None:
    await demos.start(576)
    await demos.start(577)
    with pytest.raises(Conflict) as refused:
        await call("dc", "burn", "nrt")
    assert "576 (/tmp/demo-576); 577 (/tmp/demo-577)" in refused.value.detail
    assert demos.done == []
    await call("dc", "burn", "nrt", pid=576)
    assert demos.done == [(576, ["burn", "nrt"])]


async def test_a_name_of_no_demo_is_answered_with_those_that_run(demos: Demos) -> None:
    with pytest.raises(NotFound, match="no demo is running"):
        await call("dc", "list", pid=1)
    await demos.start(576)
    with pytest.raises(NotFound, match=r"no demo 1 is running; there is 576 \(/tmp/demo-576\)"):
        await call("dc", "list", pid=1)


async def test_a_killed_demo_is_not_counted(demos: Demos) -> None:
    await demos.start(576)
    (folder() / "999.sock").touch()
    assert (await call("dc", "list"))["demo"] == 576
