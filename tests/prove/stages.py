"""What `make prove` runs, how much of it at which scale, and what each part tells."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS
from tests.prove.figures import Figures, last_object
from tests.simulation.bugs import BUGS
from tests.simulation.engine_bugs import BUGS as ENGINE_BUGS

HISTORIES = 10_000
HISTORIES_LEAST = 100
ON_ENGINES = 200
CYCLES = 1_000
CYCLES_LEAST = 30
"""So that every kind fires; as `HISTORIES_LEAST`."""
KEYS = 1_000
KEYS_LEAST = 100
REQUESTS = 1_000_000
HOURS_MAX = 12
"""For a quarter of them."""
DECODER_S = 300
"""Of each decoder."""
DECODER_S_LEAST = 5


@dataclass(frozen=True)
class Part:
    """One command. Its figures stand in `report`, or are the last JSON object that it prints."""

    name: str
    command: Sequence[str]
    report: str = ""
    """A file in the part's folder."""
    read: Callable[[str], Figures] = last_object
    """Makes figures of either text."""

    def figures(self, folder: Path, output: str) -> Figures:
        """ValueError or OSError if it told none."""
        return self.read((folder / self.report).read_text() if self.report else output)


@dataclass(frozen=True)
class Stage:
    """Parts that may run in any order."""

    name: str
    parts: tuple[Part, ...]
    beside: bool = False
    """May several run at once? Not where a part is many processes."""


def stages(scale: float, folder: Path) -> tuple[Stage, ...]:
    """At scale 1.0 what is promised; less of each at a smaller one."""
    return (
        _histories(max(HISTORIES_LEAST, math.ceil(HISTORIES * scale))),
        _planted(scale),
        _on_engines(math.ceil(ON_ENGINES * scale)),
        _planted_in_engines(scale),
        _faults(max(CYCLES_LEAST, round(CYCLES * scale)), folder),
        _comparison(max(KEYS_LEAST, round(KEYS * scale)), folder),
        _requests(math.ceil(REQUESTS * scale), folder),
        _decoders(max(DECODER_S_LEAST, round(DECODER_S * scale)), folder),
    )


def _python(module: str, *words: object) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *map(str, words))


def _chunks(whole: int, each: int) -> list[tuple[int, int]]:
    """(first, count), from 1."""
    return [(at + 1, min(each, whole - at)) for at in range(0, whole, each)]


def _histories(count: int) -> Stage:
    parts = [
        Part(
            f"{first}",
            _python("tests.simulation", "--seeds", size, "--first", first, "--quiet", "--json", "--no-shrink"),
            read=lambda output: {name: told for name, told in last_object(output).items() if name != "silent"},
        )
        for first, size in _chunks(count, 50)
    ]
    return Stage("histories", tuple(parts), beside=True)


def _some(names: Sequence[str], scale: float) -> Sequence[str]:
    """A tenth at least, from all over the list."""
    count = max(1, math.ceil(len(names) * min(1.0, max(scale, 0.1))))
    return [names[at * len(names) // count] for at in range(count)]


def _planted(scale: float) -> Stage:
    parts = [
        Part(name, _python("tests.simulation", "--plant", name, "--json"), read=_bug)
        for name in _some([bug.name for bug in BUGS], scale)
    ]
    return Stage("planted bugs", tuple(parts), beside=True)


def _bug(output: str) -> Figures:
    told = last_object(output)
    return {told["bug"]: {"seeds": told["seeds"], "budget": told["budget"], "caught": bool(told["by"])}}


def _on_engines(count: int) -> Stage:
    parts = [
        Part(f"{first}", _python("tests.simulation.real_engines", "--seeds", size, "--first", first, "--json"))
        for first, size in _chunks(count, 10)
    ]
    return Stage("real engines", tuple(parts), beside=True)


def _planted_in_engines(scale: float) -> Stage:
    parts = [
        Part(name, _python("tests.simulation.real_engines", "--plant", name, "--json"), read=_bug)
        for name in _some([bug.name for bug in ENGINE_BUGS], scale)
    ]
    return Stage("bugs planted in engines", tuple(parts), beside=True)


def _faults(cycles: int, folder: Path) -> Stage:
    parts = []
    for number, (first, size) in enumerate(_chunks(cycles, 50), 1):
        report = f"faults-{first}.figures"
        words = ("--cycles", size, "--first", number, "--report", folder / report)
        parts.append(Part(f"{first}", _python("tests.faults", *words), report, json.loads))
    return Stage("faults", tuple(parts))


def _comparison(keys: int, folder: Path) -> Stage:
    report = "comparison.figures"
    command = _python("tests.faults.comparison", "--keys", keys, "--report", folder / report)
    return Stage("comparison", (Part("1", command, report, json.loads),))


def _requests(count: int, folder: Path) -> Stage:
    parts = []
    for seed, (first, size) in enumerate(_chunks(count, 250_000), 1):
        report = f"requests-{first}.figures"
        words = ("--requests", size, "--seconds", HOURS_MAX * 3_600, "--decoder-seconds", 0, "--seed", seed)
        command = _python("tests.fuzz", *words, "--report", folder / report)
        parts.append(Part(f"{first}", command, report, _hostile))
    return Stage("requests", tuple(parts))


def _hostile(report: str) -> Figures:
    told = json.loads(report)
    counted = ("requests", "seconds", "server_errors", "acknowledged_writes", "statuses", "ordinary")
    return {name: told[name] for name in counted} | {
        "routes": dict.fromkeys(told["routes"], True),
        "grown_mib": [round(one["rss_mib"]["after"] - one["rss_mib"]["warm"], 1) for one in told["processes"].values()],
        "findings": [one["what"][:300] for one in told["findings"]],
    }


def _decoders(seconds: int, folder: Path) -> Stage:
    parts = [
        Part(name, _python("tests.fuzz.guided", folder / "decoders", seconds, 1, 1, name), read=_decoder)
        for name in TARGETS
    ]
    return Stage("decoders", tuple(parts), beside=True)


def _decoder(output: str) -> Figures:
    told = last_object(output)
    broken = {name: str(one["broken"])[:300] for name, one in told.items() if one["broken"]}
    return {"executed": {name: one["executed"] for name, one in told.items()}, "broken": broken}
