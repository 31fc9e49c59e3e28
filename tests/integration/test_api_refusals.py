"""Bad input: each is a clear problem that names what is wrong, and nothing has changed."""

import asyncio
import hmac
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import PARTS
from api.cursors import Cursor
from api.signing import Signer, encode
from api.token_keys import derived
from core import limits
from core.ids import make_id, tick_at
from core.system import wall_clock_ms
from tests.support.api import FAR_MS, KEY, ApiDc, Reply, User, api_dc


@pytest.fixture
async def api() -> AsyncIterator[ApiDc]:
    async with api_dc() as started:
        await started.sign_up("Uada", "Ugrace", "Ulinus")
        yield started


@pytest.fixture
async def ada(api: ApiDc) -> User:
    return api.user("Uada")


async def unchanged(api: ApiDc) -> tuple[Any, ...]:
    """What would differ if anything had been written."""
    return tuple((await api.dc.log.tops()).values())


SEND = {"to": "Ugrace", "text": "Hello"}


def encoded(**fields: Any) -> bytes:
    return json.dumps(SEND | fields).encode()


BODIES: dict[str, tuple[bytes, int, str, str | None]] = {
    "no JSON": (b"hello", 400, "invalid", None),
    "cut short": (b'{"to":"Ugrace","text":"He', 400, "invalid", None),
    "two values": (b"{}{}", 400, "invalid", None),
    "a comment": (b'{"to":"Ugrace","text":"x"} // hi', 400, "invalid", None),
    "an array": (b"[]", 400, "invalid", None),
    "a string": (b'"hello"', 400, "invalid", None),
    "null": (b"null", 400, "invalid", None),
    "NaN": (b'{"to":"Ugrace","text":NaN}', 400, "invalid", None),
    "Infinity": (b'{"to":"Ugrace","text":-Infinity}', 400, "invalid", None),
    "a number beyond all": (b'{"to":"Ugrace","text":1e999}', 400, "invalid", None),
    "an integer beyond 64 bits": (b'{"to":"Ugrace","text":' + b"9" * 400 + b"}", 400, "invalid", None),
    "not UTF-8": (b'{"to":"Ugrace","text":"\xff"}', 400, "invalid", None),
    "UTF-16": (json.dumps(SEND).encode("utf-16"), 400, "invalid", None),
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(SEND).encode(), 400, "invalid", None),
    "a surrogate in UTF-8": (b'{"to":"Ugrace","text":"\xed\xa0\x80"}', 400, "invalid", None),
    "half an escaped surrogate": (b'{"to":"Ugrace","text":"a\\ud800b"}', 400, "invalid", None),
    "a low surrogate alone": (b'{"to":"Ugrace","text":"a\\udc00"}', 400, "invalid", None),
    "NUL": (b'{"to":"Ugrace","text":"a\\u0000b"}', 400, "invalid", "text"),
    "NUL in a name": (b'{"to":"Ugrace","text":"a","\\u0000":1}', 400, "invalid", None),
    "a name twice": (b'{"to":"Ugrace","text":"a","text":"b"}', 400, "invalid", "text"),
    "a name twice, once escaped": (b'{"to":"Ugrace","text":"a","t\\u0065xt":"b"}', 400, "invalid", "text"),
    "a name twice inside": (b'{"to":"Ugrace","text":{"a":1,"a":2}}', 400, "invalid", "a"),
    "too deep": (b'{"text":' + b"[" * 60 + b"]" * 60 + b"}", 400, "invalid", None),
    "far too deep": (b'{"text":' + b"[" * 60_000 + b"]" * 60_000 + b"}", 400, "invalid", None),
    "an unknown field": (encoded(colour="red"), 400, "invalid", "colour"),
    "a field missing": (b'{"to":"Ugrace"}', 400, "invalid", "text"),
    "nothing": (b"", 400, "invalid", "to"),
    "a number for a text": (encoded(text=7), 400, "invalid", "text"),
    "null for a text": (encoded(text=None), 400, "invalid", "text"),
    "an object for a text": (encoded(text={"a": 1}), 400, "invalid", "text"),
    "an empty text": (encoded(text=""), 400, "invalid", "text"),
    "a text beyond the bound": (encoded(text="x" * (limits.MESSAGE_BYTES_MAX + 1)), 413, "too_large", None),
    "a text beyond the bound in bytes": (
        encoded(text="é" * (limits.MESSAGE_BYTES_MAX // 2 + 1)),
        413,
        "too_large",
        None,
    ),
    "an id of no kind": (encoded(to="grace"), 400, "invalid", "to"),
    "an id of the wrong kind": (encoded(to="F123"), 400, "invalid", "to"),
    "an id with a line feed": (encoded(to="Ugrace\n"), 400, "invalid", "to"),
    "an id as long as a book": (encoded(to="U" + "x" * 10_000), 400, "invalid", "to"),
    "a number for an id": (encoded(reply_to=123), 400, "invalid", "reply_to"),
    "an id beyond 63 bits": (encoded(reply_to="9999999999999999999"), 400, "invalid", "reply_to"),
    "an id in other digits": (encoded(reply_to="١٢٣"), 400, "invalid", "reply_to"),
    "a user who is not there": (encoded(to="Unobody"), 404, "not_found", None),
    "a group that is not there": (encoded(to="G1"), 404, "not_found", None),
    "a reply to nothing": (encoded(reply_to="123"), 404, "not_found", None),
    "a body beyond the bound": (b"x" * (limits.REQUEST_BYTES_MAX + 1), 413, "too_large", None),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_is_not_right_is_refused(api: ApiDc, ada: User, name: str) -> None:
    data, status, code, field = BODIES[name]
    before = await unchanged(api)
    reply = await ada.call("POST", "/v1/messages", data=data, Content_Type="application/json")
    assert (reply.status, reply.code) == (status, code), reply
    assert reply.body["type"] == f"urn:planb:problem:{code}"
    assert reply.body["title"] and reply.body["detail"] and reply.body["request"]
    if field is not None:
        assert field in reply.fields
    assert await unchanged(api) == before


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content_Encoding": "gzip"}, "invalid"),
        ({"Content_Encoding": "identity"}, "invalid"),
        ({"Idempotency_Key": ""}, "invalid"),
        ({"Idempotency_Key": "k" * (limits.KEY_CHARS_MAX + 1)}, "invalid"),
        ({"Idempotency_Key": "two words"}, "invalid"),
        ({"Idempotency_Key": "schlüssel"}, "invalid"),
        ({"Prefer": "durability=forever"}, "invalid"),
        ({"X_Clock": "yesterday"}, "invalid"),
        ({"X_Clock": "PX1.AAAAAAAAAAE.AAAAAAAAAAAAAAAAAAAAAA"}, "invalid"),
        ({"X_Cursor": "here"}, "invalid"),
        ({"dc": "fra"}, "forbidden_header"),
        ({"DC": ""}, "forbidden_header"),
    ],
)
async def test_a_header_that_is_not_right_is_refused(api: ApiDc, ada: User, headers: dict[str, str], code: str) -> None:
    before = await unchanged(api)
    reply = await ada.call("POST", "/v1/messages", SEND, **headers)
    assert reply.code == code, reply
    assert reply.status == (403 if code == "forbidden_header" else 400)
    assert await unchanged(api) == before


