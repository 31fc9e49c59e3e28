"""HTTP to other processes: pulls from a peer DC's syssvc, and replay through our own.

Both directions are signed with the `Credentials` that are handed in. Everything is bounded: connections, bodies, time.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import aiohttp
import msgspec

from core import limits
from core.cause import cause_of
from core.errors import BadSignature, Corrupt, LaneForked, LaneGap, LinkFailed, NotFound, OutOfTime, PlanBError
from core.unreadable import UNREADABLE
from events.record import Record, encode
from replicator.wire import PullHeader, PullRequest, decode_answer, encode_request

T = TypeVar("T")


class Credentials(Protocol):
    """How requests and answers are proven (api/internal_auth.py)."""

    def sign(
        self, to: str, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> Mapping[str, str]:
        """`headers` and what proves them, for one request to the DC `to`."""
        ...

    def check_answer(self, sent: Mapping[str, str], status: int, received: Mapping[str, str], body: bytes) -> None:
        """LinkFailed if the answer was not made for the request with headers `sent`."""
        ...


_ANSWER_BYTES_MAX = limits.PULL_BYTES_MAX + limits.BODY_BYTES_MAX
_CONNECT_S = 3.0
_ERRORS: dict[str, type[PlanBError]] = {kind.code: kind for kind in (BadSignature, LaneForked, LaneGap)}


class ClocksApart(LinkFailed):
    """It refuses what we sign, because our clocks differ by more than a signature may be old."""

    def __init__(self, detail: str = "", *, wall_ms: int = 0) -> None:
        """`wall_ms`: its wall clock, by its signed answer."""
        super().__init__(detail)
        self.wall_ms = wall_ms


class Lacks(LinkFailed):
    """It answers that there is no such thing."""


class PeerLink(Protocol):
    """One peer DC, as a place to pull from."""

    async def pull(self, request: PullRequest) -> tuple[PullHeader, list[Record]]:
        """Safe to repeat. LinkFailed when it can't be reached or refuses; Corrupt when it answers nonsense."""
        ...

    async def tops(self) -> dict[int, tuple[int, bytes]]:
        """lane -> (seq, hash) of every lane's end there. Errors as above."""
        ...


class ReplayTarget(Protocol):
    """Where events become API calls: the local syssvc."""

    async def applied(self) -> dict[int, int]:
        """lane -> seq that is applied. LinkFailed."""
        ...

    async def replay(self, dc: str, records: Sequence[Record]) -> dict[int, int]:
        """Applies a batch of one origin's lanes; lane -> applied seq afterwards. Safe to repeat.

        LinkFailed for whatever may pass; LaneGap, LaneForked, BadSignature when the batch was refused: nothing
        changed.
        """
        ...


class HttpLink:
    """The internal listener of the DC `dc`, a peer's or our own, at `base` ("http://host:port")."""

    def __init__(self, session: aiohttp.ClientSession, dc: str, base: str, credentials: Credentials) -> None:
        self._session = session
        self._dc = dc
        self._base = base.rstrip("/")
        self._credentials = credentials

    async def pull(self, request: PullRequest) -> tuple[PullHeader, list[Record]]:
        """See `PeerLink`."""
        timeout_s = (request.wait_ms + limits.PULL_SLACK_MS) / 1000
        body = await self._call("POST", "/sys/v1/pull", encode_request(request), timeout_s, {})
        return decode_answer(body)

    async def tops(self) -> dict[int, tuple[int, bytes]]:
        """See `PeerLink`."""
        body = await self._call("GET", "/sys/v1/tops", b"", _CONNECT_S, {})
        return _decode(body, _Tops).tops

    async def applied(self) -> dict[int, int]:
        """See `ReplayTarget`."""
        body = await self._call("GET", "/sys/v1/tops", b"", limits.PULL_SLACK_MS / 1000, {})
        return _decode(body, _Tops).applied

    async def replay(self, dc: str, records: Sequence[Record]) -> dict[int, int]:
        """See `ReplayTarget`."""
        body = b"".join(map(encode, records))
        answer = await self._call("POST", "/sys/v1/replay", body, limits.REPLAY_TIMEOUT_MS / 1000, {"dc": dc})
        return _decode(answer, _Replayed).applied

    async def file(self, sha256: str) -> bytes | None:
        """What it has under this hash, unchecked; None where it has nothing. LinkFailed."""
        try:
            return await self._call("GET", f"/sys/v1/files/{sha256}", b"", limits.FILE_FETCH_S_MAX, {})
        except Lacks:
            return None

    async def _call(self, method: str, path: str, body: bytes, timeout_s: float, headers: Mapping[str, str]) -> bytes:
        signed = self._credentials.sign(self._dc, method, path, body, headers)
        try:
            async with self._session.request(
                method,
                self._base + path,
                data=body or None,
                headers={"Content-Type": "application/octet-stream", **signed},
                timeout=aiohttp.ClientTimeout(total=timeout_s, connect=_CONNECT_S),
                allow_redirects=False,
            ) as response:
                answer = await _bounded(response)
                self._credentials.check_answer(signed, response.status, response.headers, answer)
                if response.status != 200:
                    raise _problem(response.status, answer)
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise LinkFailed(f"{self._base} {why(error, timeout_s)}") from error


def why(error: Exception, timeout_s: float) -> str:
    """What went wrong with a call, in words. `timeout_s`: how long was waited."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"does not answer: {cause_of(error)}. Does it run? (planb serve all)"
    if isinstance(error, TimeoutError):
        return f"does not answer: no word in {timeout_s:.0f} s. Is a link cut, or a process frozen?"
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionError):
        return "does not answer: it hung up. Is it a datacenter's port, and does the process run?"
    return f"does not answer: {cause_of(error)}"


class _Tops(msgspec.Struct):
    tops: dict[int, tuple[int, bytes]]
    applied: dict[int, int]


class _Replayed(msgspec.Struct):
    applied: dict[int, int]


class _Problem(msgspec.Struct):
    code: str = ""
    detail: str = ""
    wall_ms: int = 0


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE as error:
        raise Corrupt("not an answer of syssvc", private=str(error)) from error


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The whole body. LinkFailed if it is beyond every bound."""
    parts = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > _ANSWER_BYTES_MAX:
            response.close()
            raise LinkFailed(f"an answer of more than {_ANSWER_BYTES_MAX} bytes")
        parts.append(part)
    return b"".join(parts)


def _problem(status: int, body: bytes) -> PlanBError:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except UNREADABLE:
        problem = _Problem()
    if problem.code == OutOfTime.code:
        return ClocksApart(problem.detail, wall_ms=problem.wall_ms)
    if problem.code == NotFound.code:
        return Lacks(problem.detail, private=f"status {status} {problem.code}")
    kind = _ERRORS.get(problem.code, LinkFailed)
    return kind(problem.detail or f"status {status}", private=f"status {status} {problem.code}")


def open_session() -> aiohttp.ClientSession:
    """A client session with bounded connections; close it."""
    connector = aiohttp.TCPConnector(
        limit=limits.PEER_CONNECTIONS_MAX * (limits.DC_MAX + 1), limit_per_host=limits.PEER_CONNECTIONS_MAX
    )
    return aiohttp.ClientSession(connector=connector, auto_decompress=False)
