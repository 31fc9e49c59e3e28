"""A client of sdk/js in a Node of its own, for tests: commands go in, answers and updates come out, line by line."""

import asyncio
import itertools
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.markdown import ROOT

Json = dict[str, Any]
MODULE = ROOT / "sdk/js/planb.js"
DRIVER = Path(__file__).with_name("sdk_client.mjs")
LINE_BYTES_MAX = 64 * 1024 * 1024
NODE_MIN = 20
"""Fetch and WebSocket; the latter behind a flag until 22."""


def node() -> list[str]:
    """How Node is called. Skips who asks where there is none; where it has to be (CI), that is a failure."""
    found = shutil.which("node")
    version = subprocess.run([found, "--version"], capture_output=True, text=True).stdout if found else ""
    major = int(version.lstrip("v").partition(".")[0] or 0)
    if major < NODE_MIN:
        missing = (
            f"tests of sdk/js need Node {NODE_MIN} or newer: install nodejs (https://nodejs.org); found: {version}"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    assert found is not None
    return [found, *(["--experimental-websocket"] if major < 22 else []), "--no-warnings"]


class Refused(Exception):
    """What a call of the SDK has raised: `name` is its class."""

    def __init__(self, error: Json) -> None:
        super().__init__(f"{error['name']}: {error['message']}")
        self.name: str = error["name"]
        self.code: str = error.get("code", "")
        self.key: str = error.get("key", "")


class NodeClient:
    """One client. `got` are its updates as they came."""

    def __init__(self, driver: "Driver", name: str) -> None:
        self._driver = driver
        self.name = name
        self.got: list[Json] = []
        self.saved: list[Json] = []
        """What `saved()` told at each update, if it was asked for."""
        self.ended: list[Json | None] = []
        """How each loop over the updates ended: None, or by what error."""

    async def call(self, method: str, *args: Any) -> Any:
        """The answer of one method. Refused for what it raises."""
        return await self._driver.ask(self.name, "call", method, *args)

    async def every(self, method: str, *args: Any) -> list[Json]:
        """All that an iterator brings."""
        found: list[Json] = await self._driver.ask(self.name, "list", method, *args)
        return found

    async def get(self, what: str) -> Any:
        """A property."""
        return await self._driver.ask(self.name, "get", what)

    async def snapshot(self, fresh: bool = False) -> Json:
        """Of its state, or of one loaded anew."""
        found: Json = await self._driver.ask(self.name, "fresh" if fresh else "snapshot")
        return found

    async def follow(self, pause_ms: int | None = None, most: int = 0) -> None:
        """From now on updates come to `got`; with a pause after each, what is saved there comes to `saved`."""
        await self._driver.ask(self.name, "follow", pause_ms, most)

    def texts(self) -> list[str | None]:
        return [one["message"]["text"] for one in self.got if one["message"]]

    def firsts(self) -> Counter[str]:
        """How often each message, by key, was shown for the first time."""
        return Counter(one["message"]["key"] for one in self.got if one["message"] and one["first"])


class Driver:
    """The Node process; all clients of a test live in it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._clients: dict[str, NodeClient] = {}
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count()
        self._names = itertools.count()
        self.reading = asyncio.create_task(self._read())

    async def client(self, regions: list[str], token: str, **more: Any) -> NodeClient:
        """`more`: user, keepState, saved, options."""
        made = self._named()
        await self.ask(made.name, "create", regions, token, more)
        return made

    async def login(self, *args: Any) -> NodeClient:
        """As `Client.login`."""
        made = self._named()
        await self.ask(made.name, "login", *args)
        return made

    def _named(self) -> NodeClient:
        made = NodeClient(self, f"c{next(self._names)}")
        self._clients[made.name] = made
        return made

    async def ask(self, client: str, command: str, *args: Any) -> Any:
        """Waits for the answer, for as long as the test may take."""
        id = next(self._ids)
        answer = self._asked[id] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": id, "client": client, "command": command, "args": args})
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        return await answer

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "update" in told:
                client = self._clients[told["client"]]
                client.got.append(told["update"])
                if "saved" in told:
                    client.saved.append(told["saved"])
            elif "ended" in told:
                self._clients[told["client"]].ended.append(told["ended"])
            elif told.get("error"):
                self._asked.pop(told["id"]).set_exception(Refused(told["error"]))
            else:
                self._asked.pop(told["id"]).set_result(told["result"])
        for answer in self._asked.values():
            answer.set_exception(AssertionError("node has ended"))


@asynccontextmanager
async def driver(module: Path = MODULE) -> AsyncIterator[Driver]:
    """A Node with the SDK; ended at the end, which has to be without an error."""
    process = await asyncio.create_subprocess_exec(
        *node(), DRIVER, module, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES_MAX
    )
    made = Driver(process)
    try:
        yield made
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            code = await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            raise
        finally:
            await asyncio.gather(made.reading, return_exceptions=True)
    assert code == 0, "nothing ends a client but its test"