def other_kind(prefix: str) -> str:
    return Signer(KEY, prefix, 10_000).seal(b"\x93\xa2s1\xa4Uada\xcf" + FAR_MS.to_bytes(8))


SIGNING = derived(KEY)
TIMES = {"iat": wall_clock_ms() // 1000, "exp": FAR_MS // 1000}
CLAIMS = {"iss": "planb", "sub": "Uada", "sid": "s1"} | TIMES


def jwt_of(head: Any = None, claims: Any = None, secret: bytes = SIGNING.secret) -> str:
    """A JSON Web Token as somebody else may write one, signed over what stands there."""
    if head is None:
        head = {"alg": "HS256", "kid": SIGNING.name, "typ": "JWT"}
    parts = [one if isinstance(one, bytes) else msgspec.json.encode(one) for one in (head, claims or CLAIMS)]
    body = ".".join(map(encode, parts))
    return f"Bearer {body}.{encode(hmac.digest(secret, body.encode(), 'sha256'))}"


def unsigned(algorithm: str) -> str:
    return jwt_of({"alg": algorithm, "kid": SIGNING.name, "typ": "JWT"}).rpartition(".")[0] + "."


WRONG_TOKENS = {
    "none": None,
    "empty": "",
    "another scheme": "Basic dXNlcjpwYXNz",
    "no token": "Bearer ",
    "rubbish": "Bearer rubbish",
    "of another platform": jwt_of(secret=b"k" * 32),
    "of another issuer": jwt_of(claims=CLAIMS | {"iss": "planb of others"}),
    "no algorithm": unsigned("none"),
    "no algorithm, loudly": unsigned("nOnE"),
    "signed, and no algorithm": jwt_of({"alg": "none", "kid": SIGNING.name, "typ": "JWT"}),
    "another algorithm": jwt_of({"alg": "HS384", "kid": SIGNING.name, "typ": "JWT"}),
    "the key for a public one": jwt_of({"alg": "RS256", "kid": SIGNING.name, "typ": "JWT"}),
    "no key's name": jwt_of({"alg": "HS256", "typ": "JWT"}),
    "a path for a name": jwt_of({"alg": "HS256", "kid": "../../../dev/null", "typ": "JWT"}, secret=b""),
    "a key of its own": jwt_of({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}, "typ": "JWT"}, secret=b"\0\0\0"),
    "an order of its own": jwt_of({"typ": "JWT", "alg": "HS256", "kid": SIGNING.name}),
    "what must be understood": jwt_of({"alg": "HS256", "kid": SIGNING.name, "typ": "JWT", "crit": ["b64"]}),
    "no claims": jwt_of(claims=b"{}"),
    "claims that are none": jwt_of(claims=b"\xff"),
    "no end": jwt_of(claims={name: value for name, value in CLAIMS.items() if name != "exp"}),
    "an end that is no number": jwt_of(claims=CLAIMS | {"exp": "never"}),
    "a claim more": jwt_of(claims=CLAIMS | {"admin": True}),
    "made in the future": jwt_of(claims=CLAIMS | {"iat": TIMES["iat"] + 86_400, "exp": TIMES["iat"] + 90_000}),
    "cut": jwt_of()[:-1],
    "four parts": jwt_of() + ".x",
    "huge": jwt_of(claims=CLAIMS | {"sub": "U" + "a" * 5_000}),
    "a refresh token": f"Bearer {Signer(SIGNING.secret, f'PR1.{SIGNING.name}', 512).seal(b'x')}",
    "a cursor": "Bearer " + other_kind("PC1"),
    "endless": "Bearer a." + "A" * 6_000,
}


