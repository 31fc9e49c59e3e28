"""Requests for the public listener, from its description: mostly right, with something hostile at one or two places."""

import json
from collections import Counter, deque
from random import Random
from typing import Any, NamedTuple

from tests.fuzz import values
from tests.fuzz.pipes import Answer

RARE = {
    "/docs": 0.01, "/openapi.json": 0.01, "/metrics": 0.02, "/v1/login": 0.02, "/v1/logout": 0.02, "/v1/chats": 0.2,
    "/v1/messages/batch": 0.5, "/v1/messages": 3.0, "/v1/stream": 0.5, "/v1/sessions/{session}": 0.1,
}  # fmt: skip
"""How much oftener, or more rarely, than others: what costs much, and what makes more of everything."""
_NUMBERED = ("message", "before", "after", "around", "reply_to")


class Shot(NamedTuple):
    """One request as it is sent."""

    route: str
    method: str
    path: str
    data: bytes
    user: str
    """Whose token it carries; "" for none that is right."""


class Known:
    """What right requests are made of; grows with the answers, within bounds."""

    def __init__(self, tokens: dict[str, str], conversations: list[str]) -> None:
        self.tokens = {user: token.encode() for user, token in tokens.items()}
        self.users = [user.encode() for user in tokens]
        self.conversations: deque[bytes] = deque((one.encode() for one in conversations), maxlen=64)
        self.ids: deque[bytes] = deque([b"600277792139118592"], maxlen=256)
        self.clocks: deque[bytes] = deque([b"x"], maxlen=32)
        self.cursors: dict[str, deque[bytes]] = {user: deque([b"PC1.x.y"], maxlen=16) for user in tokens}
        self.keys: deque[bytes] = deque([b"k"], maxlen=64)
        self.foreign: deque[bytes] = deque(maxlen=64)
        """A conversation of others and ids of their messages: nobody here may see anything of them."""

    def learn(self, shot: Shot, answer: Answer) -> None:
        """From an answer to a request that was right."""
        body = answer.body
        if clock := answer.header(b"X-Clock"):
            self.clocks.append(clock)
        for mark, into in (
            (b'"id":"', self.ids),
            (b'"conversation":"', self.conversations),
            (b'"chat":"', self.conversations),
        ):
            at = body.find(mark)
            if at >= 0:
                found = body[at + len(mark) : at + len(mark) + 24].partition(b'"')[0]
                if found:
                    into.append(found)
        at = body.find(b'"cursor":"')
        if at >= 0 and shot.user:
            self.cursors[shot.user].append(body[at + 10 : at + 10 + 8_000].partition(b'"')[0])


class _Operation(NamedTuple):
    method: str
    path: str
    parts: list[tuple[bytes, str]]
    """(text before, name of the parameter or "")."""
    queries: list[str]
    bodies: list[dict[str, Any]]
    keyed: bool
    public: bool


