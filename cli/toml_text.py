"""Settings as TOML, which Python's library only reads."""

import json
from collections.abc import Iterator, Mapping
from typing import Any


def toml_lines(table: Mapping[str, Any], name: str = "") -> Iterator[str]:
    """The lines of a table of numbers, truths, texts, paths and tables. A value of JSON is one of TOML; a table has to
    stand behind what is no table."""
    for key, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{key} = {json.dumps(value, default=str)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = f"{name}.{key}" if name else key
            yield f"[{inner}]"
            yield from toml_lines(value, inner)