# By name: the values hold the time of collection, which differs between workers.
@pytest.mark.parametrize("name", WRONG_TOKENS)
async def test_a_token_that_is_not_right_is_refused(api: ApiDc, ada: User, name: str) -> None:
    before = await unchanged(api)
    reply = await ada.call("POST", "/v1/messages", SEND, Authorization=WRONG_TOKENS[name])
    assert (reply.status, reply.code) == (401, "unauthenticated"), reply
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert await unchanged(api) == before


async def test_an_expired_token_is_told_apart_so_that_a_client_refreshes_it(api: ApiDc, ada: User) -> None:
    before = await unchanged(api)
    reply = await ada.call(
        "POST", "/v1/messages", SEND, Authorization=jwt_of(claims=CLAIMS | {"exp": TIMES["iat"] - 1})
    )
    assert (reply.status, reply.code) == (401, "token_expired"), reply
    assert (await ada.get("/v1/me", Authorization=jwt_of())).status == 200, "the claims are right otherwise"
    assert await unchanged(api) == before


async def test_one_changed_letter_breaks_a_token(api: ApiDc, ada: User) -> None:
    for at in range(4, len(ada.token)):
        changed = ada.token[:at] + ("A" if ada.token[at] != "A" else "B") + ada.token[at + 1 :]
        if changed[at] != ada.token[at]:
            assert (await ada.get("/v1/me", Authorization=f"Bearer {changed}")).status == 401, at


