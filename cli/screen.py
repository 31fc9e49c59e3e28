"""What the demo shows on a terminal; elsewhere only the introduction and what happens.

The picture is drawn on the alternate screen and cut to the window, so nothing ever scrolls; what was printed before it
is there again when the demo ends.
"""

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

BOLD, DIM, RED, GREEN, YELLOW, OFF = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
WIDE = 90
"""Columns from which there is room for the lanes."""
HOME, CLEAR_BELOW, CLEAR_LINE = "\x1b[H", "\x1b[J", "\x1b[K"
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[?25h\x1b[?1049l"
"""To the alternate screen without a cursor, and back."""
THOUSANDS = {"k": 10**3, "M": 10**6, "G": 10**9}
TIMES = {"s": 1_000, "h": 3_600_000}
"""Of milliseconds."""
_ESCAPE = re.compile(r"(\x1b\[[0-9;?]*[A-Za-z])")


@dataclass(frozen=True)
class DcLine:
    """One datacenter's row."""

    name: str
    url: str
    state: str
    """"serving", "starting", "down" or "burnt"."""
    events: int = 0
    behind: int = 0
    lag_p50_ms: float | None = None
    lag_p99_ms: float | None = None
    """None: nothing came lately."""
    digest: str = ""
    lane: str = ""


@dataclass(frozen=True)
class Picture:
    """All that is drawn at one time."""

    rows: Sequence[DcLine]
    links: Mapping[tuple[str, str], bool]
    """Cut now?"""
    notes: Sequence[str]
    """What happened, the newest last."""
    up_s: float


class Screen:
    """Draws in place on a terminal. Methods raise OSError when the terminal is gone."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._hints: Sequence[str] = ()
        self._told: Sequence[str] = ()
        self._picture: Picture | None = None

    def say(self, line: str) -> None:
        """A line of its own, before the first picture or after the last."""
        print(line, file=self._out, flush=True)

    def hint(self, lines: Sequence[str]) -> None:
        """What stays below the table as long as there is room."""
        self._hints = lines

    def draw(self, picture: Picture) -> None:
        if not self._live:
            for note in picture.notes:
                if note not in self._told:
                    self.say(note)
            self._told = list(picture.notes)
            return
        if self._picture is None:
            self._out.write(ENTER)
        self._picture = picture
        self.redraw()

    def redraw(self) -> None:
        """The last picture once more: the window has another size."""
        if self._picture is None:
            return
        size = os.get_terminal_size(self._out.fileno())
        shown = compose(self._picture, self._hints, size.columns, size.lines)
        self._out.write(HOME + "\n".join(CLEAR_LINE + line for line in shown) + CLEAR_BELOW)
        self._out.flush()

    def leave(self) -> None:
        """Back to what was on the terminal before. May be called twice."""
        if self._picture is not None:
            self._picture = None
            self._out.write(LEAVE)
            self._out.flush()


def compose(picture: Picture, hints: Sequence[str], columns: int, height: int) -> list[str]:
    """The lines of a picture, at most `height` of at most `columns` - 1 cells. Where room is scarce the hints go
    first, then what happened."""
    minutes, seconds = divmod(int(picture.up_s), 60)
    wide = columns >= WIDE
    rows, links = picture.rows, picture.links
    lines = [
        f"{BOLD}Plan B{OFF} · {len(rows)} datacenters on this machine · up {minutes}:{seconds:02d} · Ctrl-C ends",
        "",
        f"{DIM}{'DC':<4}{'endpoint':<23}{'state':<9}{'events':>9}{'behind':>7}{'lag p50':>8}{'p99 ms':>7}"
        f"  {'digest':<10}{'  lane' if wide else ''}{OFF}",
        *(_row(row, _agreed(rows), wide) for row in rows),
        "",
        "links  " + "   ".join(_link(pair, cut) for pair, cut in links.items()),
        "",
    ]
    if height >= len(lines) + len(hints) + 2:
        lines += [*hints, ""]
    room = height - len(lines)
    lines += [f"{DIM}{_printable(note)}{OFF}" for note in picture.notes[-room:]] if room > 0 else []
    return [cut(line, columns - 1) for line in lines[:height]]


def cut(line: str, cells: int) -> str:
    """As much of a line as fits into so many cells of a terminal; its colours take none. `…` where it was cut."""
    if sum(cell for _, cell in _cells(line)) <= cells:
        return line
    kept, used = [], 0
    for piece, cell in _cells(line):
        if used + cell > cells - 1:
            break
        kept.append(piece)
        used += cell
    return "".join(kept) + "…" + OFF


def _cells(line: str) -> Iterator[tuple[str, int]]:
    """Characters and escape sequences, each with the cells it takes."""
    for piece in _ESCAPE.split(line):
        if piece.startswith("\x1b"):
            yield piece, 0
            continue
        for char in piece:
            if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Me"):
                yield char, 0
            else:
                yield char, 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _printable(note: str) -> str:
    """Words of a child process or of a server may hold anything, also what moves a cursor."""
    return "".join(char if char.isprintable() else " " for char in note)


def _agreed(rows: Sequence[DcLine]) -> bool:
    return len({row.digest for row in rows if row.digest}) == 1


def _row(row: DcLine, agreed: bool, wide: bool) -> str:
    colour = {"serving": GREEN, "starting": YELLOW}.get(row.state, RED)
    head = f"{BOLD}{row.name:<4}{OFF}{row.url:<23}{colour}{row.state:<9}{OFF}"
    if row.state != "serving":
        return head
    digest = f"{GREEN if agreed else YELLOW}{row.digest[:8]} {'=' if agreed else '≠'}{OFF}"
    counts = f"{_fits(row.events, 9, THOUSANDS):>9}{_fits(row.behind, 6, THOUSANDS):>7}"
    lag = f"{_lag(row.lag_p50_ms):>8}{_lag(row.lag_p99_ms):>7}"
    return f"{head}{counts}{lag}  {digest}{'  ' + row.lane if wide else ''}"


def _lag(lag_ms: float | None) -> str:
    return "–" if lag_ms is None else _fits(lag_ms, 6, TIMES)


def _fits(number: float, cells: int, units: Mapping[str, int]) -> str:
    """In the first unit in which it takes no more than so many cells, else in the last."""
    shown = f"{number:,.0f}"
    for unit, worth in units.items():
        if len(shown) <= cells:
            break
        shown = f"{int(number) // worth:,}{unit}"
    return shown


def _link(pair: tuple[str, str], cut: bool) -> str:
    return f"{pair[0]} {RED + '╳ cut ╳' if cut else GREEN + '═══════'}{OFF} {pair[1]}"
