"""What the demo shows on a terminal; elsewhere only the introduction and what happens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import TextIO

BOLD, DIM, RED, GREEN, YELLOW, OFF = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
WIDE = 90
"""Columns from which there is room for the lanes."""
HOME, CLEAR_BELOW, CLEAR_LINE = "\x1b[H", "\x1b[J", "\x1b[K"


@dataclass(frozen=True)
class DcLine:
    """One datacenter's row."""

    name: str
    url: str
    state: str
    """"serving", "starting", "down" or "burnt"."""
    events: int = 0
    behind: int = 0
    lag_p50_ms: float = 0
    lag_p99_ms: float = 0
    digest: str = ""
    lane: str = ""


class Screen:
    """Draws in place on a terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live = out.isatty()
        self._introduction: list[str] = []
        self._told: list[str] = []
        self._drawn = False

    def say(self, line: str) -> None:
        print(line, file=self._out, flush=True)

    def introduce(self, lines: list[str]) -> None:
        """What to try; on a terminal it stays below the table."""
        self._introduction = lines
        if not self._live:
            print("\n".join(lines), file=self._out, flush=True)

    def draw(
        self, rows: Sequence[DcLine], links: Mapping[tuple[str, str], bool], notes: Sequence[str], up_s: float
    ) -> None:
        if not self._live:
            for note in notes:
                if note not in self._told:
                    self.say(note)
            self._told = list(notes)
            return
        minutes, seconds = divmod(int(up_s), 60)
        wide = get_terminal_size().columns >= WIDE
        lines = [
            f"{BOLD}Plan B{OFF} · {len(rows)} datacenters on this machine · up {minutes}:{seconds:02d} · Ctrl-C ends",
            "",
            f"{DIM}{'DC':<5}{'endpoint':<24}{'state':<9}{'events':>8}{'behind':>7}{'lag p50':>8}{'p99 ms':>7}"
            f"  {'digest':<10}{'  lane' if wide else ''}{OFF}",
        ]
        lines += [_row(row, _agreed(rows), wide) for row in rows]
        lines += ["", "links  " + "   ".join(_link(pair, cut) for pair, cut in links.items()), ""]
        lines += self._introduction
        lines += [f"{DIM}{note}{OFF}" for note in notes]
        if not self._drawn:
            self._out.write("\x1b[2J")
            self._drawn = True
        self._out.write(HOME + "".join(f"{line}{CLEAR_LINE}\n" for line in lines) + CLEAR_BELOW)
        self._out.flush()

    def leave(self) -> None:
        if self._live:
            self.say(f"\n{DIM}stopping the datacenters …{OFF}")


def _agreed(rows: Sequence[DcLine]) -> bool:
    return len({row.digest for row in rows if row.digest}) == 1


def _row(row: DcLine, agreed: bool, wide: bool) -> str:
    colour = {"serving": GREEN, "starting": YELLOW}.get(row.state, RED)
    head = f"{BOLD}{row.name:<5}{OFF}{row.url:<24}{colour}{row.state:<9}{OFF}"
    if row.state != "serving":
        return head
    digest = f"{GREEN if agreed else YELLOW}{row.digest[:8]} {'=' if agreed else '≠'}{OFF}"
    lag = f"{row.lag_p50_ms:>8.0f}{row.lag_p99_ms:>7.0f}"
    return f"{head}{row.events:>8,}{row.behind:>7,}{lag}  {digest}{'  ' + row.lane if wide else ''}"


def _link(pair: tuple[str, str], cut: bool) -> str:
    return f"{pair[0]} {RED + '╳ cut ╳' if cut else GREEN + '═══════'}{OFF} {pair[1]}"