async def test_a_token_works_before_its_session_arrives_and_never_after_a_revocation(api: ApiDc) -> None:
    ada = api.user("Uada", "s424242")
    assert (await ada.get("/v1/me")).status == 200
    issued = await api.dc.do("token.issue", "sys", "k1", user="Uada", device="phone")
    phone = api.user("Uada", issued.args.session)
    assert (await phone.get("/v1/me")).status == 200
    assert (await ada.get("/v1/sessions")).body["sessions"][0]["session"] == issued.args.session
    await ada.ok("DELETE", f"/v1/sessions/{issued.args.session}")
    reply = await phone.get("/v1/me")
    assert (reply.status, reply.code) == (401, "unauthenticated")
    assert (await ada.get("/v1/sessions")).body["sessions"] == []


async def test_logging_out_ends_this_session_only(api: ApiDc) -> None:
    await api.sign_up("Uada", passwords=True)
    login = {"user": "Uada", "password": "password of Uada", "device": "phone"}
    first, second = api.user("Uada"), api.user("Uada")
    first.token = (await first.ok("POST", "/v1/login", login))["token"]
    second.token = (await first.ok("POST", "/v1/login", login | {"device": "laptop"}))["token"]
    assert (await first.ok("POST", "/v1/logout"))["durability"] == "local"
    assert (await first.get("/v1/me")).status == 401
    assert (await second.get("/v1/me")).status == 200


async def test_a_wrong_password_and_an_unknown_user_look_alike(api: ApiDc, ada: User) -> None:
    await api.sign_up("Uada", passwords=True)
    replies = [
        await ada.call("POST", "/v1/login", {"user": user, "password": "guess", "device": "x"}, Authorization=None)
        for user in ("Uada", "Unobody")
    ]
    for reply in replies:
        assert (reply.status, reply.code) == (401, "unauthenticated")
        reply.body.pop("request")
    assert replies[0].body == replies[1].body


async def test_unknown_query_parameters_are_refused_by_name(ada: User) -> None:
    for path in ("/v1/dialogs?colour=red", "/v1/me?colour=red", "/v1/dialogs/Ugrace/messages?colour=red"):
        reply = await ada.get(path)
        assert (reply.status, reply.fields) == (400, ["colour"]), path
    assert (await ada.call("POST", "/v1/messages?colour=red", SEND)).fields == ["colour"]
    assert (await ada.get("/v1/dialogs?limit=1&limit=2")).fields == ["limit"]
    for limit in ("0", "101", "-1", "1.0", "x", "", "9" * 400, "%00", "١"):
        assert (await ada.get(f"/v1/dialogs?limit={limit}")).fields == ["limit"], limit


async def test_ids_in_paths_are_checked(ada: User) -> None:
    for path in (
        "/v1/users/ada",
        "/v1/users/U%00",
        "/v1/users/U%FF",
        "/v1/users/U%ED%A0%80",
        "/v1/users/Uada%0A",
        "/v1/users/U" + "x" * 64,
        "/v1/chats/D12",
        "/v1/chats/G12x",
        "/v1/dialogs/F1/messages",
        "/v1/dialogs/D/messages",
    ):
        reply = await ada.get(path)
        assert (reply.status, reply.code) == (400, "invalid"), (path, reply)
    assert (await ada.call("PATCH", "/v1/messages/12a", {"text": "x"})).fields == ["message"]
    assert (await ada.call("DELETE", "/v1/messages/12?for=nobody")).fields == ["for"]
    assert (await ada.call("DELETE", "/v1/messages/12")).fields == ["for"]
    assert (await ada.call("PATCH", "/v1/messages/12", {"text": "x", "message": "13"})).fields == ["message"]
    assert (await ada.get("/v1/dialogs/Ugrace/messages?before=1&after=2")).status == 400
    assert (await ada.post("/v1/chats", {"kind": "herd", "title": "x"})).fields == ["kind"]
    assert (await ada.post("/v1/chats", {"title": "x"})).fields == ["kind"]


