"""A region as a client sees it, small and full of scripted faults: a real aiohttp server on loopback.

It keeps the promises of docs/client-protocol.md and docs/websocket.md for one user's own list: keys are idempotent,
cursors carry V, pts count within an epoch. `faults` are used up by the next requests, in order.
"""

import asyncio
import base64
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Json = dict[str, Any]


@dataclass
class Fault:
    """What happens to one request to `path` (a prefix)."""

    kind: str
    """"lost" before it is handled, "answer_lost" after it, "late" by `seconds`, or "refused" with `status`."""
    path: str = "/v1/messages"
    status: int = 503
    code: str = "unavailable"
    retry_after: str = ""
    seconds: float = 0.0


@dataclass
class Request:
    path: str
    key: str
    clock: str
    body: Json


def clock_of(id: int) -> str:
    return f"PX1.{base64.urlsafe_b64encode(id.to_bytes(8)).rstrip(b'=').decode()}.mac"


@dataclass
class FakeRegion:
    dc: str
    lane: int
    epoch: int = 1
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)
    """key -> event, as applied here."""
    v: dict[int, int] = field(default_factory=dict)
    fed: list[Json] = field(default_factory=list)
    """The user's updates; pts is the place, from 1."""
    trimmed: bool = False
    """Something that no client has had is gone."""
    dialogs: list[Json] = field(default_factory=list)
    pages: deque[tuple[list[Json], str | None]] = field(default_factory=deque)
    """Pages of dialogs and their `after` for the next requests, instead of `dialogs`."""
    page: int = 100
    heartbeat_s: float = 20
    revoked: bool = False
    hellos: list[Json] = field(default_factory=list)
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    ticks: int = 0

    async def start(self) -> str:
        app = web.Application(middlewares=[self._faulty])
        app.router.add_post("/v1/messages", self._send)
        app.router.add_post("/v1/messages/batch", self._batch)
        app.router.add_get("/v1/state", self._state)
        app.router.add_get("/v1/dialogs", self._dialogs)
        app.router.add_get("/v1/dialogs/{peer}/messages", self._history)
        app.router.add_get("/v1/dialogs/{peer}/mentions", self._mentions)
        app.router.add_post("/v1/dialogs/{peer}/read", self._read)
        app.router.add_post("/v1/updates", self._updates)
        app.router.add_get("/v1/stream", self._stream)
        self.server = TestServer(app)
        await self.server.start_server()
        return self.url

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    async def stop(self) -> None:
        await self.drop()
        await self.server.close()

    # -- what a test does to it

    def happen(self, key: str = "", sender: str = "Ubob", text: str = "hi", id: int = 0) -> Json:
        """An event is applied here and fed to the user."""
        event = id or self.new_id()
        self.v[event & 0xFFFF] = max(event, self.v.get(event & 0xFFFF, 0))
        message = {
            "id": str(event),
            "conversation": "D1",
            "from": sender,
            "key": key or f"k{event}",
            "class": f"{sender} {key or event}",
            "text": text,
            "edited": None,
            "recalled": False,
            "reactions": {},
            "reply_to": None,
            "system": False,
        }
        self.fed.append({"event": str(event), "type": "message", "message": message})
        return self.item(len(self.fed))

    def item(self, pts: int) -> Json:
        return {"pts": pts, "update": self.fed[pts - 1]}

    def new_id(self) -> int:
        self.ticks += 1
        return self.ticks << 16 | self.lane

    async def say(self, *items: Json) -> None:
        """Over the stream, to everybody who listens."""
        await self.tell({"type": "updates", "updates": list(items)})

    async def tell(self, frame: Json) -> None:
        for socket in self.sockets:
            await socket.send_json(frame)

    async def drop(self, code: int = 1001, reason: str = "") -> None:
        for socket in list(self.sockets):
            await socket.close(code=code, message=reason.encode())

    def forget(self) -> None:
        """Burnt and rebuilt: what was not elsewhere is gone, and pts count anew."""
        self.keys.clear()
        self.v.clear()
        self.fed.clear()
        self.epoch += 1

    def keys_of(self, path: str) -> list[str]:
        """The keys under which this path was asked, in order."""
        return [request.key for request in self.requests if request.path == path]

    # -- how it answers

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        body = json.loads(await request.read() or b"{}")
        headers = request.headers
        self.requests.append(
            Request(request.path, headers.get("Idempotency-Key", ""), headers.get("X-Clock", ""), body)
        )
        fault = next((one for one in self.faults if request.path.startswith(one.path)), None)
        if fault is None:
            return await handler(request)  # type: ignore[no-any-return]
        self.faults.remove(fault)
        if fault.kind == "refused":
            answer_headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return web.json_response({"code": fault.code}, status=fault.status, headers=answer_headers)
        if fault.kind == "late":
            await asyncio.sleep(fault.seconds)
            return await handler(request)  # type: ignore[no-any-return]
        if fault.kind == "answer_lost":
            await handler(request)
        assert request.transport is not None
        request.transport.close()
        raise asyncio.CancelledError

    def _answer(self, body: Json) -> web.Response:
        return web.json_response(body, headers={"X-Clock": clock_of(max(self.v.values(), default=0))})

    def _apply(self, key: str, text: str) -> int:
        if key not in self.keys:
            self.keys[key] = int(self.happen(key, "Uada", text)["update"]["event"])
        return self.keys[key]

    async def _send(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        id = self._apply(request.headers["Idempotency-Key"], body["text"])
        return self._answer({"id": str(id), "conversation": "D1"})

    async def _batch(self, request: web.Request) -> web.Response:
        results = []
        for one in json.loads(await request.read())["messages"]:
            fault = next((fault for fault in self.faults if fault.path == f"text:{one['text']}"), None)
            if fault is not None:
                self.faults.remove(fault)
                results.append({"problem": {"code": fault.code, "status": fault.status}})
            else:
                id = self._apply(one["key"], one["text"])
                results.append({"id": str(id), "conversation": "D1", "durability": "local"})
        return self._answer({"results": results})

    def _place(self, pts: int, v: dict[int, int]) -> Json:
        cursor = json.dumps({"dc": self.dc, "epoch": self.epoch, "pts": pts, "v": v})
        return {"cursor": cursor, "position": {"dc": self.dc, "epoch": self.epoch, "pts": pts, "channels": {}}}

    async def _state(self, request: web.Request) -> web.Response:
        return self._answer({"user": "Uada", **self._place(len(self.fed), self.v)})

    async def _dialogs(self, request: web.Request) -> web.Response:
        entries, after = self.pages.popleft() if self.pages else (self.dialogs, None)
        return self._answer({"dialogs": entries, "after": after, **self._place(len(self.fed), self.v)})

    async def _history(self, request: web.Request) -> web.Response:
        messages = [one["message"] for one in self.fed]
        return self._answer(
            {"conversation": "D1", "messages": messages, "replies": {}, "next_before": None, "next_after": None}
        )

    async def _mentions(self, request: web.Request) -> web.Response:
        return self._answer({"conversation": "D1", "messages": [], "count": 0, "more": False, "next_after": None})

    async def _read(self, request: web.Request) -> web.Response:
        assert json.loads((await request.json())["cursor"])["dc"] == self.dc
        return self._answer({"id": str(self.new_id())})

    async def _updates(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        uncovered = [id for id in body.get("kept", []) if int(id) > self.v.get(int(id) & 0xFFFF, 0)]
        rest: Json = {"uncovered": uncovered, "reset": False, "more": False}
        if "cursor" not in body or self.trimmed:
            self.trimmed = False
            return self._answer({"updates": [], **self._place(len(self.fed), self.v), **rest, "reset": True})
        old = json.loads(body["cursor"])
        here = (old["dc"], old["epoch"]) == (self.dc, self.epoch)
        after = old["pts"] if here else 0
        at = body.get("at")
        if here and at and (at["dc"], at["epoch"]) == (self.dc, self.epoch):
            after = max(after, at["pts"])
        seen = {int(lane): id for lane, id in old["v"].items()}
        beyond = not here or "scan" in old
        items = [
            self.item(pts)
            for pts in range(after + 1, len(self.fed) + 1)
            if not beyond or (event := int(self.fed[pts - 1]["event"])) > seen.get(event & 0xFFFF, 0)
        ]
        more = len(items) > self.page
        reached = items[self.page - 1]["pts"] if more else len(self.fed)
        place = self._place(reached, old["v"] if more else self.v)
        if more and beyond:
            place["cursor"] = json.dumps(json.loads(place["cursor"]) | {"scan": True})
        return self._answer({"updates": items[: self.page], **place, **rest, "more": more})

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        hello = json.loads((await socket.receive()).data)
        self.hellos.append(hello)
        if self.revoked:
            await socket.close(code=4003, message=b"the session was revoked")
            return socket
        here = {"dc": self.dc, "epoch": self.epoch}
        place = {"pts": len(self.fed), "channels": {}, "heartbeat_s": self.heartbeat_s}
        await socket.send_json({"type": "hello", **here, **place})
        at = hello["at"]
        if (at["dc"], at["epoch"]) != (self.dc, self.epoch):
            reason = "epoch" if at["dc"] == self.dc else "other_dc"
            await socket.send_json({"type": "resume", "reason": reason, **here})
        elif at["pts"] < len(self.fed):
            items = [self.item(pts) for pts in range(at["pts"] + 1, len(self.fed) + 1)]
            await socket.send_json({"type": "updates", "updates": items})
        self.sockets.append(socket)
        try:
            async for _ in socket:
                pass
        finally:
            self.sockets.remove(socket)
        return socket
