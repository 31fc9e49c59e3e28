"""Every decoder of bytes that come from outside a process, and what any bytes may do to it.

A target takes bytes and returns, or raises one of its documented errors. What it returns is written and read again: it
is the same. Where a checksum, a MAC or a hash stands before the content, the target makes it right first, as somebody
would who has the key or writes to the bucket: the content behind it is judged, too.
"""

import asyncio
import functools
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import msgspec
import zstandard
from aiohttp.http_parser import HttpRequestParser
from msgspec.structs import replace

from api import decoding
from api.clock_header import ClockHeader
from api.cursors import Cursors
from api.internal_auth import InternalAuth, verify_answer
from api.jwt import Claims, Jwt
from api.plain_request import Reader
from api.queries.dialogs import Dialogs
from api.replay import _decode as replayed
from api.signing import Signer, encode
from api.token_keys import TokenKeys, derived
from api.tokens import Tokens
from broker import frames
from core import limits
from core.clock import HybridClock
from core.errors import ClockAhead, Corrupt, Invalid, LinkFailed, PlanBError, Unauthenticated, Undecodable
from core.messages import Row
from events import record as records
from events import signing
from events.adapters.pulsar_frame import decode_frame, encode_frame
from events.codec import codec, decode_opened, encode_opened
from events.record import GENESIS, Record
from replicator import link, wire
from snapshot import chunks, manifest, segment
from stores.ports import Parked, Result
from stores.progress import Progress

KEY = bytes(range(32))
WALL_MS = 1_767_323_045_670
USER = "Uada"


class Target(NamedTuple):
    """One decoder. `run` raises nothing but `errors`; AssertionError where what was read is written differently."""

    name: str
    run: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    bytes_max: int = 4_096
    """Of an input that is made up."""
    memory_bytes: int = 262_144
    """What one input may take, on top of 256 times its size."""


TARGETS: dict[str, Target] = {}


def target(*errors: type[Exception], **bounds: int) -> Callable[[Callable[[bytes], object]], Callable[[bytes], object]]:
    """Registers a decoder under its function's name."""

    def register(run: Callable[[bytes], object]) -> Callable[[bytes], object]:
        TARGETS[run.__name__] = Target(run.__name__, run, errors, **bounds)
        return run

    return register


def same(read: object, again: object) -> None:
    assert read == again, f"read as {read!r:.500}, written and read again as {again!r:.500}"


# -- the log and what is replicated


@target(Undecodable)
def event(data: bytes) -> None:
    read = codec().decode(data)
    same(read, codec().decode(codec().encode(read)))


@target(Undecodable)
def opened(data: bytes) -> None:
    read = decode_opened(data)
    same(read, decode_opened(encode_opened(read)))


@target(Corrupt)
def record(data: bytes) -> None:
    read = records.decode_all(data)
    same(data, b"".join(map(records.encode, read)))
    for one in read:
        codec().entry(one)
    records.dense_by_lane(read)


@target(Corrupt)
def lane_frame(data: bytes) -> None:
    lane = int.from_bytes(data[6:8])
    read = decode_frame(lane, data)
    same(data, encode_frame(lane, read.state, read.records()))


@target(Invalid)
def replay(data: bytes) -> None:
    replayed(data)


def chained(found: Sequence[Record]) -> list[Record]:
    """The same, each with the hash that follows from the one before it."""
    hash, made = GENESIS, []
    for one in found:
        hash = records.chain(hash, one.lane, one.seq, one.id, one.kind, one.body)
        made.append(replace(one, hash=hash))
    return made


_verifier = signing.Verifier({1: signing.Signer(KEY).public})


@target(Corrupt)
def signed_batch(data: bytes) -> None:
    _verifier.vouched(GENESIS, chained(records.decode_all(data)))


@target(Invalid)
def pull_request(data: bytes) -> None:
    read = wire.decode_request(data)
    same(read, wire.decode_request(wire.encode_request(read)))


@target(Corrupt)
def pull_answer(data: bytes) -> None:
    header, found = wire.decode_answer(data)
    same((header, found), wire.decode_answer(wire.encode_answer(header, found)))