async def test_paths_and_methods_that_are_not_there(ada: User) -> None:
    reply = await ada.get("/v1/nothing")
    assert (reply.status, reply.code) == (404, "not_found")
    reply = await ada.call("PUT", "/v1/messages")
    assert (reply.status, reply.code, reply.headers["Allow"]) == (405, "method_not_allowed", "POST")
    assert (await ada.get("/sys/v1/tokens")).status == 404
    assert (await ada.get("/v1/nothing", dc="fra")).code == "forbidden_header"


async def test_other_peoples_things_are_as_if_they_were_not_there(api: ApiDc, ada: User) -> None:
    grace, linus = api.user("Ugrace"), api.user("Ulinus")
    direct = await grace.ok("POST", "/v1/messages", {"to": "Ulinus", "text": "secret"})
    groups = {}
    for kind in ("group", "supergroup"):
        created = await grace.ok("POST", "/v1/chats", {"kind": kind, "title": "Secret", "users": ["Ulinus"]})
        groups[kind] = created["chat"], await grace.send(created["chat"], "secret")
    issued = await api.dc.do("token.issue", "sys", "k1", user="Ugrace", device="phone")
    before = await unchanged(api)
    for conversation, message in [(direct["conversation"], direct["id"]), *groups.values()]:
        for method, path, body in (
            ("GET", f"/v1/dialogs/{conversation}/messages", None),
            ("GET", f"/v1/messages/{message}/replies", None),
            ("GET", f"/v1/dialogs/{conversation}/mentions", None),
            ("PATCH", f"/v1/messages/{message}", {"text": "mine now"}),
            ("DELETE", f"/v1/messages/{message}?for=all", None),
            ("DELETE", f"/v1/messages/{message}?for=me", None),
            ("PUT", f"/v1/messages/{message}/reactions/x", None),
            ("PUT", f"/v1/dialogs/{conversation}/pin", {"rank": "i"}),
            ("PUT", f"/v1/dialogs/{conversation}/mute", {"until_ms": 1}),
            ("PUT", f"/v1/dialogs/{conversation}/unread", {"on": True}),
            ("PUT", f"/v1/dialogs/{conversation}/draft", {"text": "mine"}),
            ("DELETE", f"/v1/dialogs/{conversation}/draft", None),
            ("POST", "/v1/messages", {"to": "Ugrace", "text": "x", "reply_to": message}),
            ("POST", "/v1/messages", {"to": "Ugrace", "forward_of": message}),
        ):
            reply = await ada.call(method, path, body)
            assert (reply.status, reply.code) == (404, "not_found"), (method, path, reply)
            assert "secret" not in json.dumps(reply.body).lower()
    for chat, _ in groups.values():
        for path in (f"/v1/chats/{chat}", f"/v1/chats/{chat}/members"):
            assert (await ada.get(path)).status == 404
        for method, path, body in (
            ("PATCH", f"/v1/chats/{chat}", {"title": "mine"}),
            ("DELETE", f"/v1/chats/{chat}", None),
            ("POST", f"/v1/chats/{chat}/members", {"users": ["Uada"]}),
            ("DELETE", f"/v1/chats/{chat}/members/Ulinus", None),
            ("PATCH", f"/v1/chats/{chat}/members/Ulinus", {"role": "admin"}),
        ):
            assert (await ada.call(method, path, body)).status in (403, 404), (method, path)
        assert (await ada.call("POST", "/v1/messages", {"to": chat, "text": "x"})).status in (403, 404)
    assert (await ada.call("DELETE", f"/v1/sessions/{issued.args.session}")).status == 404
    assert await unchanged(api) == before
    assert (await ada.ok("GET", "/v1/dialogs"))["dialogs"] == []
    assert len((await linus.ok("GET", "/v1/dialogs"))["dialogs"]) == 3


