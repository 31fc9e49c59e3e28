"""The websocket: hello, frames, and why it ended. Receive only."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from planb_sdk.errors import ApiError, Replaced, Unauthenticated
from planb_sdk.model import Position
from planb_sdk.transport import Transport

Json = dict[str, Any]
REVOKED, REFUSED, UNAUTHENTICATED, EXPIRED, REPLACED = 4003, 4400, 4401, 4402, 4409
OPEN_S = 10.0
FRAME_BYTES_MAX = 16_777_216


class Ended(Exception):
    """The stream is over; what was missed is found by the next one."""

    def __init__(self, detail: str, failed: bool) -> None:
        super().__init__(detail)
        self.failed = failed
        """As if the region were not there; otherwise it is there and wants us to come again."""


class Stream:
    """One connection to the present region."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self.region = ""

    async def frames(self, cursor: str, at: Position) -> AsyncGenerator[Json, None]:
        """The server's frames, its hello first. Raises Ended; Unauthenticated when the session is over,
        ApiError when the hello is refused, and Replaced when a newer stream of the session took its place."""
        token = await self._transport.tokens.fresh()
        self.region = region = self._transport.region
        try:
            async with asyncio.timeout(OPEN_S):
                self._socket = socket = await self._transport.session.ws_connect(
                    region + "/v1/stream", max_msg_size=FRAME_BYTES_MAX, autoclose=True
                )
                hello = {"type": "hello", "token": token, "cursor": cursor, "at": at.shown()}
                await socket.send_str(json.dumps(hello))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Ended(f"{region}: {error or type(error).__name__}", failed=True) from error
        try:
            if self._transport.closed or self._transport.region != region:  # nobody could interrupt it until now
                raise Ended("the client went elsewhere", failed=False)
            silence_s = OPEN_S
            while True:
                frame = await self._next(socket, silence_s, token)
                if frame["type"] == "hello":
                    silence_s = max(1.0, frame["heartbeat_s"] * self._transport.options.silent_beats)
                yield frame
        finally:
            self._socket = None
            await socket.close()

    async def _next(self, socket: aiohttp.ClientWebSocketResponse, silence_s: float, token: str) -> Json:
        try:
            message = await socket.receive(timeout=silence_s)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise Ended("the stream fell silent", failed=True) from error
        if message.type is aiohttp.WSMsgType.TEXT:
            frame: Json = json.loads(message.data)
            return frame
        # The frame's own code: the socket's is 1006 when the server was gone before our answer to it.
        code = message.data if message.type is aiohttp.WSMsgType.CLOSE else socket.close_code
        reason = message.extra if isinstance(message.extra, str) else ""
        if code in (REVOKED, UNAUTHENTICATED):
            raise Unauthenticated(401, {"code": "unauthenticated", "detail": reason})
        if code == EXPIRED:
            if await self._transport.tokens.renew(token):
                raise Ended("the token has expired, and was refreshed", failed=False)
            raise Unauthenticated(401, {"code": "token_expired", "detail": reason})
        if code == REFUSED:  # coming again with the same hello would change nothing
            raise ApiError(400, {"code": "invalid", "detail": f"the stream was refused: {reason}"})
        if code == REPLACED:  # each would take the other's place, without end
            raise Replaced(429, {"code": "too_many_requests", "detail": reason})
        # Other 4xxx: the server is well and said why; everything else looks like a server that went away.
        raise Ended(f"closed: {code} {reason}", failed=code is None or code < 4000)

    async def interrupt(self) -> None:
        """Ends the connection from outside, because the region changed."""
        if self._socket is not None:
            await self._socket.close()
