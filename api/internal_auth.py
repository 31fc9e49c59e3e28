"""Who calls the internal listener: an HMAC under the key that all DCs and operators share, in both directions.

    request   Authorization: PlanB-HMAC <name>:<to>:<unix ms>:<nonce>:<body's hash>:<hex>
              over sender, receiver, time, nonce, method, path with query, the body's hash and the headers in `SIGNED`
    answer    PlanB-Answer: <name>:<hex>
              over the request's hex, status, body and name

A request is for one DC, counts once, and within 60 s of our clock (api/nonces.py); reads may be repeated. It is
judged by its head: of a sender without the key no byte of body is read. An answer belongs to one request, so a peer's
frontiers (which steer what is forgotten) can't be forged or repeated on the way. Nothing here is encrypted.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import NamedTuple

from api.nonces import Nonces
from core.errors import LinkFailed, Unauthenticated
from core.system import Clock, Entropy, steady_clock_ms
from core.system import entropy as system_entropy

SCHEME = "PlanB-HMAC"
ANSWER_HEADER = "PlanB-Answer"
SIGNED = ("dc", "Idempotency-Key", "Prefer", "X-Clock", "X-Cursor")
"""The headers that change what a request does; their values are signed, "" for one that is absent."""
NONCE_BYTES = 16
_READS = frozenset(("GET", "HEAD"))
_KEY_BYTES_MIN = 16
_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
_FORM = f"{SCHEME} <name>:<to>:<unix ms>:<nonce>:<body hash>:<hex>"
_AUTHORIZATION = re.compile(
    rf"{SCHEME} ({_NAME.pattern}):({_NAME.pattern}):([0-9]{{1,15}}):([0-9a-f]{{32}}):([0-9a-f]{{64}}):([0-9a-f]{{64}})"
)
_ANSWER = re.compile(rf"({_NAME.pattern}):([0-9a-f]{{64}})")


class Sender(NamedTuple):
    """Who signed a request, and for which body."""

    name: str
    mac: str
    """The request's hex, which its answer is bound to."""
    body_hash: str

    def check_body(self, body: bytes) -> None:
        """Unauthenticated if another body was signed."""
        if not hmac.compare_digest(hash_of(body), self.body_hash):
            raise Unauthenticated("another body was signed")


def hash_of(body: bytes) -> str:
    """As it is signed: BLAKE2b-256 in hex."""
    return hashlib.blake2b(body, digest_size=32).hexdigest()


def sign_headers(
    key: bytes,
    name: str,
    to: str,
    method: str,
    path: str,
    body: bytes,
    now_ms: int,
    nonce: str,
    headers: Mapping[str, str],
) -> dict[str, str]:
    """`headers` and the signature, for a request by `name` to the DC `to`; `path` as it is sent, with its query
    string. `nonce`: 32 hex digits, never the same twice."""
    hashed = hash_of(body)
    mac = _request_mac(key, name, to, str(now_ms), nonce, method, path, hashed, headers)
    return {**headers, "Authorization": f"{SCHEME} {name}:{to}:{now_ms}:{nonce}:{hashed}:{mac}"}


def sign_answer(key: bytes, name: str, request_mac: str, status: int, body: bytes) -> dict[str, str]:
    """The headers of `name`'s answer to a request."""
    return {ANSWER_HEADER: f"{name}:{_answer_mac(key, name, request_mac, status, body)}"}


def verify_answer(key: bytes, answer: str | None, request_mac: str, status: int, body: bytes) -> str:
    """Who answered. LinkFailed if that is not proven."""
    match = _ANSWER.fullmatch(answer or "")
    if match is None or not hmac.compare_digest(match[2], _answer_mac(key, match[1], request_mac, status, body)):
        raise LinkFailed(
            "the answer is not signed with the shared key: sys_key_file differs there, or another program answers",
            private=f"status {status}",
        )
    return match[1]


WRONG_SIGNATURE = "the signature is wrong"