async def test_cursors_that_are_not_mine_are_refused(api: ApiDc, ada: User) -> None:
    grace = api.user("Ugrace")
    foreign = (await grace.ok("GET", "/v1/state"))["cursor"]
    mine = (await ada.ok("GET", "/v1/state"))["cursor"]
    id = await ada.send("Ugrace", "x")
    wrong = [
        foreign, "", "x", 7, ["x"], mine[:-1], mine + "A", mine.replace("PC1", "PB1"), ada.token,
        Signer(KEY, "PC1", 10_000).seal(b"\xc0"), "PC1." + "A" * limits.CURSOR_CHARS_MAX,
    ]  # fmt: skip
    for cursor in wrong:
        reply = await ada.post("/v1/updates", {"cursor": cursor})
        assert (reply.status, reply.fields) == (400, ["cursor"]), (cursor, reply)
        reply = await ada.post("/v1/dialogs/Ugrace/read", {"cursor": cursor, "message": id})
        assert (reply.status, reply.fields) == (400, ["cursor"]), (cursor, reply)
    assert (await ada.get("/v1/me", X_Cursor=foreign)).fields == ["cursor"]
    assert (await ada.get("/v1/dialogs?after=x")).fields == ["after"]
    assert (await ada.post("/v1/dialogs/Ugrace/read", {"message": id})).status == 400


async def test_a_clock_beyond_the_bound_is_told_to_wait(api: ApiDc, ada: User) -> None:
    far = make_id(tick_at(wall_clock_ms() + limits.CLOCK_SKEW_MS_MAX + 60_000), 77)
    before = await unchanged(api)
    reply = await ada.call("POST", "/v1/messages", SEND, X_Clock=api.x_clock(far))
    assert (reply.status, reply.code) == (409, "clock_ahead")
    assert reply.headers["Retry-After"] == str(limits.CLOCK_AHEAD_RETRY_S_MAX)
    assert await unchanged(api) == before


async def test_what_i_write_is_stamped_after_what_i_have_seen(api: ApiDc, ada: User) -> None:
    seen = make_id(tick_at(wall_clock_ms() + limits.CLOCK_SKEW_MS_MAX - 100), 77)
    reply = await ada.call("POST", "/v1/messages", SEND, X_Clock=api.x_clock(seen))
    assert reply.status == 200
    assert int(reply.body["id"]) > seen
    assert reply.headers["X-Clock"] == api.x_clock(int(reply.body["id"]))
    assert (await ada.get("/v1/me")).headers["X-Clock"] == reply.headers["X-Clock"]


async def test_what_a_client_knows_from_elsewhere_is_not_yet_here(api: ApiDc, ada: User) -> None:
    ahead = Cursor("Uada", "nyc", 1, 1, {make_id(0, 99): 1, 4097: make_id(tick_at(wall_clock_ms()), 4097)}, {})
    cursor = api.app[PARTS].cursors.seal(ahead)
    plain = await ada.get("/v1/users/Unew")
    assert (plain.status, plain.code) == (404, "not_found")
    for reply in (
        await ada.get("/v1/users/Unew", X_Cursor=cursor),
        await ada.get("/v1/chats/G7", X_Cursor=cursor),
        await ada.get("/v1/dialogs/G7/messages", X_Cursor=cursor),
        await ada.call("POST", "/v1/messages", {"to": "G7", "text": "x"}, X_Cursor=cursor),
        await ada.call("PATCH", "/v1/messages/7", {"text": "x"}, X_Clock=api.x_clock(ahead.v[4097])),
        await ada.post("/v1/dialogs/G7/read", {"message": "7", "cursor": cursor}),
    ):
        assert (reply.status, reply.code) == (409, "not_yet_here"), reply
        assert int(reply.headers["Retry-After"]) >= 1
    batch = await ada.ok("POST", "/v1/messages/batch", {"messages": [{"to": "G7", "text": "x"}]}, X_Cursor=cursor)
    assert batch["results"][0]["problem"]["code"] == "not_yet_here"
    behind = Cursor("Uada", "nyc", 1, 1, {}, {})
    reply = await ada.get("/v1/users/Unew", X_Cursor=api.app[PARTS].cursors.seal(behind))
    assert reply.code == "not_found"


