"""What the decoders' fuzzer begins with: valid encodings, shapes that are known to hurt, and what it found earlier."""

import functools
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from api.cursors import Cursor, _encode
from core.action import registry
from core.event import Event
from events import signing
from events.adapters.pulsar_frame import State, encode_frame
from events.codec import Opened, encode, encode_opened
from events.ports import Top
from events.record import GENESIS, KIND_EVENT, KIND_OPEN, Record, chain
from events.record import encode as encode_record
from replicator.wire import PullHeader, PullRequest, encode_answer, encode_request
from snapshot.manifest import Chunk, Manifest, Place, TableCopy, encode_manifest
from snapshot.segment import _HEADER, encode_segment
from tests.fuzz.targets import KEY, USER

FOUND = Path(__file__).parent / "found"
LANE = 2048
IDS = (600277792139053056, 600277792139118592)
_pack = msgspec.msgpack.encode
_json = msgspec.json.encode

DEEP = [b"[" * 8_000, b'{"type":' + b"[" * 8_000, b"\x91" * 8_000, b"\x81\xa1x" + b"\x91" * 8_000, b'{"a":' * 3_000]
ODD = [
    b"",
    b"\xff",
    b'"\xff"',
    b'{"dc":"\xff"}',
    b'{"type":"\\ud800"}',
    b"\xdd\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
]


def sample(kind: Any) -> Any:
    """A value of a type, as msgspec writes it."""
    info = msgspec.inspect.type_info(kind) if not isinstance(kind, msgspec.inspect.Type) else kind
    match info:
        case msgspec.inspect.StructType(fields=fields):
            return {field.encode_name: sample(field.type) for field in fields}
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return {sample(key): sample(value)}
        case msgspec.inspect.ListType(item_type=item) | msgspec.inspect.VarTupleType(item_type=item):
            return [sample(item)]
        case msgspec.inspect.UnionType(types=types):
            return sample(types[0])
        case msgspec.inspect.IntType():
            return IDS[0]
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.BytesType():
            return b"12345678"
        case msgspec.inspect.NoneType():
            return None
        case _:
            return "Uada"


def events() -> list[bytes]:
    """One of each action."""
    found = []
    for action in registry().values():
        args = msgspec.convert(sample(action.Args), action.Args)
        found.append(encode(Event(IDS[1], action.name, action.version, USER, "k1", b"8 bytes.", args)))
    return found


def lane() -> list[Record]:
    """An open record and an event, signed."""
    signer, made, hash = signing.Signer(KEY), [], GENESIS
    bodies = [(KIND_OPEN, encode_opened(Opened("fra host", 1_767_323_045_670))), (KIND_EVENT, events()[0])]
    for seq, (kind, content) in enumerate(bodies, 1):
        hash = chain(hash, LANE, seq, IDS[seq - 1], kind, content)
        made.append(Record(LANE, seq, IDS[seq - 1], kind, content, hash, signer.sign(hash)))
    return made


def manifest() -> bytes:
    copy = TableCopy(2, 30, [Chunk(hashlib.blake2b(b"x", digest_size=32).hexdigest(), 2, 30, 40)])
    place = Place(1, str(IDS[0]), "00" * 32)
    return encode_manifest(
        Manifest(
            format=1, id="20260102T030405.670Z-fra", world="w", dc="fra", number=1, incarnation=0, epoch=1,
            created_ms=1_767_323_045_670, took_ms=3, f0={LANE: place}, f1={LANE: place}, tables={"users": copy},
        )
    )  # fmt: skip


def seeds(target: str) -> list[bytes]:
    """Of one target."""
    known = [path.read_bytes() for path in sorted((FOUND / target).glob("*"))]
    return [*valid().get(target, []), *known, *DEEP, *ODD]


