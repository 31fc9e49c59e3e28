"""How etcd is called: JSON over HTTP, by the gateway that is part of it. Several endpoints, TLS, users, and a bound on
everything.

All calls that are made here may be repeated, so an endpoint that gives no answer is followed by the next one until the
time is over. The answers' integers of 64 bits are strings, keys and values base64 (the mapping of proto3 to JSON).
"""

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from core import limits
from core.errors import ConfigError, StoreUnavailable

log = logging.getLogger(__name__)

REASON_CHARS_MAX = 300
_LINE_BYTES_MAX = 1_048_576
_NOT_FOUND, _UNAUTHENTICATED = 5, 16
_INVALID, _DENIED = 3, 7
_REFUSALS = (_INVALID, _DENIED)
"""gRPC's codes for what another try will not change."""


class LeaseNotFound(Exception):
    """etcd knows no such lease."""


class Refused(Exception):
    """etcd says no, in so many words."""


@dataclass(frozen=True)
class EtcdPlace:
    """An etcd cluster, and who we are there."""

    endpoints: Sequence[str]
    """http(s)://host:port, each."""
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    """Who signs the servers' certificates; None: whom this machine trusts."""
    cert_file: Path | None = field(default=None, repr=False)
    """Our own certificate, where they ask for one, and its key."""
    key_file: Path | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return ", ".join(self.endpoints)


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def decoded(text: str) -> bytes:
    return base64.b64decode(text)


def beyond(prefix: str) -> str:
    """The end of the range of all keys with this prefix, encoded."""
    last = prefix.encode()
    return encoded(last[:-1] + bytes([last[-1] + 1]))


