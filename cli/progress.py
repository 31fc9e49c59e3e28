"""Progress on a terminal: one line on stderr that is written over; nothing where stderr is no terminal."""

import sys
from time import monotonic

WIDTH = 30
EVERY_S = 0.1


class Bar:
    """A `snapshot.manifest.Progress`. Use `end` when all is done."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()
        self._stage = ""
        self._drawn_s = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        if not self._on:
            return
        if stage != self._stage and self._stage:
            sys.stderr.write("\n")
        last = total and done >= total
        if stage == self._stage and not last and monotonic() - self._drawn_s < EVERY_S:
            return
        self._stage = stage
        self._drawn_s = monotonic()
        shown = f"{done:,}"
        if total:
            full = WIDTH * min(done, total) // total
            shown = f"[{'#' * full}{'.' * (WIDTH - full)}] {done:,} of {total:,}"
        sys.stderr.write(f"\r{stage:<24.24} {shown}\x1b[K")
        sys.stderr.flush()

    def end(self) -> None:
        if self._on and self._stage:
            sys.stderr.write("\n")
