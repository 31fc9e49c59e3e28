"""Settings as TOML, which Python's library only reads."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def toml_lines(table: Mapping[str, Any], name: str = "") -> Iterator[str]:
    """The lines of a table of numbers, truths, texts, paths, lists and tables. A table has to stand behind what is no
    table."""
    for key, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{key} = {toml_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = f"{name}.{key}" if name else key
            yield f"[{inner}]"
            yield from toml_lines(value, inner)


def toml_value(value: Any) -> str:
    """A value of JSON is one of TOML, but for one character that has to be escaped."""
    return json.dumps(value, default=str, ensure_ascii=False).replace("\x7f", "\\u007f")
