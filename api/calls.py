"""What a request says besides its own fields: who calls, what they have seen, under which key.

| header | means |
|---|---|
| Authorization | `Bearer <token>` |
| X-Clock | the last `X-Clock` that the client got, from any DC |
| X-Cursor | the client's cursor: where it stands |
| Idempotency-Key | names the intention, so that it can be repeated |
| Prefer | `durability=local` or `durability=remote` |
"""

import ipaddress
from collections.abc import Mapping

import msgspec
from aiohttp import web

from api.clock_header import HEADER as X_CLOCK
from api.clock_header import ClockHeader
from api.cursors import Cursors
from api.decoding import refused
from api.tokens import Caller, SessionNow, Tokens
from core import ids, limits
from core.action import Position
from core.errors import Forbidden, NotFound, NotYetHere, PlanBError
from core.scheduled import RESERVED
from stores.progress import Progress

_RETRY_AFTER_S = 1.0
NOBODY = Caller("", "", 0)


class Call(msgspec.Struct, frozen=True, gc=False):
    caller: Caller
    position: Position | None
    """From X-Cursor."""
    seen: int
    """From X-Clock; 0 without."""
    key: str
    """"" without one."""
    prefer: str
    """"local", "remote" or ""."""
    address: str = ""
    """Where it comes from, of a call that needs no token."""


class Calls:
    """Reads the headers of requests."""

    def __init__(
        self,
        tokens: Tokens,
        cursors: Cursors,
        clock: ClockHeader,
        progress: Progress,
        proxies: frozenset[str] = frozenset(),
    ) -> None:
        """`proxies`: addresses whose word in X-Forwarded-For is believed."""
        self._proxies = proxies
        self._tokens = tokens
        self._cursors = cursors
        self._clock = clock
        self._progress = progress

    async def enter(self, request: web.Request, *, public: bool = False) -> Call:
        """As `of`, for a request of the framework."""
        call = await self.of(request.headers, public=public)
        return msgspec.structs.replace(call, address=self._address(request)) if public else call

    def _address(self, request: web.Request) -> str:
        """The nearest one that is none of our proxies: whatever stands before it, anybody may have written."""
        address = request.remote or ""
        for named in reversed(request.headers.get("X-Forwarded-For", "").split(",")):
            if address not in self._proxies or not _is_address(named.strip()):
                break
            address = named.strip()
        return address

    async def of(self, headers: Mapping[str, str], *, public: bool = False) -> Call:
        """Raises Unauthenticated (unless `public`), ClockAhead, and Invalid for a header that is not as above.

        `headers` has the names as they are written above."""
        caller = NOBODY if public else await self._tokens.of_header(headers.get("Authorization"))
        return self._call(headers, caller)

    def now(self, headers: Mapping[str, str], session: SessionNow, now_ms: int) -> Call:
        """As `of` at once, or what `session` raises."""
        return self._call(headers, self._tokens.now(headers.get("Authorization"), session, now_ms))

    def _call(self, headers: Mapping[str, str], caller: Caller) -> Call:
        clock = headers.get(X_CLOCK)
        cursor = headers.get("X-Cursor")
        key = headers.get("Idempotency-Key")
        prefer = headers.get("Prefer")
        return Call(
            caller,
            self._cursors.open(cursor, caller.user).position() if cursor is not None else None,
            self._clock.observe(clock) if clock is not None else 0,
            key_of(key) if key is not None else "",
            _durability(prefer) if prefer is not None else "",
        )

    def or_later(self, error: NotFound | Forbidden, call: Call, position: Position | None = None) -> PlanBError:
        """The same error, or 409 where this client has seen more than this DC has applied: the chat, the message, or
        the membership that would allow it may be on its way."""
        known = position or call.position
        if (known is not None and not self._progress.covers(known.v)) or (
            call.seen and not self._progress.covers({ids.lane_of(call.seen): call.seen})
        ):
            return NotYetHere(retry_after_s=_RETRY_AFTER_S)
        return error


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def key_of(text: str) -> str:
    """A checked Idempotency-Key."""
    if not 0 < len(text) <= limits.KEY_CHARS_MAX or not text.isascii() or not text.isprintable() or " " in text:
        raise refused(f"must be 1 to {limits.KEY_CHARS_MAX} visible ASCII characters", "Idempotency-Key")
    if text.startswith(RESERVED):
        raise refused(f"must not begin with {RESERVED}", "Idempotency-Key")
    return text


def _durability(prefer: str) -> str:
    """Other preferences are ignored, and parameters of this one, as RFC 7240 has it."""
    for part in prefer.split(","):
        name, equals, value = part.partition(";")[0].partition("=")
        if name.strip().lower() == "durability" and equals:
            wanted = value.strip().strip('"').lower()
            if wanted not in ("local", "remote"):
                raise refused("durability must be local or remote", "Prefer")
            return wanted
    return ""
