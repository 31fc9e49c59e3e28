"""Websocket clients that send whatever they like, frame by frame."""

import asyncio
import base64
import struct
from random import Random

from tests.fuzz import values
from tests.fuzz.pipes import Lost, Pipe
from tests.fuzz.shots import Known

FRAMES_MAX = 12
_HELLOS = (
    b'{"type":"hello"}',
    b'{"type":"hello","token":%b}',
    b'{"type":"hello","cursor":%b}',
    b'{"type":"hello","at":%b}',
    b'{"type":"hello","token":null,"cursor":null,"at":null}',
    b'{"type":"ping"}',
    b'{"type":%b}',
    b"%b",
    b'{"type":"hello","x":%b}',
)


def frame(rng: Random, opcode: int, payload: bytes, *, odd: bool = False) -> bytes:
    """One frame of a client; an odd one breaks some rule of RFC 6455."""
    final, masked, reserved = True, True, 0
    if odd:
        final, masked = rng.random() < 0.5, rng.random() < 0.5
        reserved = rng.choice((0, 0, 0x40, 0x20, 0x10))
        opcode = rng.choice((opcode, rng.randrange(16)))
    first = (0x80 if final else 0) | reserved | opcode
    length = (
        len(payload) if not odd or rng.random() < 0.7 else rng.choice((0, 126, 70_000, 2**31, 2**63 - 1, 2**64 - 1))
    )
    size = (
        struct.pack(">B", length | 0x80 * masked)
        if length < 126
        else struct.pack(">BH", 126 | 0x80 * masked, length)
        if length < 65_536
        else struct.pack(">BQ", 127 | 0x80 * masked, length)
    )
    if not masked:
        return bytes([first]) + size + payload
    key = rng.randbytes(4)
    return bytes([first]) + size + key + _masked(key, payload)


def _masked(key: bytes, payload: bytes) -> bytes:
    """In one go: byte by byte this was most of what the clients cost."""
    count = len(payload)
    mask = (key * (count // 4 + 1))[:count]
    return (int.from_bytes(payload) ^ int.from_bytes(mask)).to_bytes(count)


def _upgrade(rng: Random, token: bytes) -> bytes:
    key = base64.b64encode(rng.randbytes(16))
    lines = [
        b"GET /v1/stream HTTP/1.1",
        b"Host: planb",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: " + key,
    ]
    if rng.random() < 0.5:
        lines.append(b"Authorization: Bearer " + token)
    if rng.random() < 0.15:
        at = rng.randrange(len(lines))
        lines[at] = rng.choice(
            (b"Sec-WebSocket-Version: 99", b"Sec-WebSocket-Key: x", b"Connection: close", b"X: y", b"dc: fra")
        )
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _payload(rng: Random, known: Known, user: str) -> bytes:
    shape = rng.choice(_HELLOS)
    if b"%b" not in shape:
        return shape
    if b"token" in shape and rng.random() < 0.6:
        return shape % (b'"%b"' % known.tokens[user])
    if b"cursor" in shape and rng.random() < 0.6:
        return shape % (b'"%b"' % rng.choice(known.cursors[user]))
    return shape % rng.choice(values.HOSTILE)


async def one(rng: Random, port: int, known: Known) -> tuple[list[int], bytes]:
    """One connection from upgrade to end; the status of the upgrade, and all that came after it."""
    user = rng.choice(list(known.tokens))
    pipe = await Pipe.open(port)
    statuses = []
    try:
        answer = (await pipe.ask(_upgrade(rng, known.tokens[user])))[0]
        statuses.append(answer.status)
        if answer.status != 101:
            return statuses, b""
        if rng.random() < 0.5:
            pipe.send(frame(rng, 1, b'{"type":"hello"}' if rng.random() < 0.5 else _payload(rng, known, user)))
        for _ in range(rng.randrange(FRAMES_MAX)):
            if pipe.closed:
                break
            payload = _payload(rng, known, user)
            pipe.send(
                frame(
                    rng,
                    rng.choice((1, 1, 1, 2, 8, 9, 10)),
                    payload[: rng.choice((125, 70_000))],
                    odd=rng.random() < 0.3,
                )
            )
            await asyncio.sleep(rng.random() / 50)  # a pace, not a condition
        if rng.random() < 0.05:
            pipe.send(b"".join(frame(rng, 9, b"x" * 100) for _ in range(500)))
    except Lost as error:
        statuses += [answer.status for answer in error.answers]
    except TimeoutError:
        statuses.append(0)
    finally:
        pipe.close()
    return statuses, pipe.rest
