"""The description of the API against a whole datacenter: every operation is called, every answer held against it."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cli.planet import Planet
from cli.sys_client import SysClient
from tests.support.conformance import Conformance

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


class Caller:
    """Calls one datacenter as one user; every answer is checked."""

    def __init__(self, http: aiohttp.ClientSession, base: str, token: str, conformance: Conformance) -> None:
        self.http = http
        self.base = base
        self.token = token
        self.conformance = conformance

    async def call(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Authorization": f"Bearer {self.token}"} | sent if self.token else sent
        async with self.http.request(method, self.base + path, json=body, headers=sent) as answer:
            found = await answer.json(content_type=None) if "json" in answer.content_type else await answer.text()
            self.conformance.check(method, path, answer.status, answer.headers, found)
            assert answer.status == status, (method, path, answer.status, found)
            return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[tuple[Caller, Caller]]:
    planet = Planet(tmp_path, ("fra",))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(planet.stop)
        await planet.start()
        site = planet.site("fra")
        http = await stack.enter_async_context(aiohttp.ClientSession())
        async with http.get(site.url + "/openapi.json") as answer:
            conformance = Conformance(await answer.json())
        callers = []
        async with SysClient("fra", f"http://127.0.0.1:{site.ports.sys}", planet.sys_key) as sys:
            for user in ("Uada", "Ugrace"):
                fields = {"name": user[1:].title(), "password": "correct horse"}
                await sys.call("PUT", f"/sys/v1/users/{user}", fields, key=str(uuid.uuid4()))
                login = {"user": user, "password": "correct horse", "device": "test"}
                caller = Caller(http, site.url, "", conformance)
                first = await caller.call("POST", "/v1/login", login)
                refresh = {"refresh_token": first["refresh_token"]}
                caller.token = (await caller.call("POST", "/v1/token/refresh", refresh))["token"]
                callers.append(caller)
        yield callers[0], callers[1]


async def test_every_operation_of_a_live_datacenter_answers_as_it_is_described(world: tuple[Caller, Caller]) -> None:
    ada, grace = world
    frames = await listen(ada)
    before = (await ada.call("GET", "/v1/state"))["cursor"]
    await profiles(ada)
    await people(ada, grace)
    sent = await messages(ada, grace)
    await dialogs(ada, sent)
    await chats(ada, grace)
    await refusals(ada, grace, sent)
    page = await ada.call("POST", "/v1/updates", {"cursor": before, "limit": 100})
    shown = {item["update"]["type"] for item in page["updates"]}
    assert shown >= {
        "message",
        "hidden",
        "chat",
        "member",
        "dialog",
        "user",
        "block",
        "contact",
        "dnd",
        "device",
        "handle",
        "invite",
        "request",
        "ban",
        "scheduled",
    }
    await ada.call("POST", "/v1/updates")
    for path in ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json"):
        await ada.call("GET", path)
    await sessions(ada, grace)
    kinds = await frames
    assert kinds >= {"hello", "resume", "updates", "pong"}
    conformance = ada.conformance
    conformance.seen.add(("stream", "101"))
    done = {name for name, status in conformance.seen if status < "300"}
    assert done == {one["operationId"] for *_, one in conformance.operations}


async def profiles(ada: Caller) -> None:
    await ada.call("PATCH", "/v1/me", {"about": "Numbers"})
    await ada.call("GET", "/v1/me")
    await ada.call("GET", "/v1/users/Ugrace")
    presence = await ada.call("GET", "/v1/presence?users=Uada,Ugrace")
    assert [one["online"] for one in presence["presence"]] == [True, False]


async def people(ada: Caller, grace: Caller) -> None:
    await ada.call("PUT", "/v1/blocks/Ugrace")
    await ada.call("GET", "/v1/blocks/Ugrace")
    await ada.call("GET", "/v1/blocks")
    await grace.call("POST", "/v1/messages", {"to": "Uada", "text": "hello?"}, 403)
    await ada.call("DELETE", "/v1/blocks/Ugrace")
    await ada.call("PUT", "/v1/me/dnd", {"until_ms": 1_900_000_000_000, "schedule": None})
    await ada.call("PUT", "/v1/me/handle", {"handle": "ada_l"})
    await grace.call("GET", "/v1/handles/ada_l")
    await grace.call("PUT", "/v1/me/handle", {"handle": "ada_l"}, 409)
    await ada.call("DELETE", "/v1/me/handle")
    kept = await ada.call("POST", "/v1/files?name=note.json", {"a": "file"})
    await ada.call("GET", f"/v1/files/{kept['sha256']}")
    await grace.call("GET", f"/v1/files/{kept['sha256']}", None, 404)
    later = {"to": "Ugrace", "text": "later", "at_ms": 1_900_000_000_000}
    made = await ada.call("POST", "/v1/scheduled", later)
    await ada.call("GET", "/v1/scheduled")
    await ada.call("DELETE", f"/v1/scheduled/{made['scheduled']}")
    await ada.call("PUT", "/v1/devices/phone", {"provider": "fcm", "token": "t1"})
    await ada.call("GET", "/v1/devices")
    await ada.call("DELETE", "/v1/devices/phone")
    await grace.call("POST", "/v1/contacts", {"user": "Uada"})
    await ada.call("POST", "/v1/contacts/Ugrace/accept")
    await ada.call("GET", "/v1/contacts?state=contact")
    await grace.call("DELETE", "/v1/contacts/Uada")


async def messages(ada: Caller, grace: Caller) -> str:
    """A message of Ada's that is still there in the end."""
    sent = (await ada.call("POST", "/v1/messages", {"to": "Ugrace", "text": "one"}, Idempotency_Key="one"))["id"]
    again = {"Idempotency_Key": "one", "Prefer": "durability=remote"}
    assert (await ada.call("POST", "/v1/messages", {"to": "Ugrace", "text": "one"}, **again))["id"] == sent
    items = [{"to": "Ugrace", "text": "two"}, {"to": "Unobody", "text": "three"}, {"to": "Ugrace", "text": "four"}]
    results = (await ada.call("POST", "/v1/messages/batch", {"messages": items}))["results"]
    recalled, hidden = results[0]["id"], results[2]["id"]
    assert results[1]["problem"]["code"] == "not_found"
    await ada.call("PATCH", f"/v1/messages/{sent}", {"text": "uno"})
    await grace.call("PUT", f"/v1/messages/{sent}/reactions/%F0%9F%91%8D")
    await ada.call("PUT", f"/v1/messages/{sent}/reactions/ok")
    await ada.call("DELETE", f"/v1/messages/{sent}/reactions/ok")
    await grace.call("POST", "/v1/messages", {"to": "Uada", "text": "re", "reply_to": sent})
    assert (await ada.call("GET", f"/v1/messages/{sent}/replies"))["count"] == 1
    await ada.call("POST", "/v1/messages", {"to": "Ugrace", "text": "you!", "mentions": ["Ugrace"]})
    assert (await grace.call("GET", "/v1/dialogs/Uada/mentions"))["count"] == 1
    await ada.call("DELETE", f"/v1/messages/{recalled}?for=all")
    await ada.call("DELETE", f"/v1/messages/{hidden}?for=me")
    return str(sent)


