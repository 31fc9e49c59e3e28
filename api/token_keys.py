"""The keys of tokens, as all datacenters share them: the first signs, all of them are believed.

A file has one key a line, 32 bytes in base64; what follows `#` is a comment. A key's name is made of it, so that equal
names are equal keys.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import NamedTuple

from core.errors import ConfigError

KEY_BYTES = 32
KEYS_MAX = 16


class TokenKey(NamedTuple):
    name: str
    """`kid`: 16 hexadecimal digits."""
    secret: bytes


def named(secret: bytes) -> TokenKey:
    return TokenKey(hashlib.blake2b(secret, digest_size=8, person=b"token key name").hexdigest(), secret)


def derived(shared: bytes) -> TokenKey:
    """That of a platform without a file of keys, from the key that its datacenters share."""
    return named(hmac.digest(shared, b"token key 1", "sha256"))


def line_of(key: TokenKey) -> str:
    """As a file has it."""
    return f"{base64.b64encode(key.secret).decode()} # {key.name}"


def read_keys(text: str) -> tuple[TokenKey, ...]:
    """Those of a file's text. ConfigError, which shows nothing of a key."""
    found: list[TokenKey] = []
    for number, line in enumerate(text.splitlines(), 1):
        encoded = line.partition("#")[0].strip()
        if not encoded:
            continue
        try:
            secret = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) != KEY_BYTES:
            raise ConfigError(f"line {number}: {KEY_BYTES} bytes in base64 are a key")
        key = named(secret)
        if key in found:
            raise ConfigError(f"line {number}: {key.name} is there already")
        found.append(key)
    if not 0 < len(found) <= KEYS_MAX:
        raise ConfigError(f"{len(found)} keys: 1 to {KEYS_MAX} are needed")
    return tuple(found)


class TokenKeys:
    """The keys of now. Whoever keeps what was made of them asks to be told when they change."""

    def __init__(self, keys: Sequence[TokenKey]) -> None:
        self._keys = tuple(keys)
        self.on_change: list[Callable[[], None]] = []

    @property
    def signing(self) -> TokenKey:
        return self._keys[0]

    @property
    def all(self) -> tuple[TokenKey, ...]:
        return self._keys

    @property
    def names(self) -> list[str]:
        """The one that signs first."""
        return [key.name for key in self._keys]

    def replace(self, keys: Sequence[TokenKey]) -> bool:
        """From now on these; False if nothing changes."""
        if tuple(keys) == self._keys:
            return False
        self._keys = tuple(keys)
        for tell in self.on_change:
            tell()
        return True
