"""Figures of parts become those of the whole: numbers are added, lists are joined, texts have to be the same."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

Figures = dict[str, Any]


def merged(parts: Iterable[Figures]) -> Figures:
    """ValueError where two parts contradict each other."""
    whole: Figures = {}
    for part in parts:
        whole = _together(whole, part)
    return whole


def _together(a: Mapping[str, Any], b: Mapping[str, Any]) -> Figures:
    return dict(a) | {name: _both(a[name], b[name]) if name in a else b[name] for name in b}


def _both(a: Any, b: Any) -> Any:
    if isinstance(a, dict) and isinstance(b, dict):
        return _together(a, b)
    if isinstance(a, list) and isinstance(b, list):
        return [*a, *b]
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a + b
    if a != b:
        raise ValueError(f"{a!r} and {b!r}")
    return a


def last_object(text: str) -> Figures:
    """The last line that is a JSON object."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            found: Figures = json.loads(line)
            return found
    raise ValueError("it told no figures")
