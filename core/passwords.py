"""Salted password hashes (Argon2id, RFC 9106), as they are kept in `users.password`: a PHC string."""

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from core import limits

SALT_BYTES = 16
_HASH_BYTES = 32
_HEAD = f"$argon2id$v=19$m={limits.PASSWORD_MEMORY_KIB},t={limits.PASSWORD_PASSES},p=1$"
NOBODYS = f"{_HEAD}{'A' * 22}${'A' * 43}"
"""Costs as much to compare as a real one."""


def hashed(password: str, salt: bytes) -> str:
    """What is stored in place of a password."""
    found = Argon2id(
        salt=salt,
        length=_HASH_BYTES,
        iterations=limits.PASSWORD_PASSES,
        lanes=1,
        memory_cost=limits.PASSWORD_MEMORY_KIB,
    ).derive_phc_encoded(password.encode())
    return found


def matches(password: str, stored: str) -> bool:
    """Is it the password that `stored` was made of? False for "" (no password set), and for what is no such string, or
    one that costs more than ours."""
    if not stored.startswith(_HEAD):
        return False
    try:
        Argon2id.verify_phc_encoded(password.encode(), stored)
    except InvalidKey:
        return False
    return True
