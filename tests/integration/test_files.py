"""Files over HTTP: who reads them, what comes of their bytes, and where they are when a datacenter has lost them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest

from api.files import Files, hash_of
from core import limits
from core.errors import LinkFailed, NotFound
from tests.integration.test_own_account import Two
from tests.support.api import Reply, User, api_dc
from tests.support.dc import OneDc
from tests.support.replicated import World

PAGE = b"<html><script>alert(1)</script>" + bytes(range(256))


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    async with contextlib.AsyncExitStack() as stack:
        fra = await stack.enter_async_context(api_dc(OneDc("fra", 1)))
        ams = await stack.enter_async_context(api_dc(OneDc("ams", 2)))
        made = Two(fra, ams)
        for one, other in ((fra, ams), (ams, fra)):
            one.links[other.dc.name] = Direct(other.files)
        await fra.sign_up("Uada", "Ugrace", "Ulinus")
        await made.settle()
        yield made


class Direct:
    """A link that may be cut."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.cut = False
        self.asked = 0

    async def file(self, sha256: str) -> bytes | None:
        self.asked += 1
        if self.cut:
            raise LinkFailed("cut")
        return await self.files.held(sha256)


class Got(NamedTuple):
    status: int
    data: bytes
    headers: Any


async def put(user: User, data: bytes = PAGE, query: str = "", kind: str = "text/html", **headers: str) -> Reply:
    return await user.call("POST", f"/v1/files{query}", data=data, Content_Type=kind, **headers)


async def got(user: User, sha256: str, message: str = "", **headers: str) -> Got:
    path = f"/v1/files/{sha256}" + (f"?message={message}" if message else "")
    sent = {"Authorization": f"Bearer {user.token}", **headers}
    async with user.at.http.request("GET", path, headers=sent) as answer:
        data = await answer.read()
        user.at.conformance.check(
            "GET", path, answer.status, answer.headers, await answer.json() if b"code" in data else data
        )
        return Got(answer.status, data, answer.headers)


async def named(user: User, to: str, sha256: str, **more: Any) -> str:
    body = {"to": to, "content": {"kind": "file", "sha256": sha256}} | more
    return str((await user.ok("POST", "/v1/messages", body))["id"])


async def test_what_was_put_is_given_back_as_bytes_that_no_browser_shows(two: Two) -> None:
    ada = two.fra.user("Uada")
    made = await put(ada, query="?name=lunch.html")
    sha256 = hash_of(PAGE)
    assert (made.status, made.body["sha256"], made.body["bytes"]) == (200, sha256, len(PAGE))
    assert (made.body["name"], made.body["type"]) == ("lunch.html", "text/html")
    found = await got(ada, sha256)
    assert (found.status, found.data) == (200, PAGE)
    assert found.headers["Content-Type"] == "application/octet-stream"
    assert found.headers["Content-Disposition"] == "attachment"
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    part = await got(ada, sha256, Range="bytes=6-11")
    assert (part.status, part.data) == (206, PAGE[6:12])
    assert part.headers["Content-Range"] == f"bytes 6-11/{len(PAGE)}"
    assert (await got(ada, sha256, Range="bytes=-3")).data == PAGE[-3:]
    for odd in ("bytes=9-6", "bytes=99999-", "lines=1-2", "bytes=0-1,3-4"):
        assert (await got(ada, sha256, Range=odd)).data == PAGE, odd


async def test_bytes_that_another_datacenter_has_are_fetched_once_and_kept(two: Two) -> None:
    here, there = two.user("Uada")
    sha256 = (await put(here)).body["sha256"]
    assert (await got(there, sha256)).status == 404, "its row is on its way"
    await two.settle()
    link = two.ams.links["fra"]
    link.cut = True
    away = await got(there, sha256)
    assert (away.status, away.headers["Retry-After"]) == (503, "5")
    link.cut, link.asked = False, 0
    both = await asyncio.gather(*(got(there, sha256) for _ in range(3)))
    assert [one.data for one in both] == [PAGE] * 3
    assert link.asked == 1
    link.cut = True
    assert (await got(there, sha256)).data == PAGE


async def test_damaged_and_burnt_bytes_come_back_from_another_datacenter(two: Two) -> None:
    here, there = two.user("Uada")
    sha256 = (await put(here)).body["sha256"]
    await two.settle()
    assert (await got(there, sha256)).status == 200
    key = f"files/{sha256[:2]}/{sha256}"
    await two.fra.files._objects.put(key, b"something else")
    assert (await got(here, sha256)).data == PAGE
    assert await two.fra.files.held(sha256) == PAGE, "mended"
    await two.fra.files._objects.delete(key)
    assert (await got(here, sha256)).data == PAGE
    for at in two:
        await at.files._objects.delete(key)
    assert (await got(here, sha256)).status == 404


async def test_a_peer_that_gives_something_else_is_not_believed(two: Two) -> None:
    here, there = two.user("Uada")
    sha256 = (await put(here)).body["sha256"]
    await two.settle()

    class Liar:
        async def file(self, sha256: str) -> bytes:
            return b"something else"

    two.ams.links["fra"] = Liar()
    assert (await got(there, sha256)).status == 404
    assert await two.ams.files.held(sha256) is None


