"""Requests for the internal listener: of somebody with the key who sends whatever he likes, and of somebody without."""

import time
from random import Random

import msgspec

from api.internal_auth import sign_headers
from core import ids
from core.ids import Lane
from events.codec import Opened, encode_opened
from events.record import GENESIS, KIND_EVENT, KIND_OPEN, Record, chain, encode
from events.signing import Signer
from tests.fuzz import values
from tests.fuzz.seeds import events
from tests.fuzz.shots import Known, Shot

GHOST = "nrt"
"""A datacenter that is known and does not run: its lane is ours to write, with its key."""
GHOST_NUMBER = 3
EVENTS_MAX = 200
"""Hostile events that are replicated: those that can't be applied stay parked, and PARKED_MAX is what a DC takes."""
ROUTES = (
    ("POST", "/sys/v1/replay", 3),
    ("POST", "/sys/v1/pull", 3),
    ("GET", "/sys/v1/tops", 1),
    ("GET", "/sys/v1/status", 1),
    ("GET", "/sys/v1/digest", 0.02),
    ("GET", "/sys/v1/parked", 1),
    ("POST", "/sys/v1/parked/retry", 1),
    ("POST", "/sys/v1/parked/drop", 1),
    ("POST", "/sys/v1/hot/rebuild", 0.1),
    ("GET", "/sys/v1/conflicts", 0.2),
    ("POST", "/sys/v1/conflicts/undo", 1),
    ("GET", "/sys/v1/files/{sha256}", 0.3),
    ("POST", "/sys/v1/scheduled/take", 0.3),
    ("POST", "/sys/v1/scheduled/fail", 0.3),
    ("POST", "/sys/v1/tokens", 0.3),
    ("PUT", "/sys/v1/users/{user}", 1),
    ("GET", "/livez", 0.2),
    ("GET", "/metrics", 0.05),
)
_PULL = (
    b"dc",
    b"durable",
    b"applied",
    b"held",
    b"have",
    b"again",
    b"live",
    b"lazy",
    b"skip",
    b"lanes",
    b"wait_ms",
    b"limit",
)
_MAPS = (
    b"{}",
    b'{"2048":1}',
    b'{"2048":-1}',
    b'{"99999999999999999999":1}',
    b'{"6144":9223372036854775808}',
    b'{"-1":0}',
    b'{"x":1}',
    b"[2048]",
    b"[-1]",
    b"[99999999999999999999]",
)