@target(Corrupt)
def peer_tops(data: bytes) -> None:
    link._decode(data, link._Tops)


@target(Corrupt)
def peer_replayed(data: bytes) -> None:
    link._decode(data, link._Replayed)


@target()
def peer_problem(data: bytes) -> None:
    assert isinstance(link._problem(503, data), PlanBError)


@target(LinkFailed)
def answer_signature(data: bytes) -> None:
    verify_answer(KEY, data.decode("latin-1"), "0" * 64, 200, b"")


_auth = InternalAuth(KEY, "fra", lambda: WALL_MS)


@target(Unauthenticated)
def request_signature(data: bytes) -> None:
    head, _, rest = data.decode("latin-1").partition("\n")
    path, _, header = rest.partition("\n")
    _auth.verify("POST", path, {"Authorization": head, "dc": header})


# -- what clients carry


_seals = {prefix: Signer(KEY, prefix, limits.CURSOR_CHARS_MAX) for prefix in ("PC1", "PX1", "PD1")}
_cursors = Cursors(KEY)
_keys = TokenKeys([derived(KEY)])
_jwt = Jwt(_keys.all)
_tokens = Tokens(_keys, cast(Any, None), lambda: WALL_MS, bytes)
_dialogs = Dialogs(KEY, *[cast(Any, None)] * 4)


def sealed(prefix: str, payload: bytes) -> str:
    """With the right MAC."""
    return _seals[prefix].seal(payload)


@target(Invalid, bytes_max=24_000)
def cursor(data: bytes) -> None:
    user = _user_of(data)
    read = _cursors.open(sealed("PC1", data), user)
    read.position()
    # A supergroup whose search has not begun, and what is too long, is left out: once, and then no more.
    again = _cursors.open(_cursors.seal(read), user)
    same(again, _cursors.open(_cursors.seal(again), user))


def _user_of(data: bytes) -> str:
    try:
        return str(msgspec.msgpack.decode(data)[0])
    except Exception:  # no cursor at all
        return USER


@target(Invalid)
def cursor_text(data: bytes) -> None:
    _cursors.open("PC1." + data.decode("latin-1"), USER)


@target(Unauthenticated)
def token(data: bytes) -> None:
    """Whatever claims, rightly signed."""
    body = f"{_jwt.sign(Claims('planb', USER, 's1', 0, 1)).partition('.')[0]}.{encode(data)}"
    claims = _jwt.read(f"{body}.{encode(hmac.digest(_keys.signing.secret, body.encode(), 'sha256'))}")
    if claims is None:
        raise Unauthenticated
    same(claims, _jwt.read(_jwt.sign(claims)))


@target(Unauthenticated)
def token_text(data: bytes) -> None:
    _tokens._verify(data.decode("latin-1"))


@target(Unauthenticated)
def refresh_token(data: bytes) -> None:
    """Whatever payload, rightly sealed."""
    came = _tokens.refresh(Signer(_keys.signing.secret, f"PR1.{_keys.signing.name}", 4_096).seal(data))
    same(came, _tokens.refresh(str(_tokens.grant(came)["refresh_token"])))


@target(Unauthenticated)
def refresh_token_text(data: bytes) -> None:
    _tokens.refresh(f"PR1.{_keys.signing.name}." + data.decode("latin-1"))


@target(Invalid, ClockAhead)
def clock_header(data: bytes) -> None:
    header = ClockHeader(KEY, HybridClock(lambda: WALL_MS), lambda: WALL_MS, Progress())
    header.observe(sealed("PX1", data))


@target(Invalid)
def dialogs_after(data: bytes) -> None:
    _dialogs._open(sealed("PD1", data), USER)


@target(Invalid, bytes_max=16_384)
def body(data: bytes) -> None:
    """What is taken is what every other parser reads."""
    read = decoding.decode_object(data)
    if data:
        same(read, json.loads(data))


class _Protocol(asyncio.BaseProtocol):
    _reading_paused = False

    def pause_reading(self) -> None: ...

    def resume_reading(self, resume_parser: bool = True) -> None: ...


