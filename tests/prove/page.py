"""docs/proof.md, from the figures of one run and from nothing else."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.prove.figures import Figures
from tests.prove.stages import CYCLES, HISTORIES, KEYS, ON_ENGINES

Told = Mapping[str, Any]
FACTS = ("| | |", "|---|---|")
"""The head of a table of names and figures."""


def page(told: Told) -> str:
    """The page, in Markdown. `told`: about the run, and by stage what `running.result` found."""
    run, stages = told["run"], told["stages"]
    lines = [*_head(run, stages)]
    for name, section in SECTIONS.items():
        if name in stages and stages[name]["done"]:
            lines += ["", *section(stages[name])]
    lines += ["", *_failed(stages)]
    return "\n".join(lines) + "\n"


def _head(run: Told, stages: Told) -> Iterator[str]:
    yield "# Proof"
    yield ""
    yield "Written by `make prove`; every figure is from the one run that is described here, none is written by hand."
    yield "What each part is: [proving.md](proving.md)."
    yield ""
    scale = run["scale"]
    if scale < 1:
        yield f"**This is a short run: scale {scale:g}.** The whole one (`make prove` without ARGS) is scale 1:"
        yield f"{HISTORIES:,} histories, {ON_ENGINES:,} of them on real engines too, {CYCLES:,} cycles of faults,"
        yield f"{KEYS:,} contended keys, every planted bug."
    else:
        yield f"Scale {scale:g}: what `make prove` runs by itself is scale 1."
    yield ""
    yield from FACTS
    changes = ", with changes that were not committed" if run["dirty"] else ""
    yield f"| commit | `{run['commit'][:12]}`{changes} |"
    yield f"| ended | {run['ended']} UTC |"
    yield f"| machine | {run['cores']} cores of {run['cpu']}, {run['memory_gb']} GB |"
    yield f"| system | {run['system']}, Python {run['python']} |"
    yield f"| time in all parts | {sum(one['took_s'] for one in stages.values()) / 3_600:.2f} h |"
    unfinished = [
        f"{name} ({one['done']} of {one['parts']})" for name, one in stages.items() if one["done"] < one["parts"]
    ]
    yield f"| not run to the end | {', '.join(unfinished) or 'nothing'} |"


def _group(counts: Mapping[str, int], group: str) -> dict[str, int]:
    return {name.partition(": ")[2]: n for name, n in sorted(counts.items()) if name.startswith(f"{group}: ")}


def _rows(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    """With each one's share, the most frequent first."""
    whole = sum(counts.values()) or 1
    yield f"| {title} | times | share |"
    yield "|---|---|---|"
    for name, n in sorted(counts.items(), key=lambda one: (-one[1], one[0])):
        yield f"| {name.replace('_', ' ')} | {n:,} | {100 * n / whole:.1f} % |"


def _histories(stage: Told) -> Iterator[str]:
    figures: Figures = stage["figures"]
    counts = figures["counts"]
    faults = _group(counts, "fault")
    yield "## A simulated planet"
    yield ""
    yield from FACTS
    yield f"| histories | {figures['histories']:,} |"
    yield f"| with a broken invariant | {len(figures['failed']):,} |"
    yield f"| simulated time | {figures['simulated_s'] / 3_600:,.1f} h |"
    yield f"| steps of the event loop | {figures['steps']:,} |"
    yield f"| things that people did | {sum(_group(counts, 'act').values()):,}, of {len(_group(counts, 'act'))} kinds |"
    yield f"| faults | {sum(faults.values()):,}, of {len(faults)} kinds |"
    for what, name in (("store", "calls of stores that failed or were slow"), ("wire", "troubles of the wire")):
        yield f"| {name} | {sum(_group(counts, what).values()):,} |"
    yield f"| kinds of faults that never fired | {', '.join(stage['silent']) or 'none'} |"
    yield ""
    yield from _rows("fault", faults)


def _bugs(title: str, stage: Told) -> Iterator[str]:
    figures: Figures = stage["figures"]
    yield f"## {title}"
    yield ""
    caught = sum(one["caught"] for one in figures.values())
    yield f"{caught} of {len(figures)} that were planted were caught; there are {stage['of']}."
    yield ""
    yield "| bug | caught by history | budget |"
    yield "|---|---|---|"
    for name, one in figures.items():
        yield f"| {name} | {one['seeds'] if one['caught'] else '**not caught**'} | {one['budget']} |"


def _planted(stage: Told) -> Iterator[str]:
    yield from _bugs("Bugs planted in production code", stage)


def _planted_in_engines(stage: Told) -> Iterator[str]:
    yield from _bugs("Bugs planted in the Lua functions and in the SQL", stage)


