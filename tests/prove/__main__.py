"""`make prove`: everything that is proved by running it, the long way; docs/proof.md is written from its figures.

--scale 0.05     a twentieth of it (1 by default)
--only A,B       these stages
--jobs N         parts at once, where they are single processes (as many as there are cores by default)
--folder DIR     where the parts' results are kept; a run that was interrupted is taken up there
--again          do what was done before again
--no-page        write no page
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.faults.kinds import KINDS as FAULTS
from tests.prove.page import page
from tests.prove.running import result, run_stage
from tests.prove.stages import Stage, stages
from tests.simulation.bugs import BUGS
from tests.simulation.engine_bugs import BUGS as ENGINE_BUGS
from tests.simulation.plan import KINDS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "proof.md"
FIGURES = ROOT / "docs" / "proof.json"


def main(argv: Sequence[str]) -> int:
    """The exit code: 1 if a part failed, or a kind of fault never fired."""
    parser = argparse.ArgumentParser(prog="python -m tests.prove")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--no-page", action="store_true")
    args = parser.parse_args(argv)
    run = about(args.scale)
    folder = args.folder or ROOT / ".prove" / f"{run['commit'][:12]}-{args.scale:g}"
    if args.again:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    _one_commit(folder, run["commit"])
    everything = stages(args.scale, folder.resolve())
    wanted = set(filter(None, args.only.split(",")))
    if unknown := wanted - {stage.name for stage in everything}:
        parser.error(f"unknown stage {min(unknown)!r}; there are {', '.join(stage.name for stage in everything)}")
    for stage in everything:
        if not wanted or stage.name in wanted:
            run_stage(stage, folder, args.jobs, _say)
    told = {"run": run | {"ended": _now()}, "stages": {stage.name: _result(stage, folder) for stage in everything}}
    text = page(told)
    if not args.no_page:
        FIGURES.write_text(json.dumps(told, indent=1) + "\n")
        PAGE.write_text(text)
    print(text)
    ran = [one for name, one in told["stages"].items() if not wanted or name in wanted]
    return 1 if any(one["failed"] or one.get("silent") for one in ran) else 0


def _result(stage: Stage, folder: Path) -> dict[str, Any]:
    found = result(stage, folder)
    figures = found["figures"]
    if stage.name == "histories":
        counts = figures.get("counts", {})
        found["silent"] = [kind for kind in KINDS if found["done"] and not counts.get(f"fault: {kind}")]
    if stage.name == "faults":
        fired = figures.get("fired", {})
        found["silent"] = [kind.__name__ for kind in FAULTS if found["done"] and not fired.get(kind.__name__)]
    if stage.name == "planted bugs":
        found["of"] = len(BUGS)
    if stage.name == "bugs planted in engines":
        found["of"] = len(ENGINE_BUGS)
    return found


def about(scale: float) -> dict[str, Any]:
    """The code and the machine."""
    cpu = [line for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    memory = [line for line in _read("/proc/meminfo").splitlines() if line.startswith("MemTotal")]
    return {
        "scale": scale,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", ".", ":!docs/proof.md", ":!docs/proof.json")),
        "cores": os.cpu_count(),
        "cpu": cpu[0].partition(": ")[2] if cpu else platform.machine(),
        "memory_gb": round(int(memory[0].split()[1]) / 2**20) if memory else 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _one_commit(folder: Path, commit: str) -> None:
    """What is kept in a folder is of one commit."""
    note = folder / "commit"
    if note.exists() and note.read_text() != commit:
        raise SystemExit(f"{folder} holds parts of {note.read_text()[:12]}; take another folder, or --again")
    note.write_text(commit)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M")


def _say(line: str) -> None:
    print(f"{_now()[11:]} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
