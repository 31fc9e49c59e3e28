"""The fields of a request, from path, query and body, each in its place and none that is unknown."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from api.decoding import check_text, decode_object, problem, refused
from api.places import PLACE, Place
from api.problems import TooSlow
from core import limits
from core.errors import Invalid, TooLarge

BODY: web.RequestKey[bytes] = web.RequestKey("body", bytes)
"""A body that was read."""


async def body_of(request: web.Request, who: str, bytes_max: int = limits.REQUEST_BYTES_MAX) -> dict[str, Any]:
    """The JSON object of the body, which counts in the share of `who`. Errors as below."""
    return decode_object(await raw_body_of(request, who, bytes_max))


async def raw_body_of(request: web.Request, who: str, bytes_max: int, wait_ms: int = limits.BODY_WAIT_MS_MAX) -> bytes:
    """As it came; b"" for none. TooLarge beyond `bytes_max`, TooSlow when it does not arrive in time, Overloaded when
    too much has come for all or for `who`, Invalid for one that is compressed or cut off."""
    if not request.body_exists:
        return b""
    if BODY in request:
        return request[BODY]
    if "Content-Encoding" in request.headers:
        raise refused("send the body uncompressed", "Content-Encoding")
    check_announced(request, bytes_max)
    place = request[PLACE]
    if request.content.is_eof():
        request[BODY] = await _counted(request, place, who, bytes_max)
        return request[BODY]
    with place.left():
        try:
            async with asyncio.timeout(wait_ms / 1000):
                request[BODY] = await _counted(request, place, who, bytes_max)
        except TimeoutError as error:
            raise TooSlow from error
    place.enter()
    return request[BODY]


def check_announced(request: web.Request, bytes_max: int) -> None:
    """TooLarge for a body that says that it is greater; one that says nothing is counted while it comes."""
    if request.body_exists and (request.content_length or 0) > bytes_max:
        raise too_large(bytes_max)


def too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"the body of this call holds at most {bytes_max} bytes")


async def _counted(request: web.Request, place: Place, who: str, bytes_max: int) -> bytes:
    """What is held is what counts: a length is a word, and costs whoever says it nothing."""
    body = bytearray()
    try:
        async for part in request.content.iter_any():
            if len(body) + len(part) > bytes_max:
                raise too_large(bytes_max)
            place.hold(len(part), who)
            body += part
    except OSError as error:  # the client has gone: not even a body that has come whole is given out any more
        raise Invalid("the body did not arrive whole") from error
    return bytes(body)


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
