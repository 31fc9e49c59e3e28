"""The fields of a request, from path, query and body, each in its place and none that is unknown."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

from aiohttp import web

from api.decoding import check_text, decode_object, problem, refused
from api.problems import TooSlow
from core import limits
from core.errors import Invalid, TooLarge


async def body_of(request: web.Request, bytes_max: int = limits.REQUEST_BYTES_MAX) -> dict[str, Any]:
    """The JSON object of the body. TooLarge beyond `bytes_max`, TooSlow when it does not arrive in time: a slow sender
    must not keep a place among the requests in flight."""
    return decode_object(await raw_body_of(request, bytes_max))


async def raw_body_of(request: web.Request, bytes_max: int) -> bytes:
    """As it came; b"" for none. Errors as above, and Invalid for one that is compressed."""
    if not request.body_exists:
        return b""
    if "Content-Encoding" in request.headers:
        raise refused("send the body uncompressed", "Content-Encoding")
    if request.content.is_eof() or request.content_length is not None:
        announced(request, bytes_max)
        raw = await _in_time(request.read())
        if len(raw) > bytes_max:
            raise too_large(bytes_max)
        return raw
    return await _in_time(_counted(request, bytes_max))


async def _in_time(reading: Awaitable[bytes]) -> bytes:
    try:
        async with asyncio.timeout(limits.BODY_WAIT_MS_MAX / 1000):
            return await reading
    except TimeoutError as error:
        raise TooSlow from error
    except ConnectionError as error:
        raise Invalid("the body did not arrive whole") from error


def announced(request: web.Request, bytes_max: int) -> int:
    """How many bytes of body a request may bring. TooLarge if it says that they are more than `bytes_max`; one that
    says nothing may bring as many."""
    if not request.body_exists:
        return 0
    length = request.content_length
    if length is None:
        return bytes_max
    if length > bytes_max:
        raise too_large(bytes_max)
    return length


def too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"the body of this call holds at most {bytes_max} bytes")


async def _counted(request: web.Request, bytes_max: int) -> bytes:
    """A body in chunks, which does not say its length."""
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > bytes_max:
            raise too_large(bytes_max)
        parts.append(part)
    return b"".join(parts)


def query_of(request: web.Request, allowed: frozenset[str]) -> dict[str, str]:
    """The query parameters. Invalid names those that are unknown, repeated, or not text."""
    url = request.rel_url
    if not url.raw_query_string:
        return {}
    found: dict[str, str] = {}
    for name, value in url.query.items():
        if name not in allowed:
            raise _unknown(name, "unknown query parameter")
        if name in found:
            raise refused("given twice", name)
        check_text(value, name)
        found[name] = value
    return found


def path_of(request: web.Request) -> Mapping[str, str]:
    """The `{name}` parts of the path, decoded."""
    parts = request.match_info
    for name, value in parts.items():
        check_text(value, name)
    return parts


def merge(body: dict[str, Any], path: Mapping[str, str], query: Mapping[str, str], reserved: frozenset[str]) -> None:
    """Puts path and query into `body`. Invalid if the body holds a field that has its place there."""
    if not reserved.isdisjoint(body):
        name = min(reserved.intersection(body))
        raise _unknown(name, "does not belong in the body")
    body.update(path)
    body.update(query)


def _unknown(name: str, text: str) -> Invalid:
    shown = name[:64].encode("ascii", "replace").decode()
    return Invalid(f"{shown}: {text}", errors=[problem(shown, text)])
