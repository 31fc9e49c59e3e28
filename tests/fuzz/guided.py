"""Decoders under atheris: `python -m tests.fuzz.guided FOLDER SECONDS JOBS SEED [TARGET…]`.

The code is instrumented once; each target then has a process of its own, which libFuzzer ends after SECONDS or at the
first input that breaks it. FOLDER keeps what was tried, what broke a target (`crash-…`) and what was said about it.
The last line is JSON: of each target how many inputs were tried, and what broke it.
"""

import json
import os
import re
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["api", "broker", "core", "events", "replicator", "snapshot"]):
    from tests.fuzz import judge, seeds, targets

COST_EVERY = 512
"""Of so many inputs one is also judged by what it costs."""
_EXECUTED = re.compile(r"number_of_executed_units: (\d+)")


def main(folder: Path, seconds: int, jobs: int, seed: int, names: list[str]) -> int:
    waiting = list(names or targets.TARGETS)
    running: dict[int, str] = {}
    found: dict[str, dict[str, object]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            (folder / name / "corpus").mkdir(parents=True, exist_ok=True)
            child = os.fork()
            if not child:
                _fuzz(name, folder / name, seconds, seed)
            running[child] = name
        child, status = os.wait()
        name = running.pop(child)
        found[name] = _told(folder / name, os.waitstatus_to_exitcode(status))
    print(json.dumps(found))
    return int(any(one["broken"] for one in found.values()))


def _fuzz(name: str, folder: Path, seconds: int, seed: int) -> None:
    """Does not return."""
    with (folder / "log").open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    target = targets.TARGETS[name]
    for number, data in enumerate(seeds.seeds(name)):
        (folder / "corpus" / f"seed-{number}").write_bytes(data)
    count = 0

    def one(data: bytes) -> None:
        nonlocal count
        count += 1
        if count % COST_EVERY:
            judge.judge(target, data)
        else:
            judge.judge_cost(target, data)

    options = [
        f"-max_total_time={seconds}",
        f"-max_len={target.bytes_max}",
        f"-seed={seed}",
        f"-artifact_prefix={folder}/",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], one)
    atheris.Fuzz()


def _told(folder: Path, code: int) -> dict[str, object]:
    said = (folder / "log").read_text(errors="replace")
    executed = _EXECUTED.search(said)
    inputs = sorted(folder.glob("*-*"))
    broken = None
    if code or inputs or executed is None:
        broken = {"code": code, "input": inputs[0].read_bytes().hex() if inputs else "", "said": said[-2_000:]}
    return {"executed": int(executed[1]) if executed else 0, "broken": broken}


if __name__ == "__main__":
    _, place, for_s, at_once, begin, *chosen = sys.argv
    sys.exit(main(Path(place), int(for_s), int(at_once), int(begin), chosen))