async def test_a_hash_opens_nothing_and_a_message_opens_what_its_author_has_put(two: Two) -> None:
    ada, grace, linus = (two.fra.user(user) for user in ("Uada", "Ugrace", "Ulinus"))
    sha256 = (await put(ada)).body["sha256"]
    message = await named(ada, "Ugrace", sha256)
    assert (await got(grace, sha256, message)).data == PAGE
    assert (await got(grace, sha256)).status == 404, "the hash alone"
    assert (await got(linus, sha256, message)).status == 404, "a message that he may not read"
    forged = await named(linus, "Ugrace", sha256)
    assert (await got(linus, sha256, forged)).status == 404, "somebody else's hash in a message of one's own"
    assert (await got(grace, sha256, forged)).status == 404
    other = await named(ada, "Ugrace", "0" * 64)
    assert (await got(grace, sha256, other)).status == 404, "a message that names another file"
    forwarded = (await grace.ok("POST", "/v1/messages", {"to": "Ulinus", "forward_of": message}))["id"]
    assert (await got(linus, sha256, forwarded)).data == PAGE, "what is forwarded is its first author's"
    await ada.ok("DELETE", f"/v1/messages/{message}?for=all")
    assert (await got(grace, sha256, message)).status == 404, "recalled"
    assert (await got(ada, sha256)).data == PAGE


async def test_a_former_member_reads_the_files_of_his_time(two: Two) -> None:
    ada, linus = two.fra.user("Uada"), two.fra.user("Ulinus")
    early = (await put(ada, b"early")).body["sha256"]
    late = (await put(ada, b"late")).body["sha256"]
    chat = (await ada.ok("POST", "/v1/chats", {"kind": "group", "title": "g", "users": ["Ulinus"]}))["chat"]
    first = await named(ada, chat, early)
    await ada.ok("DELETE", f"/v1/chats/{chat}/members/Ulinus")
    second = await named(ada, chat, late)
    await ada.ok("PATCH", f"/v1/messages/{first}", {"content": {"kind": "file", "sha256": late}})
    assert (await got(linus, early, first)).data == b"early"
    assert (await got(linus, late, first)).status == 404, "the edit came after his time"
    assert (await got(linus, late, second)).status == 404


async def test_what_does_not_come_whole_or_is_something_else_leaves_nothing(two: Two) -> None:
    ada = two.fra.user("Uada")
    objects = two.fra.files._objects
    wrong = await put(ada, query="?sha256=" + "0" * 64)
    assert (wrong.status, wrong.fields) == (400, ["sha256"])
    for query, kind in (("?name=a%0Ab", "text/html"), ("?sha256=x", "text/html"), ("", "html"), ("?x=1", "text/html")):
        assert (await put(ada, query=query, kind=kind)).status == 400, (query, kind)
    assert await two.fra.dc.relational.rows("files", {"sha256": hash_of(PAGE)}) == []
    head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.token}\r\nContent-Length: 500\r\n\r\n"
    server = two.fra.http.server
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(head.encode() + b"half")
    await writer.drain()
    writer.write_eof()
    await reader.read()  # until the server has given it up
    writer.close()
    await put(ada, b"another one")
    keys = [key async for key in objects.list("files/")]
    assert [key.rpartition("/")[2] for key in keys] == [hash_of(b"another one")]


async def test_a_retry_is_one_file_and_what_is_put_again_keeps_its_name(two: Two) -> None:
    here, there = two.user("Uada")
    first = await put(here, query="?name=a", Idempotency_Key="k")
    again = await put(here, query="?name=a", Idempotency_Key="k")
    assert (again.body, again.headers["Idempotency-Replayed"]) == (first.body, "true")
    assert (await put(here, b"other bytes", query="?name=a", Idempotency_Key="k")).code == "key_reused"
    assert (await put(here, query="?name=b")).body["name"] == "a"
    await two.settle()
    assert (await put(there, query="?name=c")).body["name"] == "a"


async def test_files_are_bounded(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = two.fra.user("Uada")
    monkeypatch.setattr(limits, "FILE_BYTES_MAX", 1_000)
    assert (await put(ada, bytes(1_001))).code in ("too_large", "invalid")
    routes = api_dc(OneDc("nrt", 3))
    monkeypatch.setattr(limits, "FILES_MIB_OF_USER_DAY", 2)
    async with routes as nrt:
        await nrt.sign_up("Uada")
        user = nrt.user("Uada")
        assert [(await put(user, bytes([n]))).status for n in range(3)] == [200, 200, 429]


async def test_over_a_real_link_a_file_comes_signed_and_a_cut_is_said() -> None:
    async with World("fra", "ams") as world:
        sha256 = hash_of(PAGE)
        assert await world["ams"].files.held(sha256) is None
        made = world["fra"].lane  # an id of that datacenter's
        with pytest.raises(NotFound):
            await world["ams"].files.get(sha256, made)
        await world["fra"].files.put(sha256, PAGE)
        world.cut("fra", "ams")
        with pytest.raises(LinkFailed):
            await world["ams"].files.get(sha256, made)
        world.mend("fra", "ams")
        assert await world["ams"].files.get(sha256, made) == PAGE
        assert await world["ams"].files.held(sha256) == PAGE
