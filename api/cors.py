"""Which web pages may call the public listener from a browser: those of the origins that the settings name.

A browser asks before it sends what a form could not (a preflight: OPTIONS, without a token), and shows a page of
another origin only what the answer allows. Nothing here lets anybody in: who calls is told by his token, which no
browser adds by itself. Websockets are not asked about; browsers let any page open them.
"""

from collections.abc import Collection

from aiohttp import web
from aiohttp.typedefs import Middleware

from api.guard import Handler

_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Prefer, X-Clock, X-Cursor",
    "Access-Control-Max-Age": "7200",  # browsers take no more
}
_SHOWN = "Idempotency-Replayed, Preference-Applied, Retry-After, X-Clock"


def cors(origins: Collection[str]) -> list[Middleware]:
    """For the outermost place, so that errors can be read, too. None without origins."""
    if not origins:
        return []
    allowed = frozenset(origins)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin", "")
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if asks and origin in allowed:
            answer: web.StreamResponse = web.Response(status=204, headers=_PREFLIGHT)
        else:
            answer = await handler(request)
        if not answer.prepared:  # the head of a websocket is sent already
            answer.headers.add("Vary", "Origin")
            if origin in allowed:
                answer.headers["Access-Control-Allow-Origin"] = origin
                answer.headers["Access-Control-Expose-Headers"] = _SHOWN
        return answer

    return [middleware]
