"""Request bodies, strictly: one JSON object, UTF-8, no doubled names, no NUL, no lone surrogates, of bounded depth and
number of values.

What two parsers could read differently is refused, so that no check is passed by one reading and bypassed by another.
What has too many values is refused before anything is made of it.
"""

import json
import re
from typing import Any

import msgspec

from core import limits
from core.errors import Invalid

_decoder = msgspec.json.Decoder()
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""Also one that does not end: so each byte is looked at once, whatever the body is."""
_FEW_BYTES = 2 * limits.JSON_VALUES_MAX
"""Fewer can't hold too many values: each has a byte and a comma."""


def problem(field: str, text: str) -> dict[str, str]:
    """One entry of a problem's `errors`; what is too long is cut."""
    return {"field": _cut(field, limits.ERROR_TEXT_CHARS_MAX // 2), "problem": _cut(text, limits.ERROR_TEXT_CHARS_MAX)}


def refused(text: str, field: str = "") -> Invalid:
    listed = problem(field, text)
    return Invalid(f"{listed['field']}: {listed['problem']}" if field else listed["problem"], errors=[listed])


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else text[: chars - 1] + "…"


def decode_object(raw: bytes) -> dict[str, Any]:
    """The JSON object of a body; an empty body is an empty object. Invalid for anything else."""
    if not raw:
        return {}
    if len(raw) > _FEW_BYTES and _holds_too_many(raw):
        raise _too_many()
    try:
        value = _decoder.decode(raw)
    except UnicodeDecodeError as error:
        raise refused("the body is not UTF-8") from error
    except RecursionError as error:
        raise refused(f"nested more than {limits.JSON_DEPTH_MAX} deep") from error
    except msgspec.DecodeError as error:
        raise refused(f"the body is not JSON: {str(error).removeprefix('JSON is malformed: ')}") from error
    if not isinstance(value, dict):
        raise refused("the body must be a JSON object")
    if len(value) > limits.FIELDS_MAX:
        raise refused(f"more than {limits.FIELDS_MAX} fields")
    if b"\\" in raw or not _plainly_flat(value, raw):
        _check_names(raw)
        _check(value, "", 1, limits.JSON_VALUES_MAX)
    return value


def _too_many() -> Invalid:
    return refused(f"more than {limits.JSON_VALUES_MAX} values")


def _holds_too_many(raw: bytes) -> bool:
    """Surely, if it is JSON: what is not refused has at most twice as many as there may be."""
    if not _many(raw):
        return False
    # A quote that opens a string follows no backslash, so there are no more strings than this; and of two strings one
    # is a value.
    if raw.count(b'"') - raw.count(b'\\"') > 4 * limits.JSON_VALUES_MAX:
        return True
    return _many(_STRING.sub(b"", raw))


def _many(raw: bytes) -> bool:
    """Each comma stands before a value, and each bracket begins one; the first of all has no comma."""
    brackets = raw.count(b"[") + raw.count(b"{")
    return raw.count(b",") >= limits.JSON_VALUES_MAX or brackets > limits.JSON_VALUES_MAX


def _plainly_flat(value: dict[str, Any], raw: bytes) -> bool:
    """No nesting and no doubled name. Without backslashes every string has exactly two quotes, so the quotes say
    how many names there were."""
    strings = len(value)
    for member in value.values():
        if isinstance(member, str):
            strings += 1
        elif isinstance(member, (dict, list)):
            return False
    return raw.count(b'"') == 2 * strings


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise refused("appears twice", name)
        seen.add(name)


_names = json.JSONDecoder(object_pairs_hook=_unique)


def _check_names(raw: bytes) -> None:
    """The standard library's parser hands out names before it drops the doubled ones; msgspec has said that it is
    JSON."""
    try:
        _names.decode(raw.decode())
    except (ValueError, RecursionError) as error:
        raise refused("the body is not JSON that everybody reads alike") from error


def _check(value: Any, field: str, depth: int, left: int) -> int:
    """How many more values there may be, after this one and what it holds."""
    if isinstance(value, str):
        check_text(value, field)
    elif isinstance(value, (dict, list)):
        if depth > limits.JSON_DEPTH_MAX:
            raise refused(f"nested more than {limits.JSON_DEPTH_MAX} deep", field)
        if len(value) >= left:
            raise _too_many()
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for name, member in members:
            if isinstance(name, str):
                check_text(name, field)
                name = _cut(name, limits.ERROR_TEXT_CHARS_MAX)
            left = _check(member, f"{field}.{name}" if field else str(name), depth + 1, left)
    return left - 1


def check_text(text: str, field: str) -> None:
    """Invalid for what no store and no client can be trusted with: NUL and lone surrogates."""
    if "\0" in text:
        raise refused("contains NUL", field)
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise refused("contains a lone surrogate", field)