def _on_engines(stage: Told) -> Iterator[str]:
    figures: Figures = stage["figures"]
    counts = figures["counts"]
    yield "## The same histories on Valkey and SQLite"
    yield ""
    yield from FACTS
    yield f"| histories | {counts['histories']:,} |"
    yield f"| that were answered differently | {len(figures['failed']):,} |"
    yield f"| lives of datacenters in them | {counts.get('datacenters', 0):,} |"
    yield f"| records applied | {counts.get('records', 0):,} |"
    yield f"| answers compared | {counts.get('answers compared', 0):,} |"
    yield f"| recoveries from stores of an earlier day | {counts.get('recoveries from older stores', 0):,} |"
    yield f"| strikes at a call | {sum(_group(counts, 'struck').values()):,} |"


def _faults(stage: Told) -> Iterator[str]:
    figures: Figures = stage["figures"]
    yield "## Real faults on real processes"
    yield ""
    yield from FACTS
    yield f"| cycles | {sum(figures['fired'].values()):,} |"
    yield f"| planets of three datacenters | {figures['planets']:,} |"
    yield f"| planets in which a promise was broken, or something did not come back | {len(figures['failed']):,} |"
    yield f"| messages acknowledged, of tries | {figures.get('writes', 0):,} of {figures.get('tries', 0):,} |"
    yield f"| reads checked | {figures.get('reads', 0):,} |"
    yield f"| kinds that never fired | {', '.join(stage['silent']) or 'none'} |"
    yield ""
    yield from _rows("fault", figures["fired"])


MODEL = """\
The same keys are written concurrently on both sides, the link is cut in the midst of it, both sides write on, and the
link is healed. The masters are two real Valkeys. What sends each one's writes to the other reads its replication
stream, applies it in the order of arrival and goes on, after the cut, by a partial resynchronisation: a model of the
mechanism of such tools (`tests/faults/active_active.py`), not of a product. Plan B are two datacenters as real
processes; its keys are profile fields, written and read by the public API."""


def _comparison(stage: Told) -> Iterator[str]:
    figures: Figures = stage["figures"]
    masters, planb = figures["masters"], figures["planb"]
    yield "## Against active-active Redis masters"
    yield ""
    yield from MODEL.splitlines()
    yield ""
    yield "| | two masters | Plan B |"
    yield "|---|---|---|"
    for title, name in (
        ("keys", "keys"),
        ("writes acknowledged", "writes"),
        ("keys that differed before the link was healed", "apart"),
        ("keys that differ when all is quiet", "different"),
    ):
        yield f"| {title} | {masters[name]:,} | {planb[name]:,} |"


def _requests(stage: Told) -> Iterator[str]:
    figures: Figures = stage["figures"]
    yield "## Hostile clients"
    yield ""
    yield from FACTS
    yield f"| requests | {figures['requests']:,} |"
    yield f"| answered with an error of the server's (5xx but 503) | {figures['server_errors']:,} |"
    yield f"| findings of any kind | {len(figures['findings'])} |"
    yield f"| routes | {len(figures['routes'])} |"
    yield f"| writes acknowledged to hostile clients | {figures['acknowledged_writes']:,} |"
    yield f"| acknowledged to ordinary users meanwhile | {figures['ordinary']['acknowledged']:,} |"
    yield f"| a process grew by, at most, once it was warm | {max(figures['grown_mib'], default=0):.1f} MiB |"


def _decoders(stage: Told) -> Iterator[str]:
    figures: Figures = stage["figures"]
    yield "## Decoders under a coverage-guided fuzzer"
    yield ""
    yield f"{sum(figures['executed'].values()):,} inputs; {len(figures['broken'])} decoders were broken by one."
    yield ""
    yield "| decoder | inputs | |"
    yield "|---|---|---|"
    for name, executed in sorted(figures["executed"].items()):
        yield f"| {name} | {executed:,} | {'**broken**' if name in figures['broken'] else 'well'} |"


SECTIONS = {
    "histories": _histories,
    "planted bugs": _planted,
    "real engines": _on_engines,
    "bugs planted in engines": _planted_in_engines,
    "faults": _faults,
    "comparison": _comparison,
    "requests": _requests,
    "decoders": _decoders,
}


def _failed(stages: Told) -> Iterator[str]:
    yield "## What failed"
    yield ""
    failed = [(name, one) for name, stage in stages.items() for one in stage["failed"]]
    silent = [(name, kind) for name, stage in stages.items() for kind in stage.get("silent", ())]
    if not failed and not silent:
        unrun = any(stage["done"] < stage["parts"] for stage in stages.values())
        yield "Nothing of what was run to its end; what was not is named at the top." if unrun else "Nothing."
    for name, one in failed:
        words = " ".join(one["words"].split())[-300:].replace("|", "/").replace("`", "'")
        yield f"- {name}, part {one['part']} (exit code {one['code']}): `{words}`"
    for name, kind in silent:
        yield f"- {name}: {kind} never fired"
