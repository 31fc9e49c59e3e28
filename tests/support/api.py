"""DCs with their public listener, for tests: memory adapters, real HTTP on loopback."""

import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from aiohttp.test_utils import TestClient, TestServer

from api.app import PARTS, PublicDeps, PublicParts, create_public_app
from api.clock_header import ClockHeader
from api.files import Files
from core.system import entropy, wall_clock_ms
from stores.adapters.memory_objects import MemoryObjects
from tests.support.conformance import Conformance
from tests.support.dc import ACTIONS, OneDc
from tests.support.routes import DOCUMENT

KEY = b"a key that all datacenters share"
FAR_MS = wall_clock_ms() + 86_400_000


@functools.cache
def conformance() -> Conformance:
    """One for all tests: to be made takes longer than most of them."""
    return Conformance(DOCUMENT)


class Remote:
    """Other DCs, as the test says: `holds` is what every wait answers."""

    def __init__(self) -> None:
        self.holds = False
        self.waits: list[tuple[int, int]] = []

    async def wait(self, lane: int, seq: int, timeout_s: float) -> bool:
        self.waits.append((lane, seq))
        return self.holds


class Reply(NamedTuple):
    status: int
    body: dict[str, Any]
    headers: Any

    @property
    def code(self) -> str:
        return str(self.body.get("code", ""))

    @property
    def fields(self) -> list[str]:
        """The fields that a problem names."""
        return [error["field"] for error in self.body.get("errors", [])]


class ApiDc:
    """One DC with its public listener. `user(...)` gives a client of it."""

    def __init__(self, dc: OneDc, **deps: Any) -> None:
        self.dc = dc
        self.remote = Remote()
        self.links: dict[str, Any] = {}
        """Other datacenters, as places to fetch files from."""
        self.files = Files(MemoryObjects(), self.links, {1: "fra", 2: "ams"})
        self.app = create_public_app(
            PublicDeps(
                dc=dc.name,
                key=KEY,
                actions=ACTIONS,
                lane_writer=dc.writer,
                view=dc.view,
                hot=dc.hot,
                files=self.files,
                progress=dc.applier.progress,
                clock=dc.clock,
                epoch=lambda: dc.applier.epoch,
                remote=self.remote,
                wall=wall_clock_ms,
                entropy=entropy,
                **deps,
            )
        )
        self.http = TestClient(TestServer(self.app))
        self.conformance = conformance()

    @property
    def parts(self) -> PublicParts:
        return self.app[PARTS]

    def x_clock(self, id: int) -> str:
        """An X-Clock header that some DC may have answered."""
        return ClockHeader(KEY, self.dc.clock, wall_clock_ms, self.dc.applier.progress)._seal((id, id))

    async def sign_up(self, *users: str, passwords: bool = False) -> None:
        """Passwords take their time: only for tests that log in ("password of U…")."""
        for user in users:
            fields = {"password": f"password of {user}"} if passwords else {}
            await self.dc.do("user.upsert", "sys", user=user, name=user[1:].title(), **fields)

    def user(self, user: str, session: str = "", expires_ms: int = FAR_MS) -> "User":
        """A client with a token, whether or not the session's row is here."""
        return User(self, user, self.parts.tokens.issue(session or f"s{abs(hash(user)) % 10**6}", user, expires_ms))


class User:
    def __init__(self, at: ApiDc, user: str, token: str) -> None:
        self.at = at
        self.user = user
        self.token = token

    async def call(
        self, method: str, path: str, body: Any = None, *, data: bytes | None = None, **headers: str | None
    ) -> Reply:
        """Header names with `_` for `-`; None leaves one out."""
        sent = {"Authorization": f"Bearer {self.token}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        more: dict[str, Any] = {"data": data} if data is not None else {"json": body} if body is not None else {}
        present = {name: value for name, value in sent.items() if value is not None}
        async with self.at.http.request(method, path, headers=present, **more) as answer:
            found = await answer.json(content_type=None) if "json" in answer.content_type else {}
            self.at.conformance.check(method, path, answer.status, answer.headers, found)
            return Reply(answer.status, found, answer.headers)

    async def get(self, path: str, **headers: str | None) -> Reply:
        return await self.call("GET", path, **headers)

    async def post(self, path: str, body: Any = None, **headers: str | None) -> Reply:
        return await self.call("POST", path, {} if body is None else body, **headers)

    async def ok(self, method: str, path: str, body: Any = None, **headers: str | None) -> dict[str, Any]:
        reply = await self.call(method, path, body, **headers)
        assert reply.status == 200, reply
        return reply.body

    async def send(self, to: str, text: str, **headers: str | None) -> str:
        """The id of the message."""
        return str((await self.ok("POST", "/v1/messages", {"to": to, "text": text}, **headers))["id"])

    async def updates(self, cursor: str, limit: int = 100) -> tuple[list[dict[str, Any]], str]:
        """Everything after the cursor, over all pages, and the cursor then."""
        found = []
        while True:
            page = await self.ok("POST", "/v1/updates", {"cursor": cursor, "limit": limit})
            assert not page["reset"], "unexpected reset"
            found += page["updates"]
            cursor = page["cursor"]
            if not page["more"]:
                return found, cursor


@contextlib.asynccontextmanager
async def api_dc(dc: OneDc | None = None, **deps: Any) -> AsyncIterator[ApiDc]:
    """A started DC with its listener; both are stopped at the end."""
    dc = dc or OneDc()
    await dc.start()
    api = ApiDc(dc, **deps)
    await api.http.start_server()
    try:
        yield api
    finally:
        await api.http.close()
        await dc.stop()
