"""Salted password hashes (scrypt, RFC 7914), as they are kept in `users.password`: `scrypt$<salt>$<hash>`, hex."""

import hashlib
import hmac

SALT_BYTES = 16
_COST, _BLOCK, _PARALLEL = 1 << 14, 8, 1
"""16 MiB and some 40 ms of CPU per hash."""


def hashed(password: str, salt: bytes) -> str:
    """What is stored in place of a password."""
    return f"scrypt${salt.hex()}${_digest(password, salt).hex()}"


def matches(password: str, stored: str) -> bool:
    """Is it the password that `stored` was made of? False for "" (no password set) and for unknown schemes."""
    scheme, _, rest = stored.partition("$")
    salt, _, digest = rest.partition("$")
    if scheme != "scrypt" or not salt or not digest:
        return False
    return hmac.compare_digest(_digest(password, bytes.fromhex(salt)), bytes.fromhex(digest))


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL, dklen=32)
