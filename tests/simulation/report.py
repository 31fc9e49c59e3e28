"""A page of figures from one run of `make prove`: nothing in it is written by hand."""

from collections import Counter
from typing import NamedTuple


class Caught(NamedTuple):
    """How a planted bug fared."""

    bug: str
    seeds: int
    """Histories that it took."""
    budget: int
    by: str
    """The invariant that broke; "" if none did."""


class Run(NamedTuple):
    """Histories without a planted bug."""

    histories: int
    simulated_s: float
    steps: int
    failed: dict[str, str]
    counts: Counter[str]
    silent: list[str]
    """Kinds of faults that never fired."""


def page(run: Run, caught: list[Caught], pending: tuple[str, ...]) -> str:
    """The page, in Markdown."""
    faults = [(name.partition(": ")[2], n) for name, n in sorted(run.counts.items()) if name.startswith("fault: ")]
    acts = sum(n for name, n in run.counts.items() if name.startswith("act: "))
    fired = sum(n for _, n in faults)
    lines = [
        "# Proof",
        "",
        "Made by `make prove`; every figure is from that one run. What is simulated: [simulation.md](simulation.md).",
        "",
        "| | |",
        "|---|---|",
        f"| histories | {run.histories:,} |",
        f"| with a broken invariant | {len(run.failed):,} |",
        f"| simulated time | {run.simulated_s / 3_600:,.1f} h |",
        f"| steps of the event loop | {run.steps:,} |",
        f"| things that people did | {acts:,} |",
        f"| faults | {fired:,} |",
        f"| planted bugs caught | {sum(bool(one.by) for one in caught)} of {len(caught)} |",
        f"| kinds of faults that never fired | {', '.join(run.silent) or 'none'} |",
        f"| not simulated yet | {', '.join(pending)} |",
        "",
        "## Faults",
        "",
        "| fault | times |",
        "|---|---|",
        *(f"| {name} | {n:,} |" for name, n in faults),
        "",
        "## Planted bugs",
        "",
        "| bug | caught by history | budget |",
        "|---|---|---|",
        *(f"| {one.bug} | {one.seeds if one.by else 'not caught'} | {one.budget} |" for one in caught),
        "",
    ]
    if run.failed:
        lines += ["## Broken", "", *(f"- seed {seed}: {what[:300]}" for seed, what in run.failed.items()), ""]
    return "\n".join(lines)