class SysShots:
    """Makes them, from a seed."""

    def __init__(self, rng: Random, known: Known, dc: str, key: bytes, ghost: bytes) -> None:
        self._rng = rng
        self._known = known
        self._dc = dc
        self._key = key
        self._routes = [route[:2] for route in ROUTES]
        self._weights = [route[2] for route in ROUTES]
        self._captured: list[bytes] = []
        self._ghost = GhostLane(rng, Signer(ghost))

    def next(self) -> Shot:
        rng = self._rng
        method, template = rng.choices(self._routes, self._weights)[0]
        if self._captured and rng.random() < 0.05:
            return Shot("repeated", "POST", "", rng.choice(self._captured), "")
        name, headers, body = self._content(method, template)
        path = template.format(user=self._user(), sha256=rng.randbytes(32).hex())
        if rng.random() < 0.1:
            path += "?" + rng.choice(values.QUERIES).decode("latin-1")
        signed = self._signed(name, method, path, body, headers)
        lines = [f"{method} {path} HTTP/1.1".encode("latin-1"), b"Host: planb"]
        lines += [f"{header}: {value}".encode("latin-1") for header, value in signed.items()]
        if body or method != "GET":
            lines.append(b"Content-Length: %d" % len(body))
        data = b"\r\n".join(lines) + b"\r\n\r\n" + body
        if method != "GET" and template != "/sys/v1/replay" and len(self._captured) < 64:
            self._captured.append(data)
        return Shot(f"{method} {template}", method, path, data, "")

    def _user(self) -> str:
        rng = self._rng
        hostile = rng.random() < 0.6
        return (rng.choice(values.PATHS) if hostile else rng.choice(self._known.users)).decode("latin-1")

    def _signed(self, name: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> dict[str, str]:
        rng = self._rng
        forged = rng.random()
        now_ms = int(time.time() * 1000) + (rng.choice((-(10**6), 10**6, 10**13)) if forged < 0.02 else 0)
        to = "elsewhere" if 0.02 < forged < 0.03 else self._dc
        key = bytes(32) if 0.03 < forged < 0.05 else self._key
        made = sign_headers(key, name, to, method, path, body, now_ms, f"{rng.getrandbits(128):032x}", headers)
        if 0.05 < forged < 0.07:
            made["Authorization"] = (
                values.mutated(rng, made["Authorization"].encode())
                .decode("latin-1")
                .replace("\n", "")
                .replace("\r", "")
            )
        elif 0.07 < forged < 0.08:
            del made["Authorization"]
        elif 0.08 < forged < 0.09:
            made["dc"] = "iad"
        return made

    def _content(self, method: str, template: str) -> tuple[str, dict[str, str], bytes]:
        """Who signs, further headers, body."""
        rng = self._rng
        if template == "/sys/v1/replay":
            origin = GHOST if rng.random() < 0.9 else rng.choice(("fra", "iad", "zzz", "", "\xff"))
            batch = self._ghost.batch()
            return GHOST, {"dc": origin} if origin else {}, batch if rng.random() < 0.6 else values.mutated(rng, batch)
        if template == "/sys/v1/pull":
            fields = {
                b"dc": b'"%b"' % rng.choice((GHOST.encode(), b"operator", b"zzz")),
                b"limit": b"%d" % rng.randrange(-2, 5),
            }
            for field in rng.sample(_PULL, rng.randrange(4)):
                fields[field] = rng.choice(_MAPS) if rng.random() < 0.6 else rng.choice(values.HOSTILE)
            # A long poll is no use here.
            fields[b"wait_ms"] = rng.choice((b"0", b"0", b"-5", b"20", b'"x"'))
            body = b"{" + b",".join(b'"%b":%b' % field for field in fields.items()) + b"}"
            return GHOST, {}, values.mutated(rng, body) if rng.random() < 0.1 else body
        if method == "GET":
            return "operator", {}, b"" if rng.random() < 0.95 else b"{}"
        headers = {"Idempotency-Key": f"{rng.getrandbits(64):x}"} if rng.random() < 0.7 else {}
        if rng.random() < 0.1:
            return "operator", headers, rng.choice(values.BODIES)
        shapes = {
            "/sys/v1/parked/retry": {b"lane": b'"nrt/0.0"', b"seq": b"%d" % rng.randrange(1, 50)},
            "/sys/v1/hot/rebuild": {b"epoch": b"%d" % rng.randrange(3)},
            "/sys/v1/parked/drop": {b"lane": b'"nrt/0.0"', b"seq": b"0", b"id": b'"1"'},
            "/sys/v1/conflicts/undo": {
                b"event": b'"%d"' % rng.getrandbits(63),
                b"table": rng.choice((b'"users"', b'"chats"', b'"messages"')),
                b"column": rng.choice((b'"name"', b'"title"', b'"password"')),
                b"winner": b'"%d"' % rng.getrandbits(63),
            },
            "/sys/v1/tokens": {b"user": b'"%b"' % rng.choice(self._known.users), b"device": b'"x"'},
        }
        fields = shapes.get(template, {b"name": b'"Fuzz"'})
        if rng.random() < 0.6:
            name = rng.choice([*fields, b"password", b"lane", b"seq", b"colour"])
            fields[name] = rng.choice([*values.HOSTILE, b'"fra/99.999"', b'"nrt/15.127"', b'"nrt/0"', b'"/"'])
        return "operator", headers, b"{" + b",".join(b'"%b":%b' % field for field in fields.items()) + b"}"


class GhostLane:
    """The ghost's lane: dense, chained and signed as it should be, with events that nobody should have written."""

    def __init__(self, rng: Random, signer: Signer) -> None:
        self._rng = rng
        self._signer = signer
        self._lane = Lane(GHOST_NUMBER, 0, 0).number
        self._made: list[Record] = []
        self._bodies = events()

    def batch(self) -> bytes:
        """Some of it again, and mostly one more."""
        rng, made = self._rng, self._made
        if len(made) < EVENTS_MAX and (not made or rng.random() < 0.3):
            made.append(self._record())
        first = max(0, len(made) - rng.randrange(1, 4)) if rng.random() < 0.8 else rng.randrange(len(made))
        return b"".join(encode(one) for one in made[first : first + 5])

    def _record(self) -> Record:
        rng = self._rng
        before = self._made[-1] if self._made else None
        tick = max(ids.tick_at(int(time.time() * 1000)), ids.tick_of(before.id) + 1 if before else 0)
        id = ids.make_id(tick, self._lane)
        kind, body = (KIND_EVENT, self._event(id)) if before else (KIND_OPEN, encode_opened(Opened("ghost", 1)))
        if before and rng.random() < 0.05:
            kind = rng.choice((0, 3, 255))
        seq = before.seq + 1 if before else 1
        hash = chain(before.hash if before else GENESIS, self._lane, seq, id, kind, body)
        return Record(self._lane, seq, id, kind, body, hash, self._signer.sign(hash))

    def _event(self, id: int) -> bytes:
        rng = self._rng
        parts = msgspec.msgpack.decode(rng.choice(self._bodies))
        parts[0] = id
        args = parts[6]
        for name in rng.sample(sorted(args), rng.randrange(min(3, len(args)) + 1)):
            args[name] = _other(rng, args[name])
        if rng.random() < 0.1:
            parts[rng.randrange(6)] = _other(rng, "")
        body = msgspec.msgpack.encode(parts)
        return values.mutated(rng, body) if rng.random() < 0.1 else body


def _other(rng: Random, value: object) -> object:
    """Mostly of the same type, and of no use."""
    if isinstance(value, int) and rng.random() < 0.9:
        return rng.choice((0, -1, 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 65_535))
    if isinstance(value, str) and rng.random() < 0.9:
        return rng.choice(
            (
                "",
                "\0",
                "U",
                "D",
                "G1",
                "C1",
                "Z9",
                "C99999999999999999999",
                "x" * 5_000,
                "\u202e",
                "U\ud7ff",
                "C1\0",
                "|",
                ":",
            )
        )
    if isinstance(value, list) and rng.random() < 0.9:
        return rng.choice(([], ["U1", "U1"], [""], ["\0"], [f"U{n}" for n in range(300)]))
    if isinstance(value, dict) and rng.random() < 0.9:
        return rng.choice(({}, {"U1": {}}, {0: -1}, {2**63: 2**63 - 1}, {"name": "\0"}, {"\0": "x"}))
    return rng.choice((None, 0, "", [], {}, b"\xff", 1.5, True))
