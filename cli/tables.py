"""Rows as columns of text, for a terminal."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

_NUMBER = re.compile(r"[0-9.,]*( [kMGT]?B)?")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Columns as wide as they need to be; numbers stand right. "none" if there is no row."""
    cells = [[cell(value) for value in row] for row in rows]
    if not cells:
        return ["  none"]
    right = [all(_NUMBER.fullmatch(text) for text in column) for column in zip(*cells, strict=True)]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    return [
        "  " + "  ".join(f"{text:>{width}}" if side else f"{text:<{width}}" for text, width, side in
                         zip(row, widths, right, strict=True))
        for row in (head, *cells)
    ]  # fmt: skip


def instant(ms: int) -> str:
    """Unix milliseconds as a time, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def cell(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
