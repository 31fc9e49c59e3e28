"""How another terminal reaches a running demo: a unix socket per demo, in a private folder of this user."""

import json
import os
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from core.cause import cause_of
from core.errors import Conflict, NotFound, PlanBError, Unavailable

Verb = Callable[[list[str]], Awaitable[dict[str, Any]]]

VERB_S_MAX = 600.0
ABOUT_S_MAX = 2.0
_ABOUT = "about"
"""The verb that changes nothing: which demo it is."""


def folder() -> Path:
    """Where the sockets of this user's demos are; only he may enter."""
    path = Path(tempfile.gettempdir()) / f"planb-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise Unavailable(f"{path} belongs to somebody else")
    return path


class ControlServer:
    """Answers verbs of other terminals while the demo runs. `home`: its folder, by which a person knows it."""

    def __init__(self, verbs: dict[str, Verb], home: Path) -> None:
        self._about = {"demo": os.getpid(), "home": str(home)}
        self._verbs = {**verbs, _ABOUT: self._nothing}
        self._path = _socket(os.getpid())
        self._runner: web.AppRunner | None = None

    async def _nothing(self, words: list[str]) -> dict[str, Any]:
        return {}

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
            return web.json_response({**await verb(await request.json()), **self._about})
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
    """Asks the one running demo of this user, or the one with `pid`; the answer names it (`demo`, `home`). NotFound
    when it does not run, Conflict when `pid` has to say which: a verb may destroy, and nothing is guessed."""
    found = await _running()
    if not found:
        raise NotFound("no demo is running; start one with `make demo`")
    if pid is None and len(found) > 1:
        raise Conflict(f"{len(found)} demos are running, say which by --demo PID: {_named(found)}")
    chosen = next(iter(found)) if pid is None else pid
    if chosen not in found:
        raise NotFound(f"no demo {chosen} is running; there is {_named(found)}")
    return await _ask(_socket(chosen), verb, args, VERB_S_MAX)


async def _running() -> dict[int, str]:
    """Pid -> folder of each demo that runs. Sockets of killed ones are removed."""
    found = {}
    for path in sorted(folder().glob("*.sock")):
        try:
            found[int(path.stem)] = str((await _ask(path, _ABOUT, (), ABOUT_S_MAX))["home"])
        except aiohttp.ClientConnectorError:
            path.unlink(missing_ok=True)
        except Unavailable:
            found[int(path.stem)] = "does not answer"
    return found


def _named(found: dict[int, str]) -> str:
    return "; ".join(f"{pid} ({home})" for pid, home in found.items())


def _socket(pid: int) -> Path:
    return folder() / f"{pid}.sock"


async def _ask(path: Path, verb: str, args: Sequence[str], timeout_s: float) -> dict[str, Any]:
    """Raises ClientConnectorError when nobody listens there, DemoRefused, Unavailable."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)), timeout=timeout) as session,
            session.post(f"http://demo/{verb}", data=json.dumps(args)) as answer,
        ):
            body: dict[str, Any] = await answer.json()
            if answer.status >= 400:
                raise DemoRefused(body)
            return body
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"the demo {path.stem} did not answer", private=cause_of(error)) from error