async def test_an_unexpected_failure_tells_nothing_private(
    api: ApiDc, ada: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("the password of the database is hunter2")

    monkeypatch.setattr(api.dc.writer, "commit", broken)
    reply = await ada.call("POST", "/v1/messages", SEND, Idempotency_Key="k1")
    assert (reply.status, reply.code) == (500, "internal")
    assert "hunter2" not in json.dumps(reply.body)
    assert reply.body["request"] in caplog.text and "hunter2" in caplog.text


async def test_too_many_requests_at_a_time_are_turned_away() -> None:
    async with api_dc(in_flight_max=0) as api:
        reply = await api.user("Uada").get("/v1/me")
        assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "overloaded", "1")
        assert (await api.user("Uada").get("/livez")).status == 200


BROKEN_WIRES = {
    "a chunk without a size": (b"Transfer-Encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n"),
    "chunks cut short": (b"Transfer-Encoding: chunked", b"100\r\n{}"),
    "a body cut short": (b"Content-Length: 100", b"{}"),
    "a length that is none": (b"Content-Length: x", b""),
    "two lengths": (b"Content-Length: 2\r\nContent-Length: 3", b"{}"),
    "an unknown expectation": (b"Content-Length: 2\r\nExpect: miracles", b"{}"),
    "a header line beyond the bound": (b"Content-Length: 2\r\nX-Cursor: " + b"x" * 9_000, b"{}"),
}


@pytest.mark.parametrize("name", BROKEN_WIRES)
async def test_a_broken_wire_is_no_failure_of_ours(
    api: ApiDc, ada: User, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers, body = BROKEN_WIRES[name]
    before = await unchanged(api)
    reader, writer = await asyncio.open_connection(api.http.host, api.http.port)
    line = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.token}\r\n".encode()
    writer.write(line + headers + b"\r\n\r\n" + body)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    assert answer == b"" or b"HTTP/1.1 4" in answer[:12], answer[:200]
    assert (await ada.get("/v1/me")).status == 200
    assert await unchanged(api) == before
    assert api.parts.metrics.in_flight == 0
    assert not [record for record in caplog.records if record.name.startswith("planb")]


# -- all routes


FILLED = {
    "peer": "Ugrace", "chat": "G1", "user": "Ugrace", "message": "123", "session": "s1", "emoji": "x",
    "device": "phone", "handle": "nobodys", "invite": "i1", "scheduled": "S1", "sha256": f"{0:064x}",
}  # fmt: skip


def filled(path: str, **others: str) -> str:
    return path.format(**(FILLED | others))


async def paths_of(ada: User) -> list[tuple[str, str, dict[str, Any]]]:
    paths = (await ada.get("/openapi.json")).body["paths"]
    return [
        (method.upper(), path, one)
        for path, group in paths.items()
        for method, one in group.items()
        if path.startswith("/v1/")
    ]


async def test_every_route_refuses_a_stranger_and_the_dc_header(api: ApiDc, ada: User) -> None:
    before = await unchanged(api)
    for method, path, operation in await paths_of(ada):
        reply = await ada.call(method, filled(path), {}, dc="fra")
        assert (reply.status, reply.code) == (403, "forbidden_header"), (method, path)
        for token in (None, "Bearer x"):
            reply = await ada.call(method, filled(path), {}, Authorization=token)
            public = operation.get("security") == []
            assert reply.status == (400 if public else 401), (method, path, reply)
    assert await unchanged(api) == before


OPEN_TO_ALL = {
    ("POST", "/v1/chats/{chat}/join"),
    ("GET", "/v1/users/{user}"),
    ("PUT", "/v1/blocks/{user}"),
    ("GET", "/v1/blocks/{user}"),
    ("PUT", "/v1/devices/{device}"),
}
"""Whoever knows a chat's id may join it; profiles are shown to every user; whom one blocks, and one's devices,
are one's own."""


