"""Handlers of reads, and the shape of every JSON answer."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pydantic
from aiohttp import web

from api.calls import NOBODY, Calls
from api.clock_header import HEADER as X_CLOCK
from api.clock_header import ClockHeader
from api.fields import body_of, merge, path_of, query_of
from api.operations import Read, place_of_read
from api.problems import of_validation
from api.rates import Kind, Rates
from api.write_routes import Handler
from core.errors import Forbidden, NotFound

_encode = msgspec.json.Encoder().encode


def json_response(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(body=_encode(body), status=status, headers=headers, content_type="application/json")


class ReadRoutes:
    def __init__(self, calls: Calls, clock: ClockHeader, rates: Rates) -> None:
        self._calls = calls
        self._clock = clock
        self._rates = rates

    def handler(self, read: Read) -> Handler:
        place = place_of_read(read)
        reserved = place.path | place.query
        validate = read.Request.model_validate
        body_bytes_max = read.body_bytes_max
        rate = self._rates.of(Kind.WRITES if read.writes else Kind.READS, f"{read.method} {read.path}")

        async def handle(request: web.Request) -> web.Response:
            call = await self._calls.enter(request, public=read.public)
            assert read.public or call.caller is not NOBODY
            if not read.public:  # a login has bounds of its own
                rate.enter(call.caller.user)
            fields = await body_of(request, call.caller.user or call.address, body_bytes_max)
            merge(fields, path_of(request), query_of(request, place.query), reserved)
            try:
                wanted = validate(fields)
            except pydantic.ValidationError as error:
                raise of_validation(error) from error
            try:
                body = await read.answer(call, wanted)
            except (NotFound, Forbidden) as error:
                raise self._calls.or_later(error, call) from error
            return json_response(body, headers={X_CLOCK: self._clock.value(), "Cache-Control": "no-store"})

        return handle
