"""Signed calls to a datacenter's internal listener, for the command line and the demo."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from api.internal_auth import WRONG_SIGNATURE, InternalAuth
from api.problems import all_errors
from cli import settings as configuration
from cli.settings import Settings
from core.errors import OutOfTime, PlanBError, Unauthenticated, Unavailable
from core.system import wall_clock_ms
from replicator.link import why

CALL_S_MAX = 60.0
_EXIT_CODES = {error.code: error.exit_code for error in all_errors()}


class SysRefused(PlanBError):
    """A problem document of syssvc; carries its code and status."""

    def __init__(self, status: int, problem: dict[str, Any], advice: str = "") -> None:
        detail = str(problem.get("detail", f"status {status}"))
        super().__init__(detail + advice)
        self.status = status  # type: ignore[misc]  # the answer's own, not a class's
        self.code = str(problem.get("code", "internal"))  # type: ignore[misc]
        self.exit_code = _EXIT_CODES.get(self.code, PlanBError.exit_code)  # type: ignore[misc]


class _ClocksApart(SysRefused):
    """Our signature is out of time there."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(status, problem)
        self.judged_ms = int(problem["judged_ms"])


class SysClient:
    """One datacenter's syssvc. An async context manager."""

    def __init__(
        self,
        dc: str,
        url: str,
        key: bytes,
        name: str = "operator",
        answer_s_max: float = CALL_S_MAX,
        key_file: Path | None = None,
    ) -> None:
        """`dc`: who is called. `name`: who signs. `answer_s_max`: of one call, seconds. `key_file`: the key's, to be
        named when it is a wrong one."""
        self._key_file = key_file
        self._dc = dc
        self._url = url.rstrip("/")
        self._answer_s_max = answer_s_max
        self._apart_ms = 0
        """How far the clock that it judges signatures by is ahead of ours, where that is too much to be in time."""
        self._auth = InternalAuth(key, name, lambda: wall_clock_ms() + self._apart_ms)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, settings: Settings) -> "SysClient":
        """The datacenter that these settings describe."""
        key = configuration.secret(settings.secrets.sys_key_file)
        url = f"http://{settings.sys.host}:{settings.sys.port}"
        return cls(settings.dc.name, url, key, key_file=settings.secrets.sys_key_file)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._answer_s_max))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, method: str, path: str, fields: dict[str, Any] | None = None, key: str = "") -> dict[str, Any]:
        """The JSON answer. SysRefused for a problem, Unavailable when it can't be reached. A datacenter whose clock is
        not ours is called by its own: it is the one to ask what is wrong."""
        try:
            return await self._call(method, path, fields, key)
        except _ClocksApart as error:
            self._apart_ms = error.judged_ms - wall_clock_ms()
            return await self._call(method, path, fields, key)

    async def _call(self, method: str, path: str, fields: dict[str, Any] | None, key: str) -> dict[str, Any]:
        assert self._session is not None, "use it as a context manager"
        body = b"" if fields is None else json.dumps(fields).encode()
        signed = self._auth.sign(self._dc, method, path, body, {"Idempotency-Key": key} if key else {})
        headers = signed | {"Content-Type": "application/json"}
        try:
            async with self._session.request(method, self._url + path, data=body or None, headers=headers) as answer:
                found: dict[str, Any] = json.loads(await answer.read())
                if found.get("code") == OutOfTime.code and not self._apart_ms:
                    self._auth.check_answer(signed, answer.status, answer.headers, await answer.read())
                    raise _ClocksApart(answer.status, found)
                if answer.status >= 400:
                    raise SysRefused(answer.status, found, self._advice(found))
                return found
        except ValueError as error:
            raise Unavailable(f"{self._dc}: what answers at {self._url} is no datacenter") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{self._dc}: {self._url} {why(error, self._answer_s_max)}") from error

    def _advice(self, problem: dict[str, Any]) -> str:
        """What to do about a refusal, where more is known than it says."""
        if problem.get("code") != Unauthenticated.code or problem.get("detail") != WRONG_SIGNATURE:
            return ""
        here = f" ({self._key_file})" if self._key_file else ""
        return (
            f". {self._dc} at {self._url} says so: it runs with another key. Compare secrets.sys_key_file here{here}"
            f" with the one in the settings of {self._dc}: sha256sum of both files has to be the same"
        )
