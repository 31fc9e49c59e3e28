"""Which objects are allowed: keys that every backend takes and that are safe as file names, and a bounded length."""

import re
import string

from core import limits
from core.errors import Invalid, TooLarge

KEY_CHARS_MAX = 512
PART_CHARS_MAX = 200
KEY_ALPHABET = frozenset(string.ascii_letters + string.digits + "._-/")
_PART = rf"[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{PART_CHARS_MAX - 1}}}"
_KEY = re.compile(rf"{_PART}(?:/{_PART})*")


def is_key(text: str) -> bool:
    """Whether an object may be called so."""
    return len(text) <= KEY_CHARS_MAX and _KEY.fullmatch(text) is not None


def checked(key: str) -> str:
    """The key itself. Invalid for one that could leave the store's folder or that some backend refuses."""
    if not is_key(key):
        raise Invalid(f"{key[:KEY_CHARS_MAX]!r} is not an object key")
    return key


def checked_size(key: str, data: bytes) -> bytes:
    """The data itself. TooLarge beyond what any store takes."""
    if len(data) > limits.OBJECT_BYTES_MAX:
        raise TooLarge(f"object {key} would have {len(data)} bytes; {limits.OBJECT_BYTES_MAX} are the most")
    return data
