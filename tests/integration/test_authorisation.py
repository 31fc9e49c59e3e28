"""Every route of the description, tried by those whom it must not serve: a stranger, one who was removed, one who is
blocked. Whatever they are answered, it shows nothing that is not theirs, and afterwards its owners see what they saw.

The attempts are made from the description: a new route is tried without a word here.
"""

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from core.ids import direct_conversation
from tests.support.api import ApiDc, User, api_dc
from tests.support.routes import DOCUMENT

SECRET = "SECRET"
"""In whatever an attacker must not be shown."""
STRANGER, FORMER, BLOCKED = "Umallory", "Ulinus", "Ueve"
OWNERS = ("Uada", "Ugrace")
ANYBODY = {STRANGER, FORMER, BLOCKED}
MAY = {
    "member.join": (ANYBODY, "who knows a chat's id may join it"),
    "request.ask": (ANYBODY, "or ask to be let in, where that is what it takes"),
    "contact.request": ({STRANGER, FORMER}, "anybody may ask whoever has not blocked him"),
    "user.update": (ANYBODY, "one's own name, wherever others see it"),
    "contact.delete": ({STRANGER, FORMER}, "and take that back"),
    "group.create-or-supergroup.create": ({STRANGER, FORMER}, "and put him into a chat of his own"),
}
"""What they may do to others, by the contract."""
NOT_HERE = {"stream", "stream.ticket"}
"""Another application's: tests/integration/test_broker.py."""
TRIES_MAX = 64
"""Combinations of one operation's values."""


class Operation(NamedTuple):
    name: str
    method: str
    path: str
    parameters: tuple[str, ...]
    bodies: tuple[Any, ...]


def operations() -> list[Operation]:
    """All that want a token."""
    found = []
    for path, of in DOCUMENT["paths"].items():
        for method, one in of.items():
            if one.get("security") == [] or one["operationId"] in NOT_HERE:
                continue
            content = one.get("requestBody", {}).get("content", {}).get("application/json", {})
            bodies = [example["value"] for example in content.get("examples", {}).values()]
            bodies += [content["example"]] if "example" in content else []
            names = tuple(parameter["name"] for parameter in one.get("parameters", ()) if "name" in parameter)
            found.append(Operation(one["operationId"], method.upper(), path, names, tuple(bodies) or (None,)))
    return found


class World:
    def __init__(self, api: ApiDc) -> None:
        self.api = api
        self.ada, self.grace = (api.user(user) for user in OWNERS)
        self.values: dict[str, list[Any]] = {}
        """Of a parameter, or a member of a body: what of theirs it may name."""
        self.shared: list[str] = []
        """Chats that both owners are in."""
        self._sessions = itertools.count()

    def attacker(self, user: str) -> User:
        """With a session of his own: he may end it."""
        return self.api.user(user, f"attack{next(self._sessions)}")

    async def build(self) -> None:
        api, ada, grace = self.api, self.ada, self.grace
        await api.sign_up(*OWNERS, STRANGER, FORMER, BLOCKED)
        chats, messages = [], []
        for kind in ("group", "supergroup"):
            body = {"kind": kind, "title": "Lunch", "users": ["Ugrace", FORMER]}
            chat = str((await ada.ok("POST", "/v1/chats", body))["chat"])
            await grace.send(chat, "known to all of us")
            await ada.ok("DELETE", f"/v1/chats/{chat}/members/{FORMER}")
            messages.append(await ada.send(chat, f"{SECRET} plan of the {kind}"))
            chats.append(chat)
        messages.append(await ada.send("Ugrace", f"{SECRET} letter"))
        await ada.ok("PUT", "/v1/dialogs/Ugrace/draft", {"text": f"{SECRET} draft"})
        await ada.ok("PUT", "/v1/devices/phone", {"provider": "fcm", "token": f"{SECRET}-token"})
        await ada.ok("PUT", "/v1/me/handle", {"handle": "ada_l"})
        later = {"to": "Ugrace", "text": f"{SECRET} for later", "at_ms": 1_900_000_000_000}
        path, headers = "/v1/files", {"Content_Type": "text/plain"}
        sha256 = (await ada.call("POST", path, data=f"{SECRET} file".encode(), **headers)).body["sha256"]
        of_file = {"to": "Ugrace", "text": f"{SECRET} for you", "content": {"kind": "file", "sha256": sha256}}
        messages.append(str((await ada.ok("POST", "/v1/messages", of_file))["id"]))
        scheduled = (await ada.ok("POST", "/v1/scheduled", later))["scheduled"]
        for owner in (ada, grace):
            await owner.ok("PUT", f"/v1/blocks/{BLOCKED}")
        await ada.ok("PUT", f"/v1/dialogs/{chats[0]}/pin", {"rank": "i"})
        await grace.ok("PUT", f"/v1/messages/{messages[0]}/reactions/ok")
        door = (await ada.ok("POST", "/v1/chats", {"kind": "group", "title": SECRET, "entry": "approval"}))["chat"]
        await grace.ok("POST", f"/v1/chats/{door}/requests")
        barred = (await ada.ok("POST", "/v1/chats", {"kind": "group", "title": SECRET, "entry": "closed"}))["chat"]
        await ada.ok("PUT", f"/v1/chats/{barred}/bans/Ugrace")
        invite = (await ada.ok("POST", f"/v1/chats/{chats[0]}/invites", {}))["invite"]
        self.shared = chats
        issued = await api.dc.do("token.issue", "sys", user="Uada", device="phone")
        cursor = (await ada.ok("GET", "/v1/state"))["cursor"]
        self.values = {
            "chat": [*chats, door, barred],
            "invite": [invite],
            "peer": ["Ugrace", *chats, direct_conversation(*OWNERS)],
            "to": [*chats, direct_conversation(*OWNERS)],
            "user": list(OWNERS),
            "users": [["Ugrace", "Uada"], [STRANGER, FORMER, BLOCKED]],
            "message": messages,
            "reply_to": messages,
            "session": [issued.args.session],
            "device": ["phone"],
            "scheduled": [scheduled],
            "sha256": [sha256],
            "emoji": ["ok"],
            "handle": ["ada_l"],
            "for": ["me", "all"],
            "cursor": [cursor],
        }

    def attempts(self, operation: Operation, user: str) -> Iterator[tuple[str, Any]]:
        """Path with query, and body."""
        values = dict(self.values)
        if user == BLOCKED:
            values["to"] = [*values["to"], "Uada"]
        names = [name for name in operation.parameters if name in values and name != "users"]
        for body in operation.bodies:
            held = sorted(_members(body) & values.keys())
            tries = itertools.product(*(values[name] for name in (*names, *held)))
            for chosen in itertools.islice(tries, TRIES_MAX):
                of_path = dict(zip(names, chosen, strict=False))
                of_body = dict(zip(held, chosen[len(names) :], strict=True))
                path, query = operation.path, []
                for name, value in of_path.items():
                    place = f"{{{name}}}"
                    if place in path:
                        path = path.replace(place, quote(value))
                    else:
                        query.append(f"{name}={quote(value)}")
                if "users" in operation.parameters:
                    query.append("users=Uada,Ugrace")
                path = path.replace("{", "x").replace("}", "x")  # of what is not known here there is none
                yield path + ("?" + "&".join(query) if query else ""), _replaced(body, of_body)

    async def seen(self) -> dict[str, Any]:
        """All that the owners see."""
        paths = ["/v1/me", "/v1/dialogs", "/v1/sessions", "/v1/devices", "/v1/blocks", "/v1/contacts", "/v1/scheduled",
                 "/v1/handles/ada_l", "/v1/users/Uada", "/v1/users/Ugrace"]  # fmt: skip
        for chat in self.shared:
            paths += [f"/v1/chats/{chat}", f"/v1/chats/{chat}/members", f"/v1/dialogs/{chat}/messages"]
        found = {}
        for owner, other in ((self.ada, "Ugrace"), (self.grace, "Uada")):
            for path in [*paths, f"/v1/dialogs/{other}/messages"]:
                found[f"{owner.user} {path}"] = _lasting(await owner.ok("GET", path))
        return found


