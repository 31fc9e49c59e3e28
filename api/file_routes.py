"""`POST /v1/files` and `GET /v1/files/{sha256}`: the calls whose bodies are bytes.

A hash is no key to a file. Who has put it may read it, and who may read a message that names it, if the message's
first author has put it: to write somebody else's hash into a message of one's own opens nothing.
"""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from api.attempts import Attempts, loop_s
from api.calls import Call, Calls
from api.clock_header import HEADER as X_CLOCK
from api.clock_header import ClockHeader
from api.decoding import refused
from api.fields import query_of, raw_body_of
from api.files import Files, hash_of
from api.guard import Handler
from api.places import PLACE
from api.rates import Kind, Rates
from api.write_routes import WriteRoutes
from api.writes import Writes, validated
from core import limits
from core.action import Action, FileView
from core.actions.conversations import shown_to
from core.actions.fields import is_id, is_sha256
from core.errors import Forbidden, NotFound, TooMany
from stores.view import StoreView

PUT, GET = ("POST", "/v1/files"), ("GET", "/v1/files/{sha256}")
_MIB = 1 << 20
_DAY_S = 86_400
_BYTES = {
    "Content-Type": "application/octet-stream",  # never what its sender says: a browser would show a page of it
    "Content-Disposition": "attachment",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "no-store",
    "Accept-Ranges": "bytes",
}


class FileRoutes:
    def __init__(
        self,
        put: type[Action],
        files: Files,
        view: StoreView,
        writes: Writes,
        routes: WriteRoutes,
        calls: Calls,
        clock: ClockHeader,
        rates: Rates,
    ) -> None:
        self._put = put
        self._files = files
        self._view = view
        self._writes = writes
        self._routes = routes
        self._calls = calls
        self._clock = clock
        self._puts = rates.of(Kind.WRITES, " ".join(PUT))
        self._gets = rates.of(Kind.READS, " ".join(GET))
        daily = limits.FILES_MIB_OF_USER_DAY
        self._daily = Attempts(daily, _DAY_S / daily, limits.RATE_USERS_MAX, loop_s)

    def handlers(self) -> Mapping[tuple[str, str], tuple[Handler, int]]:
        """With the bounds of their bodies."""
        return {PUT: (self._keep, limits.FILE_BYTES_MAX), GET: (self._give, limits.REQUEST_BYTES_MAX)}

    async def _keep(self, request: web.Request) -> web.StreamResponse:
        call = await self._calls.enter(request)
        user = call.caller.user
        self._puts.enter(user)
        fields = dict(query_of(request, frozenset(("name", "sha256"))))
        claimed = fields.pop("sha256", None)
        if "Content-Type" in request.headers:
            fields["type"] = request.headers["Content-Type"].partition(";")[0].strip().lower()
        validated(self._put, {"sha256": claimed or "0" * 64, "bytes": 0, **fields})  # before anything of it is read
        size = request.content_length or 0
        if wait_s := self._daily.admit(user, max(1, -(-min(size, limits.FILE_BYTES_MAX) // _MIB))):
            most = limits.FILES_MIB_OF_USER_DAY
            raise TooMany(f"one user's files are taken up to {most} MiB a day", retry_after_s=wait_s)
        if request.body_exists and request.content_length is None:
            raise refused("send the file with its length", "Content-Length")
        data = await raw_body_of(request, user, limits.FILE_BYTES_MAX, limits.FILE_WAIT_MS_MAX)
        sha256 = hash_of(data)
        if claimed not in (None, sha256):
            raise refused("the bytes that came have another hash", "sha256")
        await self._files.put(sha256, data)
        fields |= {"sha256": sha256, "bytes": len(data)}  # type: ignore[dict-item]
        answer = await self._writes.submit(self._put, fields, call.caller, call.key, call.prefer)
        return self._routes.answer(answer, call)

    async def _give(self, request: web.Request) -> web.StreamResponse:
        call = await self._calls.enter(request)
        self._gets.enter(call.caller.user)
        sha256, message = request.match_info["sha256"], query_of(request, frozenset(("message",))).get("message")
        if not is_sha256(sha256):
            raise refused("must be a SHA-256 in hex", "sha256")
        if message is not None and not is_id(message):
            raise refused("must be a message id", "message")
        try:
            kept = await self._readable(call, sha256, message)
            data = await self._files.get(sha256, kept.made)
        except (NotFound, Forbidden) as error:
            raise self._calls.or_later(error, call) from error
        request[PLACE].hold(len(data), call.caller.user)  # until the client has it
        return await self._sent(request, data)

    async def _readable(self, call: Call, sha256: str, message: str | None) -> FileView:
        """Who has put it: the caller, or the first author of a message that names it and that he may read."""
        author = call.caller.user
        if message is not None:
            found = await shown_to(self._view, author, int(message))
            if found.recalled or (found.content or {}).get("sha256") != sha256:
                raise NotFound(f"the message {message} names no such file")
            author = found.forwarded[0] if found.forwarded else found.sender
        kept = await self._view.file(sha256, author)
        if kept is None:
            raise NotFound("there is no such file of yours" if message is None else "its author has not put it here")
        return kept

    async def _sent(self, request: web.Request, data: bytes) -> web.StreamResponse:
        part, status = _part(request, len(data))
        answer = web.StreamResponse(status=status, headers=_BYTES | {X_CLOCK: self._clock.value()})
        answer.content_length = part.stop - part.start
        if status == 206:
            answer.headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{len(data)}"
        await answer.prepare(request)
        try:
            async with asyncio.timeout(limits.FILE_WAIT_MS_MAX / 1000):
                await answer.write(data[part.start : part.stop])
                await answer.write_eof()
        except (TimeoutError, ConnectionError):
            answer.force_close()
            if request.transport is not None:
                request.transport.abort()
        return answer


def _part(request: web.Request, size: int) -> tuple[slice, int]:
    """What of it is asked for: one range; anything else is answered whole, as RFC 9110 allows."""
    try:
        asked = request.http_range
        start, stop, _ = asked.indices(size)
    except ValueError:
        return slice(0, size), 200
    whole = (asked.start, asked.stop) == (None, None)
    return (slice(0, size), 200) if whole or start >= stop else (slice(start, stop), 206)