async def dialogs(ada: Caller, sent: str) -> None:
    await ada.call("PUT", "/v1/dialogs/Ugrace/pin", {"rank": "i"})
    await ada.call("PUT", "/v1/dialogs/Ugrace/mute", {"until_ms": 1_900_000_000_000})
    await ada.call("PUT", "/v1/dialogs/Ugrace/unread", {"on": True})
    await ada.call("PUT", "/v1/dialogs/Ugrace/draft", {"text": "Dear Grace"})
    found = await ada.call("GET", "/v1/dialogs")
    place = {"cursor": found["cursor"], "at": found["position"]}
    await ada.call("POST", "/v1/dialogs/Ugrace/read", {"message": sent, **place})
    await ada.call("DELETE", "/v1/dialogs/Ugrace/draft")
    history = await ada.call("GET", "/v1/dialogs/Ugrace/messages?limit=4")
    assert [message["text"] for message in history["messages"]][:1] == ["uno"]
    await ada.call("POST", "/v1/dialogs/Ugrace/clear", {"message": sent, **place})


async def chats(ada: Caller, grace: Caller) -> None:
    group = (await ada.call("POST", "/v1/chats", {"kind": "group", "title": "Lunch", "users": ["Ugrace"]}))["chat"]
    big = (await ada.call("POST", "/v1/chats", {"kind": "supergroup", "title": "News"}))["chat"]
    await ada.call("POST", "/v1/messages", {"to": big, "text": "hear, hear"})
    await ada.call("PATCH", f"/v1/chats/{group}", {"title": "Late lunch"})
    await ada.call("GET", f"/v1/chats/{group}")
    await ada.call("POST", f"/v1/chats/{big}/members", {"users": ["Ugrace"]})
    await ada.call("PATCH", f"/v1/chats/{big}/members/Ugrace", {"role": "admin"})
    await ada.call("GET", f"/v1/chats/{big}/members?limit=1")
    await ada.call("DELETE", f"/v1/chats/{big}/members/Ugrace")
    await grace.call("DELETE", f"/v1/chats/{group}/members/me")
    await grace.call("PUT", f"/v1/chats/{big}/owner", {"user": "Ugrace"}, 403)
    await ada.call("POST", f"/v1/chats/{big}/members", {"users": ["Ugrace"]})
    await ada.call("PUT", f"/v1/chats/{big}/owner", {"user": "Ugrace"})
    open_to_all = (await grace.call("POST", "/v1/chats", {"kind": "supergroup", "title": "Open"}))["chat"]
    await ada.call("POST", f"/v1/chats/{open_to_all}/join")
    await entry(ada, grace)
    await ada.call("GET", "/v1/dialogs?limit=1")
    await grace.call("GET", "/v1/dialogs")
    await ada.call("DELETE", f"/v1/chats/{group}")
    await ada.call("POST", "/v1/messages", {"to": group, "text": "too late"}, 410)