def _members(body: Any) -> set[str]:
    if isinstance(body, dict):
        return {*body, *itertools.chain.from_iterable(map(_members, body.values()))}
    return set().union(*map(_members, body)) if isinstance(body, list) else set()


def _replaced(body: Any, values: dict[str, Any]) -> Any:
    if isinstance(body, dict):
        return {name: values.get(name, _replaced(value, values)) for name, value in body.items()}
    return [_replaced(one, values) for one in body] if isinstance(body, list) else body


def _lasting(found: Any) -> Any:
    """Without what changes by itself."""
    if isinstance(found, dict):
        return {name: _lasting(value) for name, value in found.items() if name not in ("cursor", "now_ms", "at")}
    return [_lasting(one) for one in found] if isinstance(found, list) else found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with api_dc() as api:
        made = World(api)
        await made.build()
        yield made


@pytest.mark.parametrize("user", [STRANGER, FORMER, BLOCKED])
async def test_no_route_shows_or_changes_what_is_not_ones_own(world: World, user: str) -> None:
    before = await world.seen()
    assert sum(json.dumps(before).count(secret) for secret in (f"{SECRET} plan", f"{SECRET} letter")) >= 4
    refused = 0
    for operation in operations():
        if user in MAY.get(operation.name, ((), ""))[0]:
            continue
        for path, body in world.attempts(operation, user):
            reply = await world.attacker(user).call(operation.method, path, body)
            where = f"{operation.name} by {user}: {operation.method} {path} {body}"
            assert reply.status < 500, f"{where}: {reply}"
            assert SECRET not in json.dumps(reply.body), f"{where}: {reply.body}"
            refused += reply.status in (403, 404)
            after = await world.seen() if reply.status < 300 and operation.method != "GET" else before
            changed = [place for place in before if before[place] != after[place]]
            assert not changed, f"{where}: {changed[0]} was {before[changed[0]]} and is {after[changed[0]]}"
    assert refused > 50, "the attempts reach what they are about"


async def test_what_is_tried_is_served_to_its_owners() -> None:
    """Else the refusals would say nothing: each operation that names something is answered to one of the owners, if
    only with the word that it is so already."""
    silent = []
    for operation in operations():
        if not set(operation.parameters) & {"chat", "peer", "message", "session", "device", "scheduled"}:
            continue
        async with api_dc() as api:
            world = World(api)
            await world.build()
            statuses = [
                (await world.attacker(owner).call(operation.method, path, body)).status
                for path, body in world.attempts(operation, STRANGER)
                for owner in OWNERS
            ]
        if min(statuses) >= 300 and 409 not in statuses:
            silent.append((operation.name, statuses))
    assert silent == []