@functools.cache
def valid() -> dict[str, list[bytes]]:
    written = lane()
    wire = b"".join(map(encode_record, written))
    row = [IDS[1], "D1", IDS[1], "send", USER, 7, {"text": "Hello", "key": "k", "to": [USER]}]
    cursor = Cursor(USER, "fra", 1, 17, {LANE: IDS[1]}, {"C1": 3, "C2": 4}, ("C2", USER))
    head = _HEADER.size
    object = encode_segment(Top(0, 0, GENESIS), written)[1]
    message = b'{"to": "Ugrace", "text": "Hello", "reply_to": "12"}'
    plain = b"POST /v1/messages HTTP/1.1\r\nHost: planb\r\nAuthorization: Bearer x\r\nContent-Length: %d\r\n\r\n%b"
    return {
        "event": events(),
        "opened": [written[0].body],
        "record": [wire],
        "lane_frame": [encode_frame(written[0].lane, State(3, b"owner", False, Top.of(written[-1])), written)],
        "replay": [wire],
        "signed_batch": [wire],
        "pull_request": [_json(sample(PullRequest)), encode_request(PullRequest(dc="iad"))],
        "pull_answer": [encode_answer(PullHeader(dc="fra", durable={1: 2}, applied={}, tops={1: (2, b"x")}), written)],
        "peer_tops": [_json({"tops": {"2048": [1, b"x" * 32]}, "applied": {"2048": 1}})],
        "peer_replayed": [_json({"applied": {"2048": 1}, "parked": 0})],
        "peer_problem": [_json({"code": "out_of_time", "detail": "x", "wall_ms": 3})],
        "answer_signature": [b"fra:" + b"0" * 64],
        "request_signature": [
            b"PlanB-HMAC operator:fra:1767323045670:" + b"0" * 32 + b":" + b"0" * 64 + b":" + b"0" * 64 + b"\n/p\nfra"
        ],
        "cursor": [_encode(cursor, cursor.channels, set(cursor.scan))],
        "cursor_text": [b"kA.AAAAAAAAAAAAAAAAAAAAAA"],
        "token": [b'{"iss":"planb","sub":"Uada","sid":"s1","iat":1767323045,"exp":1767326645}'],
        "token_text": [b"eyJhbGciOiJub25lIn0.e30.", b"eyJhbGciOiJIUzI1NiJ9.e30.AAAA"],
        "refresh_token": [_pack(["s1", USER, 1, 77, 1_900_000_000_000, 1_900_000_000_001])],
        "refresh_token_text": [b"kA.AAAAAAAAAAAAAAAAAAAAAA"],
        "clock_header": [IDS[0].to_bytes(8), IDS[0].to_bytes(8) * 2],
        "dialogs_after": [_pack([USER, IDS[0], "D1"])],
        "body": [message, b'{"messages": [{"key": "\\u0061", "n": [1, 2.5, -0, 1e400, true, null]}]}'],
        "plain_request": [
            plain % (len(message), message),
            plain.replace(b"Bearer x", b"\xa0 \t") % (0, b""),
            (plain % (4, b"abcd")).replace(b"Host: planb\r\n", b"Host: p\r\nPrefer: x\r\nconnection: Keep-Alive\r\n"),
        ],
        "announcement": [_pack([[["Uada", 3, 0], ["C1", 4, None]], [b'{"type":"message"}'], ["s1"]])],
        "client_frame": [
            b'{"type":"ping"}',
            b'{"type":"hello","token":"PB1.x.y","cursor":"PC1.x.y","at":{"dc":"fra","epoch":1,"pts":2,"channels":{"C1":3}}}',
        ],
        "segment_object": [object],
        "segment_content": [object[:head] + wire],
        "manifest_object": [manifest()],
        "manifest_content": [manifest()],
        "chunk_of_messages": [_json(row) + b"\n"],
        "chunk_of_results": [_json(["Uada", "k", IDS[1], "message.send", b"12345678", {"id": "1"}]) + b"\n"],
        "chunk_of_parked": [_json([LANE, 3, IDS[1], "why"]) + b"\n"],
        "chunk_of_rows": [_json({"user": USER, "name": "Ada", "name_at": IDS[1]}) + b"\n"],
    }  # fmt: skip
