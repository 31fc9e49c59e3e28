"""Who calls the internal listener: an HMAC under the key that all DCs and operators share, in both directions.

    request   Authorization: PlanB-HMAC <name>:<unix ms>:<hex>   over method, path with query, body, time and name
    answer    PlanB-Answer: <name>:<hex>                         over the request's hex, status, body and name

A request is refused when its time is more than 60 s from our clock. An answer belongs to one request, so a peer's
frontiers (which steer what is forgotten) can't be forged or repeated on the way. Nothing here is encrypted.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import NamedTuple

from core import limits
from core.errors import LinkFailed, Unauthenticated
from core.system import Clock

SCHEME = "PlanB-HMAC"
ANSWER_HEADER = "PlanB-Answer"
_KEY_BYTES_MIN = 16
_NAME = re.compile(r"[A-Za-z0-9._-]{1,63}")
_AUTHORIZATION = re.compile(rf"{SCHEME} ({_NAME.pattern}):([0-9]{{1,15}}):([0-9a-f]{{64}})")
_ANSWER = re.compile(rf"({_NAME.pattern}):([0-9a-f]{{64}})")


class Sender(NamedTuple):
    """Who signed a request."""

    name: str
    mac: str
    """The request's hex, which its answer is bound to."""


def sign_headers(key: bytes, name: str, method: str, path: str, body: bytes, now_ms: int) -> dict[str, str]:
    """The headers of a request by `name`; `path` as it is sent, with its query string."""
    return {"Authorization": f"{SCHEME} {name}:{now_ms}:{_request_mac(key, name, method, path, body, now_ms)}"}


def verify(key: bytes, authorization: str | None, method: str, path: str, body: bytes, now_ms: int) -> Sender:
    """Who sent it. Unauthenticated if the header is absent, malformed, wrong, or out of time; compares in constant
    time."""
    name, sent_ms, given = _parse(authorization, now_ms)
    if not hmac.compare_digest(given, _request_mac(key, name, method, path, body, sent_ms)):
        raise Unauthenticated("the signature is wrong")
    return Sender(name, given)


def _parse(authorization: str | None, now_ms: int) -> tuple[str, int, str]:
    if authorization is None:
        raise Unauthenticated(f"send Authorization: {SCHEME} <name>:<unix ms>:<hex>")
    match = _AUTHORIZATION.fullmatch(authorization)
    if match is None:
        raise Unauthenticated(f"the Authorization header must be: {SCHEME} <name>:<unix ms>:<hex>")
    sent_ms = int(match[2])
    if abs(now_ms - sent_ms) > limits.INTERNAL_AUTH_WINDOW_MS:
        raise Unauthenticated("the signature is out of time: is a clock wrong?")
    return match[1], sent_ms, match[3]


def sign_answer(key: bytes, name: str, request_mac: str, status: int, body: bytes) -> dict[str, str]:
    """The headers of `name`'s answer to a request."""
    return {ANSWER_HEADER: f"{name}:{_answer_mac(key, name, request_mac, status, body)}"}


def verify_answer(key: bytes, answer: str | None, request_mac: str, status: int, body: bytes) -> str:
    """Who answered. LinkFailed if that is not proven."""
    match = _ANSWER.fullmatch(answer or "")
    if match is None or not hmac.compare_digest(match[2], _answer_mac(key, match[1], request_mac, status, body)):
        raise LinkFailed("the answer is not signed with the shared key", private=f"status {status}")
    return match[1]


class InternalAuth:
    """One process's side of it: the shared key, our name, our clock."""

    def __init__(self, key: bytes, name: str, now_ms: Clock) -> None:
        if len(key) < _KEY_BYTES_MIN or not _NAME.fullmatch(name):
            raise ValueError(f"the internal key needs {_KEY_BYTES_MIN} bytes, a name 1 to 63 of [A-Za-z0-9._-]")
        self._key = key
        self._name = name
        self._now_ms = now_ms

    def sign(self, method: str, path: str, body: bytes) -> dict[str, str]:
        """Headers for a request of ours."""
        return sign_headers(self._key, self._name, method, path, body, self._now_ms())

    def check_answer(self, sent: Mapping[str, str], status: int, received: Mapping[str, str], body: bytes) -> None:
        """That an answer is for our request with headers `sent`. LinkFailed otherwise."""
        mac = sent["Authorization"].rpartition(":")[2]
        verify_answer(self._key, received.get(ANSWER_HEADER), mac, status, body)

    def check_form(self, authorization: str | None) -> None:
        """Refuses what can't be valid before its body is read. Unauthenticated."""
        _parse(authorization, self._now_ms())

    def verify(self, authorization: str | None, method: str, path: str, body: bytes) -> Sender:
        """See `verify`."""
        return verify(self._key, authorization, method, path, body, self._now_ms())

    def sign_answer(self, sender: Sender, status: int, body: bytes) -> dict[str, str]:
        """Headers for our answer."""
        return sign_answer(self._key, self._name, sender.mac, status, body)


def _request_mac(key: bytes, name: str, method: str, path: str, body: bytes, sent_ms: int) -> str:
    return _mac(key, "request", name, str(sent_ms), method, path, body=body)


def _answer_mac(key: bytes, name: str, request_mac: str, status: int, body: bytes) -> str:
    return _mac(key, "answer", name, request_mac, str(status), body=body)


def _mac(key: bytes, *parts: str, body: bytes) -> str:
    digest = hashlib.blake2b(body, digest_size=32).hexdigest()
    # No part can hold a line feed: the request line and the patterns above rule it out.
    return hmac.new(key, "\n".join((*parts, digest)).encode("utf-8", "surrogateescape"), "sha256").hexdigest()