@functools.cache
def _loop_of(process: int) -> asyncio.AbstractEventLoop:
    """Forked processes must not share one."""
    return asyncio.new_event_loop()


def _loop() -> asyncio.AbstractEventLoop:
    return _loop_of(os.getpid())


@target(bytes_max=2_048)
def plain_request(data: bytes) -> None:
    """A request that is answered past the framework is, to the framework, that one request and no other."""
    reader = Reader()
    read = reader.read(data)
    same(reader.read(data), read)
    if read is None:
        return
    parser = HttpRequestParser(
        cast(Any, _Protocol()), _loop(), 65_536, max_line_size=8_190, max_field_size=8_190, auto_decompress=False
    )
    messages, upgraded, tail = parser.feed_data(data)
    assert len(messages) == 1 and not upgraded and not tail, "more than one request"
    head, payload = messages[0]
    same((head.method, head.path), ("POST", read.path))
    same({name: head.headers.get(name) for name in read.headers}, read.headers)
    same(len(head.headers), len(read.headers))
    same(b"".join(cast(Any, payload)._buffer) if read.body else b"", read.body)
    assert not head.should_close and not head.chunked and not head.compression


# -- the stream


@target(Corrupt, bytes_max=16_384)
def announcement(data: bytes) -> None:
    for update in frames.announcement(data).updates:
        frames.type_of(update)


@target(bytes_max=16_384)
def client_frame(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:  # the websocket's own reader refuses it
        return
    frames.from_client(text)


# -- objects


_SPAN = segment.Span(2048, 1, 2)


@target(Corrupt, memory_bytes=limits.SEGMENT_BYTES_MAX + limits.BODY_BYTES_MAX + 1_048_576)
def segment_object(data: bytes) -> None:
    segment.decode_segment(_SPAN, data)


@target(Corrupt, memory_bytes=limits.SEGMENT_BYTES_MAX + limits.BODY_BYTES_MAX + 1_048_576)
def segment_content(data: bytes) -> None:
    """Behind a right checksum and in a right frame: a header, and what the frame holds."""
    size = segment._HEADER.size
    head, frame = data[:size], zstandard.ZstdCompressor(level=1).compress(data[size:])
    read = segment.decode_segment(_SPAN, b"".join((head, segment._checksum(head, frame), frame)))
    same(read.records, segment.decode_segment(*segment.encode_segment(read.previous, read.records)).records)


@target(Corrupt)
def manifest_object(data: bytes) -> None:
    manifest.decode_manifest("snapshots/20260102T030405.670Z-fra/manifest.json", data)


@target(Corrupt)
def manifest_content(data: bytes) -> None:
    """Behind a right checksum: whatever a restore takes from it can be taken."""
    try:
        made = manifest._sealed(msgspec.json.decode(data, type=manifest.Manifest))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    read = manifest.decode_manifest(made.key, msgspec.json.encode(made))
    manifest.tops_of(read.f0), manifest.tops_of(read.f1)
    same(read, manifest.decode_manifest(read.key, manifest.encode_manifest(read)))


def _chunk(data: bytes, kind: Any) -> None:
    frame = zstandard.ZstdCompressor(level=1).compress(data)
    name = hashlib.blake2b(frame, digest_size=32).hexdigest()
    objects: Any = SimpleNamespace(get=lambda key: _given(frame))
    reading = chunks.get_rows(objects, manifest.Chunk(name, data.count(b"\n"), len(frame), len(data)), kind)
    _loop().run_until_complete(reading)


async def _given(data: bytes) -> bytes:
    return data


@target(Corrupt, bytes_max=16_384)
def chunk_of_messages(data: bytes) -> None:
    _chunk(data, Row)


@target(Corrupt, bytes_max=16_384)
def chunk_of_results(data: bytes) -> None:
    _chunk(data, Result)


@target(Corrupt, bytes_max=16_384)
def chunk_of_parked(data: bytes) -> None:
    _chunk(data, Parked)


@target(Corrupt, bytes_max=16_384)
def chunk_of_rows(data: bytes) -> None:
    _chunk(data, Any)