@pytest.mark.parametrize("kind", ["direct", "group", "supergroup"])
async def test_every_route_hides_what_is_not_the_callers(api: ApiDc, ada: User, kind: str) -> None:
    grace = api.user("Ugrace")
    session = (await api.dc.do("token.issue", "sys", "k1", user="Ugrace", device="phone")).args.session
    chat = "G1"
    if kind != "direct":
        body = {"kind": kind, "title": "Secret", "users": ["Ulinus"]}
        chat = (await grace.ok("POST", "/v1/chats", body))["chat"]
    to = "Ulinus" if kind == "direct" else chat
    sent = await grace.ok("POST", "/v1/messages", {"to": to, "text": "Secret"})
    ids = {"peer": sent["conversation"], "chat": chat, "message": sent["id"], "session": session, "user": "Ulinus"}
    before = await unchanged(api)
    asked = 0
    for method, path, operation in await paths_of(ada):
        if "{" not in path or (method, path) in OPEN_TO_ALL:
            continue
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        examples = [one["value"] for one in content.get("examples", {}).values()] or [content.get("example", {})]
        where = filled(path, **ids)
        queries = ["?for=me", "?for=all"] if any(one.get("name") == "for" for one in operation["parameters"]) else [""]
        for example, query in itertools.product(examples, queries):
            body = {name: value for name, value in example.items() if name != "cursor"}
            if "message" in body:
                body["message"] = sent["id"]
            reply = await ada.call(method, where + query, body or None)
            assert reply.status in (403, 404), (method, path, reply)
            assert "secret" not in json.dumps(reply.body).lower()
            asked += 1
    assert asked > 10
    assert await unchanged(api) == before


async def test_a_body_that_never_ends_is_cut_off(api: ApiDc, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_WAIT_MS_MAX", 50)
    reader, writer = await asyncio.open_connection(api.http.host, api.http.port)
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ada.token}\r\nContent-Length: 9\r\n\r\n{{"
    writer.write(head.encode())
    answer = await reader.readuntil(b"}")
    writer.close()
    assert b"408" in answer[:12] and b"too_slow" in answer
    assert api.parts.metrics.in_flight == 0


async def test_every_route_refuses_unknown_fields_and_bodies_that_are_not_objects(api: ApiDc, ada: User) -> None:
    before = await unchanged(api)
    for method, path, operation in await paths_of(ada):
        if "/files" in path:  # their bodies may be anything: tests/integration/test_files.py
            continue
        where = filled(path)
        if any(one.get("name") == "for" for one in operation["parameters"]):
            where += "?for=me"
        body = {"colour": "red"} | ({"kind": "group"} if path == "/v1/chats" else {})
        assert "colour" in (await ada.call(method, where, body)).fields, (method, path)
        query = where + ("&" if "?" in where else "?") + "colour=red"
        assert "colour" in (await ada.call(method, query)).fields, (method, path)
        for data in (b"[]", b"{", b"\xff", b"1"):
            reply = await ada.call(method, where, data=data)
            assert (reply.status, reply.code) == (400, "invalid"), (method, path, data)
    assert await unchanged(api) == before


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["Uada", "G1", "12"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


async def test_no_junk_makes_any_route_fail(api: ApiDc, ada: User) -> None:
    """Every route gets junk in every field; whatever comes back, it is no 500."""
    routes = await paths_of(ada)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data())
    def examples(data: st.DataObject) -> None:
        method, path, operation = data.draw(st.sampled_from(routes))
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        schema = content.get("schema", {})
        names = sorted({name for one in schema.get("oneOf", [schema]) for name in one.get("properties", {})})
        body = {name: data.draw(JUNK) for name in names if data.draw(st.booleans())}
        parts = {
            name: data.draw(st.sampled_from(["U", "12", "G1", "C1", "D1", "%00", "%F0%9F%91%8D", value]))
            for name, value in FILLED.items()
        }
        wanted.append((method, filled(path, **parts), json.dumps(body).encode()))

    wanted: list[tuple[str, str, bytes]] = []
    examples()
    for method, path, body in wanted:
        reply: Reply = await ada.call(method, path, data=body)
        assert reply.status < 500, (method, path, body, reply)