async def entry(ada: Caller, grace: Caller) -> None:
    asked = (await ada.call("POST", "/v1/chats", {"kind": "group", "title": "Ask", "entry": "approval"}))["chat"]
    await grace.call("POST", f"/v1/chats/{asked}/join", None, 403)
    path = f"/v1/chats/{asked}/requests"
    await grace.call("POST", path)
    await grace.call("GET", "/v1/me/requests")
    await grace.call("DELETE", f"{path}/me")
    await grace.call("POST", path)
    await ada.call("GET", path)
    await ada.call("DELETE", f"{path}/Ugrace")
    made = await ada.call("POST", f"/v1/chats/{asked}/invites", {"approval": True})
    await ada.call("GET", f"/v1/chats/{asked}/invites")
    await grace.call("POST", "/v1/invites/look", {"link": made["link"]})
    await grace.call("POST", "/v1/invites/accept", {"link": made["link"]})
    await ada.call("POST", f"{path}/Ugrace/approve")
    await ada.call("DELETE", f"/v1/chats/{asked}/invites/{made['invite']}")
    await grace.call("POST", "/v1/invites/accept", {"link": made["link"]}, 410)
    await grace.call("POST", "/v1/invites/accept", {"link": "PL1.x.y"}, 404)
    await ada.call("PUT", f"/v1/chats/{asked}/bans/Ugrace")
    await ada.call("GET", f"/v1/chats/{asked}/bans")
    await ada.call("DELETE", f"/v1/chats/{asked}/bans/Ugrace")


async def refusals(ada: Caller, grace: Caller, sent: str) -> None:
    await ada.call("POST", "/v1/messages", {"to": "Ugrace", "text": "other"}, 422, Idempotency_Key="one")
    await ada.call("POST", "/v1/messages", {"to": "Ugrace", "text": "x" * 20_000}, 413)
    await ada.call("POST", "/v1/messages", {"to": "Ugrace"}, 400)
    await ada.call("GET", "/v1/users/Unobody", None, 404)
    await grace.call("PATCH", f"/v1/messages/{sent}", {"text": "mine"}, 403)
    await ada.call("GET", "/v1/me", None, 401, Authorization="Bearer x")
    await ada.call("GET", "/v1/me", None, 403, dc="fra")
    await ada.call("GET", "/v1/stream?token=x", None, 400)


async def sessions(ada: Caller, grace: Caller) -> None:
    login = {"user": "Uada", "password": "correct horse", "device": "other"}
    other = (await ada.call("POST", "/v1/login", login))["session"]
    await ada.call("GET", "/v1/sessions")
    await ada.call("DELETE", f"/v1/sessions/{other}")
    await ada.call("POST", "/v1/login", login | {"password": "wrong horse"}, 401)
    await grace.call("POST", "/v1/logout")
    await grace.call("GET", "/v1/me", None, 401)
    await ada.call("POST", "/v1/logout")


async def listen(ada: Caller) -> "asyncio.Task[set[str]]":
    """The kinds of frames that came until the session ended; each is held against its schema."""
    ticket = (await ada.call("POST", "/v1/stream/ticket", None, 201))["ticket"]
    socket = await ada.http.ws_connect(f"{ada.base}/v1/stream?ticket={ticket}")
    await socket.send_json({"type": "hello"})
    await socket.send_json({"type": "ping"})
    connected = asyncio.Event()

    async def follow() -> set[str]:
        kinds = set()
        async for message in socket:
            frame = message.json()
            ada.conformance.valid("ServerFrame", frame)
            kinds.add(frame["type"])
            if frame["type"] == "pong":
                connected.set()
        assert socket.close_code == 4003
        return kinds

    task = asyncio.create_task(follow())
    await connected.wait()
    return task
