"""The figures as a table for people."""

from collections.abc import Iterable, Sequence

Row = Sequence[str]


def table(title: str, head: Row, rows: Iterable[Row]) -> str:
    """Columns aligned; the first to the left, the others to the right."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    shown = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join((title, shown[0], "  ".join("-" * width for width in widths), *shown[1:]))


def number(value: float) -> str:
    """Three figures are enough: nothing here is more exact."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 or value == 0 else f"{value:.2f}"
