"""Runs the parts, keeps what each told, and takes up a run that was interrupted."""

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.prove.figures import Figures, merged
from tests.prove.stages import Part, Stage

Say = Callable[[str], None]


class Kept(NamedTuple):
    """What became of a part."""

    code: int
    took_s: float
    figures: Figures
    """Empty if it told none."""
    words: str
    """The end of what it printed, if it failed."""


def kept_at(folder: Path, stage: Stage, part: Part) -> Path:
    return folder / (re.sub(r"[^a-z0-9]+", "-", f"{stage.name} {part.name}".lower()) + ".json")


def done(folder: Path, stage: Stage, part: Part) -> Kept | None:
    """None if it has not run to its end in this folder."""
    path = kept_at(folder, stage, part)
    return Kept(**json.loads(path.read_text())) if path.exists() else None


def run(part: Part, folder: Path, kept: Path) -> Kept:
    """To its end; what it prints stands beside what is kept of it."""
    began_s = time.monotonic()
    printed = kept.with_suffix(".log")
    with printed.open("wb") as output:
        code = subprocess.run(part.command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
    text = printed.read_text(errors="replace")
    try:
        figures = part.figures(folder, text)
    except (ValueError, KeyError, OSError) as error:
        code, figures, text = code or 1, {}, f"{text}\n{error}"
    found = Kept(code, round(time.monotonic() - began_s, 1), figures, text[-2_000:] if code else "")
    fresh = kept.with_suffix(".new")
    fresh.write_text(json.dumps(found._asdict()))
    fresh.replace(kept)
    return found


def run_stage(stage: Stage, folder: Path, jobs: int, say: Say) -> None:
    """What is not done yet, or failed. Never raises for what a part finds."""
    left = [part for part in stage.parts if (before := done(folder, stage, part)) is None or before.code]
    at = len(stage.parts) - len(left)
    if at:
        say(f"{stage.name}: {at} of {len(stage.parts)} parts were done before")
    lock = threading.Lock()

    def one(part: Part) -> None:
        nonlocal at
        found = run(part, folder, kept_at(folder, stage, part))
        with lock:
            at += 1
            how = "ok" if not found.code else f"FAILED ({found.code}): {found.words[-300:]}"
            say(f"{stage.name} {at}/{len(stage.parts)}: {part.name} {how} after {found.took_s:.0f} s")

    with ThreadPoolExecutor(jobs if stage.beside else 1) as pool:
        list(pool.map(one, left))


def result(stage: Stage, folder: Path) -> Figures:
    """What the page is made of."""
    found = [(part, kept) for part in stage.parts if (kept := done(folder, stage, part)) is not None]
    return {
        "parts": len(stage.parts),
        "done": len(found),
        "took_s": round(sum(kept.took_s for _, kept in found)),
        "failed": [{"part": part.name, "code": kept.code, "words": kept.words[-600:]} for part, kept in _bad(found)],
        "figures": merged(kept.figures for _, kept in found),
    }


def _bad(found: list[tuple[Part, Kept]]) -> Iterator[tuple[Part, Kept]]:
    return ((part, kept) for part, kept in found if kept.code)
