"""Which object keys are allowed: those that every backend takes and that are safe as file names."""

import re

from core.errors import Invalid

KEY_CHARS_MAX = 512
PART_CHARS_MAX = 200
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