class EtcdGateway:
    """Calls of one process. Used in one event loop."""

    def __init__(self, place: EtcdPlace) -> None:
        """ConfigError for files that are not usable."""
        self.place = place
        self._password = _read(place.password_file)
        self._ssl = _context(place)
        self._session: aiohttp.ClientSession | None = None
        self._token = ""
        self._first = 0
        """The endpoint that answered last."""

    async def call(self, path: str, body: dict[str, Any], *, timeout_ms: int | None = None) -> dict[str, Any]:
        """The answer. LeaseNotFound; StoreUnavailable when no endpoint answers in time, or etcd refuses it."""
        deadline = _Deadline((timeout_ms or limits.COORDINATION_CALL_MS_MAX) / 1_000)
        share_s = deadline.left_s() / len(self.place.endpoints)
        why = ""
        # No asyncio.timeout around it: the driver's own may take its cancellation for its own time that is over.
        while deadline.left_s() > 0:
            for _ in self.place.endpoints:
                try:
                    return await self._try(path, body, deadline.part(share_s))
                except Refused as error:
                    raise self._unavailable(path, str(error)) from error
                except (aiohttp.ClientError, OSError, ValueError) as error:  # OSError: TimeoutError, too
                    why = str(error)[:REASON_CHARS_MAX] or why
                    self._first = (self._first + 1) % len(self.place.endpoints)
            await asyncio.sleep(max(0, min(deadline.left_s(), limits.BACKOFF_MS_FIRST / 1_000)))
        raise self._unavailable(path, why or "no answer")

    async def watch(self, prefix: str, revision: int) -> AsyncGenerator[None, None]:
        """Returns an item whenever something below `prefix` has changed since `revision`. Ends when it has to be begun
        anew: the connection was cut, or silent for long, or that revision is no longer known."""
        create = {"key": encoded(prefix), "range_end": beyond(prefix), "start_revision": str(revision)}
        silent_s = limits.COORDINATION_SILENT_MS_MAX / 1_000
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=silent_s, sock_read=silent_s)
        try:
            async with self._post("/v3/watch", {"create_request": create}, timeout) as answer:
                if answer.status != 200:
                    return
                async with aclosing(_lines(answer)) as lines:
                    async for line in lines:
                        found = json.loads(line).get("result", {})
                        if found.get("canceled") or "header" not in found:
                            return
                        if found.get("events"):
                            yield
        except (aiohttp.ClientError, OSError, ValueError) as error:
            log.debug("the watch of etcd ended: %r", error)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _try(self, path: str, body: dict[str, Any], deadline: "_Deadline") -> dict[str, Any]:
        """One endpoint; with a token that was refused, once more."""
        if self.place.user and not self._token:
            await self._log_in(deadline)
        status, answer = await self._asked(path, body, deadline)
        if status != 200 and self.place.user and _code(answer) == _UNAUTHENTICATED:
            await self._log_in(deadline)
            status, answer = await self._asked(path, body, deadline)
        error = answer.get("error")
        if status == 200 and not error:
            return answer
        said = str(answer.get("message") or error)[:REASON_CHARS_MAX]
        if _code(answer) == _NOT_FOUND and "lease" in said:
            raise LeaseNotFound
        if _code(answer) in _REFUSALS or status in (400, 401, 403):
            raise Refused(said)
        raise OSError(said)

    async def _log_in(self, deadline: "_Deadline") -> None:
        who = {"name": self.place.user, "password": self._password}
        self._token = ""
        status, answer = await self._asked("/v3/auth/authenticate", who, deadline)
        if status != 200:
            raise Refused(f"user {self.place.user}: {answer.get('message') or answer.get('error')}")
        self._token = str(answer["token"])

    async def _asked(self, path: str, body: dict[str, Any], deadline: "_Deadline") -> tuple[int, dict[str, Any]]:
        left_s = deadline.left_s()
        if left_s <= 0:
            raise TimeoutError
        async with self._post(path, body, aiohttp.ClientTimeout(total=left_s)) as answer:
            data = bytearray()
            async for block in answer.content.iter_any():
                data += block
                if len(data) > limits.COORDINATION_BYTES_MAX:
                    raise ValueError(f"an answer of more than {limits.COORDINATION_BYTES_MAX} bytes")
            found = json.loads(data)
            if not isinstance(found, dict):
                raise ValueError("an answer that is no object")
            return answer.status, found

    def _post(self, path: str, body: dict[str, Any], timeout: aiohttp.ClientTimeout) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(read_bufsize=_LINE_BYTES_MAX)
        url = self.place.endpoints[self._first].rstrip("/") + path
        headers = {"Authorization": self._token} if self._token else {}
        return self._session.post(
            url, json=body, headers=headers, timeout=timeout, ssl=self._ssl or True, allow_redirects=False
        )

    def _unavailable(self, path: str, why: str) -> StoreUnavailable:
        return StoreUnavailable(f"etcd ({self.place}): {why}", private=path)


class _Deadline:
    """When whoever asked has waited long enough."""

    def __init__(self, for_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._at_s = self._loop.time() + for_s

    def left_s(self) -> float:
        return self._at_s - self._loop.time()

    def part(self, for_s: float) -> "_Deadline":
        """One within it."""
        return _Deadline(min(for_s, self.left_s()))


async def _lines(answer: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    while line := await answer.content.readline():
        yield line


def _code(answer: dict[str, Any]) -> int:
    error = answer.get("error")
    found = error.get("grpc_code", error.get("code")) if isinstance(error, dict) else answer.get("code")
    return found if isinstance(found, int) else 0


def _read(path: Path | None) -> str:
    """The password in a file, without the line's end."""
    if path is None:
        return ""
    try:
        return path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or 'is no text'}") from error


def _context(place: EtcdPlace) -> ssl.SSLContext | None:
    if place.ca_file is None and place.cert_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=place.ca_file)
        if place.cert_file is not None:
            context.load_cert_chain(place.cert_file, place.key_file)
    except OSError as error:  # SSLError, too
        files = ", ".join(str(path) for path in (place.ca_file, place.cert_file, place.key_file) if path)
        raise ConfigError(f"the TLS files for etcd ({files}): {error.strerror or error}") from error
    return context
