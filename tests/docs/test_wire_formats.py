"""The worked examples of docs/wire-formats.md come out of the code, byte by byte."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode
from datetime import UTC, datetime

import jwt
import msgspec
import pytest

from api import internal_auth
from api.clock_header import ClockHeader
from api.cursors import Cursor, Cursors
from api.intentions import fingerprint, fingerprint_key
from api.token_keys import TokenKeys, derived
from api.tokens import Tokens
from core import ids
from core.action import Touch, registry
from core.clock import HybridClock
from core.event import Event
from core.ids import Lane
from core.refreshing import Refresh
from events import codec, record
from events.codec import Opened
from events.record import GENESIS, KIND_EVENT, KIND_OPEN, Record
from events.signing import Signer
from snapshot.manifest import Manifest, Place, decode_manifest, encode_manifest
from stores import render
from stores.ports import Mark
from stores.progress import Progress
from tests.support.markdown import ROOT, blocks

PAGE = ROOT / "docs/wire-formats.md"
TEXT = PAGE.read_text()
WALL_MS = int(datetime(2026, 1, 2, 3, 4, 5, 670_000, tzinfo=UTC).timestamp() * 1000)
KEY = bytes(range(32))
MARK = fingerprint(fingerprint_key(KEY), "message.send", {"to": "Ugrace", "text": "Hello"})
LANE = Lane(1, 0, 0).number
IDS = [ids.make_id(ids.tick_at(WALL_MS) + n, LANE) for n in (1, 2)]


def shown(first: str) -> str:
    """The block of code whose text begins so."""
    (found,) = [block.text for block in blocks(PAGE) if block.text.startswith(first)]
    return found


def fields_of(block: str) -> dict[str, str]:
    """`name  value` lines; a value goes on in indented lines."""
    found: dict[str, str] = {}
    name = ""
    for line in block.splitlines():
        if not line.startswith(" "):
            name, _, line = line.partition(" ")
        found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return found


def records() -> list[Record]:
    """The two records of the example, by the code."""
    signer = Signer(KEY)
    conversation = ids.direct_conversation("Uada", "Ugrace")
    args = registry()["message.send"].Args(conversation=conversation, to=("Uada", "Ugrace"), text="Hello")
    event = Event(IDS[1], "message.send", 1, "Uada", "k1", MARK, args)
    bodies = [(KIND_OPEN, codec.encode_opened(Opened("fra host", WALL_MS))), (KIND_EVENT, codec.encode(event))]
    made, hash = [], GENESIS
    for seq, (kind, body) in enumerate(bodies, 1):
        hash = record.chain(hash, LANE, seq, IDS[seq - 1], kind, body)
        made.append(Record(LANE, seq, IDS[seq - 1], kind, body, hash, signer.sign(hash)))
    return made


def test_the_example_of_an_id() -> None:
    found = fields_of(shown("lane    0x"))
    assert int(found["lane"].split()[0], 16) == int(found["lane"].split()[1]) == LANE
    units, formula = found["time"].split(maxsplit=1)
    assert int(units) == IDS[1] >> 24 == eval(formula)
    assert int(found["seq"]) == IDS[1] >> 16 & 0xFF
    hexed, digits = found["id"].split()
    assert int(hexed, 16) == int(digits) == IDS[1]


def test_the_examples_of_derived_ids() -> None:
    assert f"`{ids.direct_conversation('Ugrace', 'Uada')}`" in TEXT
    conversation = ids.direct_conversation("Ugrace", "Uada")
    assert f"`{ids.class_of('Uada', 'k1', conversation, MARK)}`" in TEXT
    assert f"`{MARK.hex()}`" in TEXT


def test_the_example_of_a_signing_key() -> None:
    assert shown("03a1").strip() == Signer(KEY).public.hex()


@pytest.mark.parametrize(("at", "begins", "size"), [(0, "header     01 01", 156), (1, "header     01 02", 225)])
def test_the_examples_of_records(at: int, begins: str, size: int) -> None:
    expected = records()[at]
    data = bytes.fromhex("".join(fields_of(shown(begins)).values()).replace(" ", ""))
    assert data == record.encode(expected)
    assert len(data) == size
    assert f", {size} bytes:" in TEXT
    assert bytes.fromhex(fields_of(shown(begins))["header"]) == expected.header()


def test_a_record_is_laid_out_as_its_table_says() -> None:
    made = records()[1]
    head = made.header()
    assert (head[0], head[1]) == (record.WIRE_VERSION, KIND_EVENT)
    numbers = [int.from_bytes(head[a:b]) for a, b in ((2, 4), (4, 12), (12, 20), (20, 24))]
    assert numbers == [made.lane, made.seq, made.id, len(made.body)]
    covered = records()[0].hash + head + made.body
    assert made.hash == hashlib.blake2b(covered, digest_size=32).digest()


def test_an_event_is_the_array_that_its_table_says() -> None:
    plain = msgspec.msgpack.decode(records()[1].body)
    assert plain[:5] == [IDS[1], "message.send", 1, "Uada", "k1"]
    canonical = b'{"text":"Hello","to":"Ugrace"}'
    person = b"fingerprint"
    secret = hashlib.blake2b(KEY, digest_size=32, person=person).digest()
    mark = hashlib.blake2b(b"message.send\0" + canonical, digest_size=8, key=secret, person=person)
    assert plain[5] == mark.digest()
    assert list(plain[6]) == ["conversation", "to", "text"]


def opened(text: str, prefix: str, key: bytes = KEY) -> bytes:
    """The payload of a signed string, read as the page says."""
    head, payload, mac = text.rsplit(".", 2)
    assert head == prefix
    data, given = (urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (payload, mac))
    assert given == hmac.digest(key, prefix.encode() + b"\0" + data, "sha256")[:16]
    return data


def test_tokens_cursors_and_clocks_are_signed_as_the_page_says() -> None:
    keys = TokenKeys([derived(KEY)])
    tokens = Tokens(keys, None, lambda: WALL_MS, bytes)  # type: ignore[arg-type]  # no session is asked
    secret = hmac.digest(KEY, b"token key 1", "sha256")
    assert keys.signing.secret == secret
    assert keys.signing.name == hashlib.blake2b(secret, digest_size=8, person=b"token key name").hexdigest()
    token = tokens.issue("s1", "Uada", WALL_MS + 60_000)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "kid": keys.signing.name, "typ": "JWT"}
    times = {"iat": WALL_MS // 1000, "exp": WALL_MS // 1000 + 60}
    unchecked = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(token, secret, algorithms=["HS256"], issuer="planb", options=unchecked)
    assert claims == {"iss": "planb", "sub": "Uada", "sid": "s1"} | times
    refresh = Refresh("s1", "Uada", 2, 77, WALL_MS + 1, WALL_MS + 2)
    text = str(tokens.grant(refresh)["refresh_token"])
    prefix = ".".join(text.split(".")[:2])
    assert prefix == f"PR1.{keys.signing.name}"
    assert msgspec.msgpack.decode(opened(text, prefix, secret)) == list(refresh)
    cursor = Cursors(KEY).seal(Cursor("Uada", "fra", 3, 7, {LANE: IDS[1]}, {"C1": 5, "C2": 6}, ("Uada", "C2")))
    found = msgspec.msgpack.decode(opened(cursor, "PC1"), strict=False)
    assert found == ["Uada", "fra", 3, 7, {LANE: IDS[1]}, True, (1).to_bytes(8) + (2).to_bytes(8), [10, 13]]
    progress = Progress()
    progress.advance(LANE, Mark(2, IDS[1]))
    clock = ClockHeader(KEY, HybridClock(lambda: WALL_MS), lambda: WALL_MS, progress)
    assert opened(clock.value(), "PX1") == IDS[1].to_bytes(8)


def test_internal_calls_are_signed_as_the_page_says() -> None:
    body = b'{"dc":"iad"}'
    digest = hashlib.blake2b(body, digest_size=32).hexdigest()

    def mac(*lines: str) -> str:
        return hmac.new(KEY, "\n".join(lines).encode(), "sha256").hexdigest()

    given = {"Idempotency-Key": "k1", "dc": "iad"}
    nonce = "0123456789abcdef" * 2
    headers = internal_auth.sign_headers(KEY, "iad", "fra", "POST", "/sys/v1/pull?x=1", body, WALL_MS, nonce, given)
    signed = ("iad", "k1", "", "", "")
    request = mac("request", "iad", "fra", str(WALL_MS), nonce, "POST", "/sys/v1/pull?x=1", digest, *signed)
    assert headers == given | {"Authorization": f"PlanB-HMAC iad:fra:{WALL_MS}:{nonce}:{digest}:{request}"}
    listed = re.findall(r"^\| `([A-Za-z-]+)` \|  \|$", TEXT, re.MULTILINE)
    assert tuple(listed) == internal_auth.SIGNED
    answer = internal_auth.sign_answer(KEY, "fra", request, 200, body)
    assert answer == {"PlanB-Answer": f"fra:{mac('answer', 'fra', request, '200', digest)}"}


def test_an_update_entry_is_the_array_that_the_page_says() -> None:
    entry = render.encode(IDS[1], Touch("message", ("D1", IDS[1])))
    assert msgspec.msgpack.decode(entry) == [IDS[1], "message", ["D1", IDS[1]]]


def test_every_type_of_update_entry_is_listed() -> None:
    listed = {name for line in TEXT.splitlines() if re.match(r"\| `\w+`(, `\w+`)? \|", line)
              for name in re.findall(r"`(\w+)`", line.split("|")[1])}  # fmt: skip
    types = {"message", "hidden", "chat", "member", "dialog", "user", "session"}
    assert types <= listed


def test_a_manifest_is_sealed_as_the_page_says() -> None:
    place = Place(1, str(IDS[0]), "00" * 32)
    manifest = Manifest(
        format=1, id="20260102T030405.670Z-fra", world="main", dc="fra", number=1, incarnation=0, epoch=3,
        created_ms=WALL_MS, took_ms=5, f0={LANE: place}, f1={LANE: place}, tables={},
    )  # fmt: skip
    data = encode_manifest(manifest)
    plain = msgspec.json.decode(data)
    given = plain["checksum"]
    canonical = msgspec.json.encode(plain | {"checksum": ""}, order="deterministic")
    assert given == hashlib.blake2b(canonical, digest_size=32).hexdigest()
    assert plain["f0"][str(LANE)] == {"seq": 1, "id": str(IDS[0]), "hash": "00" * 32}
    assert decode_manifest(manifest.key, data).checksum == given
