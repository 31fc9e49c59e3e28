"""JSON Web Tokens (RFC 7519) under HMAC-SHA256, of exactly one shape.

A header is one of those that we write ourselves, one per key, compared as text: there is no algorithm to choose, no key
to look for, and no second spelling. The payload is read after its signature was found right. decisions/0025 says why no
library does it; the tests let PyJWT read and write the same.
"""

import hmac
from collections.abc import Sequence

import msgspec

from api.signing import decode, encode
from api.token_keys import TokenKey
from core import limits
from core.unreadable import UNREADABLE

_MAC_BYTES = 32


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    iss: str
    sub: str
    """The user."""
    sid: str
    """The session."""
    iat: int
    """Seconds, as `exp`."""
    exp: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Claims)


class Jwt:
    """Of a set of keys: the first signs."""

    def __init__(self, keys: Sequence[TokenKey]) -> None:
        self._heads = {_head(key): key.secret for key in keys}
        self._head, self._secret = next(iter(self._heads.items()))

    def sign(self, claims: Claims) -> str:
        body = f"{self._head}.{encode(_encoder.encode(claims))}"
        return f"{body}.{encode(hmac.digest(self._secret, body.encode(), 'sha256'))}"

    def read(self, text: str) -> Claims | None:
        """None for what was not signed with one of the keys, as we do it."""
        if len(text) > limits.TOKEN_CHARS_MAX:
            return None
        body, _, mac = text.rpartition(".")
        head, _, payload = body.partition(".")
        secret = self._heads.get(head)
        given = decode(mac)
        if secret is None or given is None or len(given) != _MAC_BYTES:
            return None
        if not hmac.compare_digest(given, hmac.digest(secret, body.encode(), "sha256")):
            return None
        try:
            return _decoder.decode(decode(payload) or b"")
        except UNREADABLE:
            return None


def _head(key: TokenKey) -> str:
    return encode(_encoder.encode({"alg": "HS256", "kid": key.name, "typ": "JWT"}))
