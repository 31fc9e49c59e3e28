"""A real S3 server for tests, and a proxy in front of it on which the day is bad."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from deploy.local.seaweedfs import REGION, SeaweedFS
from stores.adapters.s3_calls import S3Place
from tests.support.servers import needs

BUCKET = "planb-test"
_prefixes = itertools.count()


@contextlib.contextmanager
def seaweedfs_at(folder: Path) -> Iterator[SeaweedFS]:
    """One with BUCKET."""
    needs("seaweedfs")
    server = SeaweedFS(folder)
    try:
        asyncio.run(server.start(BUCKET))
        yield server
    finally:
        server.kill()


def credentials_of(server: SeaweedFS, folder: Path) -> Path:
    """A file of them, as AWS's tools write it."""
    path = folder / "credentials"
    key, secret = server.credentials
    path.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    return path


def fresh_place(server: SeaweedFS, folder: Path, url: str = "") -> S3Place:
    """Where nobody has been."""
    return S3Place(
        BUCKET,
        f"test-{next(_prefixes)}-{os.getpid()}",
        endpoint_url=url or server.url,
        region=REGION,
        addressing="path",
        credentials_file=credentials_of(server, folder),
    )


# -- a bad day

Matches = Callable[[str, str], bool]
"""(method, path with query) of a request."""


@dataclass
class Fault:
    """What happens to the next `times` requests that match."""

    matches: Matches
    status: int = 0
    """Answered so, with `code`, and not passed on."""
    code: str = "InternalError"
    cut: bool = False
    """Not passed on, and the connection is cut."""
    lost: bool = False
    """Passed on, and its answer is not given back."""
    hangs: bool = False
    """Neither: nothing happens until the proxy ends."""
    short: int = -1
    """So many bytes of the answer's body are given back, then the connection is cut."""
    drip_s: float = 0.0
    """Each byte of the answer's body takes so long."""
    flips: str = ""
    """One bit of the body of the "request" or of the "answer"."""
    times: int = 1
    then: Callable[[], None] | None = None
    """Called when it has happened."""


@dataclass
class Proxy:
    """Passes requests on to `upstream` as they are (the signature holds: it keeps their Host)."""

    upstream: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    """(method, path with query) of every request."""
    port: int = 0
    _runner: web.AppRunner | None = None
    _session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self._runner = web.AppRunner(app, auto_decompress=False, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def close(self) -> None:
        """Refuses connections from here on; `open` takes the same port."""
        if self._runner is not None and self._session is not None:
            await self._runner.cleanup()
            await self._session.close()
            self._runner = self._session = None

    def on(self, method: str, part: str, **fault: object) -> Fault:
        """A fault for requests of this method whose path contains `part`."""
        added = Fault(lambda found, path: found == method and part in path, **fault)  # type: ignore[arg-type]
        self.faults.append(added)
        return added

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.raw_path))
        body = await request.read()
        fault = self._next(request)
        if fault is None:
            return await self._pass(request, body, None)
        try:
            return await self._fail(request, body, fault)
        finally:
            if fault.then is not None:
                fault.then()

    def _next(self, request: web.Request) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.matches(request.method, request.raw_path):
                fault.times -= 1
                return fault
        return None

    async def _fail(self, request: web.Request, body: bytes, fault: Fault) -> web.StreamResponse:
        if fault.status:
            text = f"<Error><Code>{fault.code}</Code><Message>as the test says</Message></Error>"
            return web.Response(status=fault.status, text=text, content_type="application/xml")
        if fault.hangs:
            await asyncio.Event().wait()
        if fault.cut:
            return self._cut(request)
        if fault.lost:
            async with self._asked(request, body) as answer:
                await answer.read()
            return self._cut(request)
        return await self._pass(request, flipped(body) if fault.flips == "request" else body, fault)

    async def _pass(self, request: web.Request, body: bytes, fault: Fault | None) -> web.StreamResponse:
        async with self._asked(request, body) as answer:
            data = await answer.read()
            headers = CIMultiDict(answer.headers)
            headers.popall("Transfer-Encoding", None)
            headers.popall("Connection", None)
            if request.method != "HEAD" and answer.status != 204:
                headers["Content-Length"] = str(len(data))
            given = web.StreamResponse(status=answer.status, headers=headers)
            await given.prepare(request)
            if fault is not None and fault.flips == "answer":
                data = flipped(data)
            if fault is not None and fault.short >= 0:
                await given.write(data[: fault.short])
                return self._cut(request)
            if fault is not None and fault.drip_s:
                for at in range(len(data)):
                    await asyncio.sleep(fault.drip_s)
                    await given.write(data[at : at + 1])
            elif data:
                await given.write(data)
            return given

    @contextlib.asynccontextmanager
    async def _asked(self, request: web.Request, body: bytes) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None
        headers = CIMultiDict(request.headers)
        headers.popall("Expect", None)
        url = URL(self.upstream + request.raw_path, encoded=True)
        skip = ("Content-Type", "Accept", "Accept-Encoding", "User-Agent")
        async with self._session.request(
            request.method, url, data=body, headers=headers, skip_auto_headers=skip, allow_redirects=False
        ) as answer:
            yield answer

    def _cut(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


def flipped(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[len(changed) // 2] ^= 0x10
    return bytes(changed)


@contextlib.asynccontextmanager
async def proxied(server: SeaweedFS) -> AsyncIterator[Proxy]:
    proxy = Proxy(server.url)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
