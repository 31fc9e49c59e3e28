"""How another terminal reaches a running demo: a unix socket per demo, in a private folder of this user."""

import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from core.errors import NotFound, PlanBError, Unavailable

Verb = Callable[[list[str]], Awaitable[dict[str, Any]]]

VERB_S_MAX = 600.0


def folder() -> Path:
    """Where the sockets of this user's demos are; only he may enter."""
    path = Path(tempfile.gettempdir()) / f"planb-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise Unavailable(f"{path} belongs to somebody else")
    return path


class ControlServer:
    """Answers verbs of other terminals while the demo runs."""

    def __init__(self, verbs: dict[str, Verb]) -> None:
        self._verbs = verbs
        self._path = folder() / f"{os.getpid()}.sock"
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/{verb}", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._path)).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._path.unlink(missing_ok=True)

    async def _handle(self, request: web.Request) -> web.Response:
        name = request.match_info["verb"]
        try:
            verb = self._verbs.get(name)
            if verb is None:
                raise NotFound(f"the demo knows {', '.join(self._verbs)}, not {name}")
            return web.json_response(await verb(await request.json()))
        except PlanBError as error:
            problem = {"code": error.code, "detail": error.detail, "exit_code": error.exit_code}
            return web.json_response(problem, status=error.status)


class DemoRefused(PlanBError):
    """What the demo answered; carries its code and exit code."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(str(problem.get("detail", "")))
        self.code = str(problem.get("code", "internal"))  # type: ignore[misc]  # the demo's own code, not a class's
        self.exit_code = int(problem.get("exit_code", 1))  # type: ignore[misc]


async def call(verb: str, *args: str, pid: int | None = None) -> dict[str, Any]:
    """Asks the newest running demo of this user (or the one with `pid`). NotFound when none runs."""
    sockets = sorted(folder().glob("*.sock"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in sockets:
        if pid is not None and path.stem != str(pid):
            continue
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(str(path)), timeout=aiohttp.ClientTimeout(total=VERB_S_MAX)
                ) as session,
                session.post(f"http://demo/{verb}", data=json.dumps(args)) as answer,
            ):
                body: dict[str, Any] = await answer.json()
                if answer.status >= 400:
                    raise DemoRefused(body)
                return body
        except aiohttp.ClientConnectorError:
            path.unlink(missing_ok=True)  # its demo was killed
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"the demo {path.stem} did not answer", private=repr(error)) from error
    raise NotFound("no demo is running; start one with `make demo`")
