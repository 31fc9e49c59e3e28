"""The write primitives of the internal listener, by the same code as the public ones. The caller is the customer's own
system, proven by its signature; the events say "sys"."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from api.calls import Call, Calls
from api.clock_header import ClockHeader
from api.cursors import Cursors
from api.rates import UNLIMITED
from api.tokens import Caller, Tokens
from api.write_routes import WriteRoutes
from api.writes import Answer, Writes, validated
from core.action import Action

SYSTEM = Caller("sys", "", 0)


class SysCalls(Calls):
    """Who calls was settled by the listener's middleware; the other headers are those of the public listener."""

    async def enter(self, request: web.Request, *, public: bool = False) -> Call:
        """As `Calls.enter`, for the customer's own system."""
        return replace(await super().enter(request, public=True), caller=SYSTEM)


class SysWriteRoutes(WriteRoutes):
    """Adds tokens to the answer that opens a session: they are made from the row, also for a retry, never stored."""

    def __init__(self, writes: Writes, calls: SysCalls, cursors: Cursors, clock: ClockHeader, tokens: Tokens) -> None:
        super().__init__(writes, calls, cursors, clock, UNLIMITED)
        self._tokens = tokens
        self._system_writes = writes

    async def would_write(self, action: type[Action], fields: Mapping[str, Any]) -> Any:
        """The `Args` that this write would have now; refused as it would be. Nothing is written."""
        request = validated(action, fields)
        return await self._system_writes.resolve(action, request, SYSTEM, "", bytes(8), None)

    def answer(self, answer: Answer, call: Call) -> web.Response:
        """The JSON answer."""
        body = answer.body
        if "expires_ms" in body:
            tokens = self._tokens.first(body["session"], body["user"], body["expires_ms"])
            answer = replace(answer, body={**body, **tokens})
        return super().answer(answer, call)