class InternalAuth:
    """One process's side of it: the shared key, our name, our clock. What it was made before is not taken."""

    def __init__(
        self,
        key: bytes,
        name: str,
        now_ms: Clock,
        entropy: Entropy = system_entropy,
        *,
        steady_ms: Clock = steady_clock_ms,
        shown_ms: Clock | None = None,
    ) -> None:
        """`now_ms` may be put right while the process runs; `steady_ms` says how long that is. `shown_ms`: the wall
        clock as it is, for those who are out of time (default: `now_ms`)."""
        if len(key) < _KEY_BYTES_MIN or not _NAME.fullmatch(name):
            raise ValueError(f"the internal key needs {_KEY_BYTES_MIN} bytes, a name 1 to 63 of [A-Za-z0-9._-]")
        self._key = key
        self._name = name
        self._now_ms = now_ms
        self._entropy = entropy
        self._shown_ms = shown_ms or now_ms
        began_ms = steady_ms()
        self._nonces = Nonces(lambda: self._now_ms() - (steady_ms() - began_ms))

    def sign(
        self, to: str, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """`headers` and the signature, for a request of ours to the DC `to`. Sign a repetition anew."""
        nonce = self._entropy(NONCE_BYTES).hex()
        return sign_headers(self._key, self._name, to, method, path, body, self._now_ms(), nonce, headers or {})

    def check_answer(self, sent: Mapping[str, str], status: int, received: Mapping[str, str], body: bytes) -> None:
        """That an answer is for our request with headers `sent`. LinkFailed otherwise."""
        mac = sent["Authorization"].rpartition(":")[2]
        verify_answer(self._key, received.get(ANSWER_HEADER), mac, status, body)

    def verify(self, method: str, path: str, headers: Mapping[str, str]) -> Sender:
        """Who sent the request with this head; its body is checked when it has come. Unauthenticated if the signature
        is absent, malformed, wrong, or for another DC; compares in constant time. Not whether it counts: `admit`."""
        authorization = headers.get("Authorization")
        if authorization is None:
            raise Unauthenticated(f"send Authorization: {_FORM}")
        match = _AUTHORIZATION.fullmatch(authorization)
        if match is None:
            raise Unauthenticated(f"the Authorization header must be: {_FORM}")
        name, to, sent_ms, nonce, hashed, given = match.groups()
        if not hmac.compare_digest(
            given, _request_mac(self._key, name, to, sent_ms, nonce, method, path, hashed, headers)
        ):
            raise Unauthenticated(WRONG_SIGNATURE)
        if to != self._name:
            raise Unauthenticated(f"it was signed for {to}, and this is {self._name}")
        return Sender(name, given, hashed)

    def admit(self, method: str, headers: Mapping[str, str], sender: Sender) -> None:
        """That a verified request counts: in time, and, unless it only reads, for the first time. OutOfTime (it says
        what our wall clock shows), Unauthenticated, AlreadyReceived."""
        now_ms, sent_ms = self._now_ms(), int(headers["Authorization"].split(":")[2])
        self._nonces.check(sent_ms, now_ms, self._shown_ms())
        if method not in _READS:
            self._nonces.take(sent_ms, bytes.fromhex(sender.mac[: 2 * NONCE_BYTES]), now_ms)

    def sign_answer(self, sender: Sender, status: int, body: bytes) -> dict[str, str]:
        """Headers for our answer."""
        return sign_answer(self._key, self._name, sender.mac, status, body)


def _request_mac(
    key: bytes,
    name: str,
    to: str,
    sent_ms: str,
    nonce: str,
    method: str,
    path: str,
    hashed: str,
    headers: Mapping[str, str],
) -> str:
    signed = [headers.get(header, "") for header in SIGNED]
    return _mac(key, "request", name, to, sent_ms, nonce, method, path, hashed, *signed)


def _answer_mac(key: bytes, name: str, request_mac: str, status: int, body: bytes) -> str:
    return _mac(key, "answer", name, request_mac, str(status), hash_of(body))


def _mac(key: bytes, *parts: str) -> str:
    # No part can hold a line feed: the request line, the form of headers and the patterns above rule it out.
    return hmac.new(key, "\n".join(parts).encode("utf-8", "surrogateescape"), "sha256").hexdigest()
