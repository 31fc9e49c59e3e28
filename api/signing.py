"""Signed strings that a client carries and can't forge: `<prefix>.<base64url payload>.<base64url mac>`.

The MAC is HMAC-SHA256 cut to 16 bytes over prefix and payload, so a string of one kind is never taken for another.
The key is shared by all DCs: what one signs, every other believes.
"""

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

MAC_BYTES = 16


def encode(data: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes | None:
    """Strict: what doesn't encode back to the same text is refused, so a payload has one spelling."""
    try:
        data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return None
    return data if encode(data) == text else None


class Signer:
    """Seals and opens strings of one kind."""

    def __init__(self, key: bytes, prefix: str, chars_max: int) -> None:
        if len(key) < MAC_BYTES:
            raise ValueError("the signing key is too short")
        self._key = key
        self._head = prefix + "."
        self._context = prefix.encode() + b"\0"
        self._chars_max = chars_max

    def seal(self, payload: bytes) -> str:
        return f"{self._head}{encode(payload)}.{encode(self._mac(payload))}"

    def open(self, text: str) -> bytes | None:
        """The payload; None for anything that was not sealed with this key and prefix."""
        if len(text) > self._chars_max or not text.startswith(self._head):
            return None
        body, dot, mac = text[len(self._head) :].partition(".")
        payload, given = decode(body), decode(mac)
        if not dot or payload is None or given is None:
            return None
        return payload if hmac.compare_digest(given, self._mac(payload)) else None

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, self._context + payload, "sha256")[:MAC_BYTES]