class Shots:
    """Makes them, from a seed."""

    def __init__(self, document: dict[str, Any], rng: Random, known: Known) -> None:
        self._rng = rng
        self.known = known
        self._operations: list[_Operation] = []
        self._weights: list[float] = []
        for path, group in sorted(document["paths"].items()):
            for method, operation in sorted(group.items()):
                self._operations.append(_operation(method.upper(), path, operation))
                self._weights.append(RARE.get(path, 1.0))
        self.made: Counter[str] = Counter()
        self._count = 0

    def next(self) -> Shot:
        rng = self._rng
        self._count += 1
        operation = rng.choices(self._operations, self._weights)[0]
        hostile = rng.random()
        user, token = self._token()
        method = (
            operation.method if rng.random() > 0.005 else rng.choice(("OPTIONS", "PUT", "TRACE", "DELETE", "PATCH"))
        )
        path = self._path(operation, hostile < 0.15)
        if operation.queries and (method == "GET" or "for" in operation.queries) and rng.random() < 0.7:
            path += b"?" + self._query(operation, 0.1 < hostile < 0.35)
        elif rng.random() < 0.01:
            path += b"?" + rng.choice(values.QUERIES)
        lines = [method.encode() + b" " + path + b" HTTP/1.1", b"Host: planb"]
        if token is not None:
            lines.append(b"Authorization: Bearer " + token)
        lines += self._headers(operation, user, 0.3 < hostile < 0.45)
        body = self._body(operation, user, 0.4 < hostile < 0.75) if operation.bodies or rng.random() < 0.02 else b""
        if body or method != "GET":
            lines.append(b"Content-Length: %d" % len(body))
        data = b"\r\n".join(lines) + b"\r\n\r\n" + body
        return Shot(f"{operation.method} {operation.path}", method, path.decode("latin-1"), data, user)

    def right(self, kind: str, name: str, user: str = "") -> bytes:
        """A value that may well be right for a parameter or field of this name."""
        rng, known = self._rng, self.known
        if name in ("user", "users", "to") or (name == "peer" and rng.random() < 0.3):
            return rng.choice(known.conversations) if name == "to" and rng.random() < 0.5 else rng.choice(known.users)
        if name in ("chat", "peer", "conversation", *_NUMBERED) and known.foreign and rng.random() < 0.1:
            return rng.choice(known.foreign)
        if name in ("chat", "peer", "conversation"):
            return rng.choice(known.conversations)
        if name in _NUMBERED:
            return rng.choice(known.ids)
        if name == "emoji":
            return rng.choice((b"ok", b"%F0%9F%91%8D", b"x"))
        if name in ("device", "handle"):
            return b"name%d" % rng.randrange(3)
        if name == "limit":
            return b"%d" % rng.randrange(1, 8)
        if name == "for":
            return rng.choice((b"me", b"all"))
        if name == "cursor":
            return rng.choice(known.cursors.get(user) or known.cursors[rng.choice(list(known.cursors))])
        return b"x"

    def _token(self) -> tuple[str, bytes | None]:
        rng, known = self._rng, self.known
        chance = rng.random()
        if chance < 0.93:
            user = rng.choice(list(known.tokens))
            return user, known.tokens[user]
        if chance < 0.95:
            return "", None
        token = known.tokens[rng.choice(list(known.tokens))]
        head, _, mac = token.rpartition(b".")
        forged = rng.choice(
            (
                token[: rng.randrange(len(token))],
                head + b"." + mac[::-1],
                b"PC1." + token.partition(b".")[2],
                b"x" * 600,
                b"",
                token + b"=",
            )
        )
        return "", forged

    def _path(self, operation: _Operation, hostile: bool) -> bytes:
        rng = self._rng
        path = b""
        for text, name in operation.parts:
            path += text
            if name:
                path += rng.choice(values.PATHS) if hostile and rng.random() < 0.6 else self.right("path", name)
        return path

    def _query(self, operation: _Operation, hostile: bool) -> bytes:
        rng = self._rng
        parts = [name.encode() + b"=" + self.right("query", name) for name in operation.queries if rng.random() < 0.5]
        if hostile:
            parts.append(rng.choice(values.QUERIES))
        return b"&".join(parts)

    def _headers(self, operation: _Operation, user: str, hostile: bool) -> list[bytes]:
        rng, known = self._rng, self.known
        lines = []
        if rng.random() < 0.3:
            lines.append(b"X-Clock: " + rng.choice(known.clocks))
        if operation.keyed and rng.random() < 0.4:
            if rng.random() < 0.2:
                key = rng.choice(known.keys)
            else:
                key = b"%x-%d" % (rng.getrandbits(40), self._count)
                known.keys.append(key)
            lines.append(b"Idempotency-Key: " + key)
        if rng.random() < 0.05:
            lines.append(b"X-Cursor: " + self.right("header", "cursor", user))
        if hostile:
            lines += [rng.choice(values.HEADERS) for _ in range(rng.randrange(1, 3))]
        return lines

    def _body(self, operation: _Operation, user: str, hostile: bool) -> bytes:
        rng = self._rng
        if (hostile and rng.random() < 0.15) or not operation.bodies:
            return rng.choice(values.BODIES)
        fields = {name: self._field(name, value, user) for name, value in rng.choice(operation.bodies).items()}
        if hostile:
            for _ in range(rng.randrange(1, 3)):
                name = rng.choice([*fields, "colour", "cursor", "at", "reply_to", "limit", "users", "kind"])
                fields[name] = rng.choice(values.HOSTILE)
        body = b"{" + b",".join(b'"%b":%b' % (name.encode(), value) for name, value in fields.items()) + b"}"
        return values.mutated(rng, body) if hostile and rng.random() < 0.2 else body

    def _field(self, name: str, value: Any, user: str) -> bytes:
        if name in ("user", "to", "message", "cursor", "chat"):
            return b'"%b"' % self.right("body", name, user)
        if name == "users":
            return b'["%b"]' % self.right("body", name)
        if name == "messages":
            one = b'{"to":"%b","text":"of a batch","key":"%x"}'
            texts = [
                one % (self.right("body", "to"), self._rng.getrandbits(40)) for _ in range(self._rng.randrange(1, 4))
            ]
            if self._rng.random() < 0.3:
                texts.append(self._rng.choice(values.HOSTILE))
            return b"[" + b",".join(texts) + b"]"
        return json.dumps(value).encode()


def _operation(method: str, path: str, operation: dict[str, Any]) -> _Operation:
    parts = []
    for piece in path.split("}"):
        text, _, name = piece.partition("{")
        parts.append((text.encode(), name))
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    bodies = [one["value"] for one in content.get("examples", {}).values()] or [content["example"]] if content else []
    named = operation.get("parameters", [])
    queries = [one["name"] for one in named if one.get("in") == "query"]
    keyed = any("IdempotencyKey" in one.get("$ref", "") for one in named)
    return _Operation(method, path, parts, queries, bodies, keyed, operation.get("security") == [])
