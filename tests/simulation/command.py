"""The command line of the simulation."""

import argparse
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import tests.simulation.novelty  # noqa: F401  (registers its action; here, so that it is no action of other tests)
from tests.simulation.bugs import BUGS, BY_NAME
from tests.simulation.plan import KINDS, Plan, plan_of
from tests.simulation.planted import Bug, planted
from tests.simulation.report import Caught, Run, page
from tests.simulation.shrink import shrunk
from tests.simulation.world import Outcome, run

PENDING = ("datacenter added", "datacenter removed", "two workers of one datacenter", "gossip", "cron")
"""What the histories do not hold yet, because the part does not stand or is not simulated."""
RECYCLED = 50
"""Histories after which a worker is replaced by a fresh one."""


class Told(NamedTuple):
    """What a worker tells of a history."""

    seed: str
    violation: str
    trace: str
    simulated_s: float
    steps: int
    took_s: float
    counts: dict[str, int]


def main(argv: Sequence[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--also", default="", help="further seeds, separated by commas")
    parser.add_argument("--seed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--plant")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="say nothing of histories that are well")
    parser.add_argument("--cover", action="store_true", help="fail if a kind of fault never fired")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", type=Path, help="plant all bugs as well, and write a page of figures")
    args = parser.parse_args(argv)
    if args.plant:
        return _plant(args)
    if args.seed:
        return _one(args)
    return _many(args)


def _kinds(args: argparse.Namespace) -> tuple[str, ...]:
    kinds = tuple(filter(None, args.kinds.split(",")))
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise SystemExit(f"unknown kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    return kinds


# -- one history


def _one(args: argparse.Namespace) -> int:
    plan = plan_of(args.seed, _kinds(args))
    outcome = run(plan)
    if outcome.violations and not args.no_shrink:
        plan, outcome = shrunk(plan, outcome, run)
    _print(plan, outcome)
    return 1 if outcome.violations else 0


def _print(plan: Plan, outcome: Outcome) -> None:
    print(plan)
    print("\n".join(outcome.history))
    print(f"trace {outcome.trace}, {outcome.simulated_s:.0f} s simulated, {outcome.steps} steps")
    print("\n".join(outcome.violations) or "all invariants hold")


# -- many


def _told(work: tuple[str, tuple[str, ...]]) -> Told:
    seed, kinds = work
    begun = time.perf_counter()
    outcome = run(plan_of(seed, kinds))
    took_s = time.perf_counter() - begun
    violation = outcome.violations[0] if outcome.violations else ""
    counts = dict(outcome.counts)
    return Told(seed, violation, outcome.trace, outcome.simulated_s, outcome.steps, took_s, counts)


def _histories(args: argparse.Namespace) -> Iterator[Told]:
    kinds = _kinds(args)
    seeds = [*map(str, range(args.first, args.first + args.seeds)), *filter(None, args.also.split(","))]
    work = [(seed, kinds) for seed in seeds]
    if args.jobs == 1:
        yield from map(_told, work)
        return
    context = multiprocessing.get_context("fork")
    with context.Pool(args.jobs, maxtasksperchild=RECYCLED) as pool:
        yield from pool.imap_unordered(_told, work)


def _many(args: argparse.Namespace) -> int:
    counts: Counter[str] = Counter()
    failed: dict[str, str] = {}
    number = 0
    simulated_s = steps = 0.0
    for told in _histories(args):
        number += 1
        simulated_s += told.simulated_s
        steps += told.steps
        counts.update(told.counts)
        if told.violation:
            failed[told.seed] = told.violation
        if told.violation or not args.quiet:
            what = told.violation[:600] or "ok"
            print(f"{told.seed:>7} {told.took_s:6.2f} s {told.simulated_s:7.0f} s simulated  {what}", flush=True)
    silent = [kind for kind in _kinds(args) or KINDS if not counts[f"fault: {kind}"]]
    done = Run(number, simulated_s, int(steps), failed, counts, silent)
    _summary(done)
    for seed in list(failed)[:1]:
        print(f"\nseed {seed} breaks an invariant; replay it with --seed {seed}")
        if not args.no_shrink:
            plan = plan_of(seed, _kinds(args))
            _print(*shrunk(plan, run(plan), run))
    missed = _report(args, done) if args.report else 0
    if args.json:
        print(json.dumps(done._asdict() | {"counts": dict(sorted(counts.items()))}))
    return 1 if failed or missed or (args.cover and silent) else 0


def _report(args: argparse.Namespace, done: Run) -> int:
    """Plants all bugs and writes the page; how many were not caught."""
    found = list(_caught_all([bug.name for bug in BUGS], args))
    args.report.write_text(page(done, found, PENDING))
    return sum(not one.by for one in found)


def _summary(done: Run) -> None:
    print(
        f"\n{done.histories} histories, {done.simulated_s / 3_600:.1f} simulated hours, "
        f"{done.steps / 1e6:.1f} million steps"
    )
    groups: dict[str, list[str]] = {}
    for name, count in sorted(done.counts.items()):
        group, _, what = name.rpartition(": ")
        groups.setdefault(group, []).append(f"{what} {count}")
    for group, found in groups.items():
        print(f"  {group or 'and'}: {', '.join(found)}")
    if done.silent:
        print(f"  never fired: {', '.join(done.silent)}")
    print(f"  pending: {', '.join(PENDING)}")


# -- planted bugs


def _plant(args: argparse.Namespace) -> int:
    names = [bug.name for bug in BUGS] if args.plant == "all" else args.plant.split(",")
    return 1 if any(not one.by for one in list(_caught_all(names, args))) else 0


def _caught_all(names: Sequence[str], args: argparse.Namespace) -> Iterator[Caught]:
    for name in names:
        bug = BY_NAME[name]
        begun = time.perf_counter()
        try:
            seeds, violation = caught(bug, args.first)
        except AssertionError as error:
            seeds, violation = 0, ""
            print(error)
        took_s = time.perf_counter() - begun
        found = Caught(name, seeds, bug.seeds, violation)
        if args.json:
            print(json.dumps(found._asdict() | {"took_s": round(took_s, 1)}), flush=True)
        else:
            verdict = f"caught by history {seeds} of {bug.seeds}: {violation[:160]}" if violation else "NOT CAUGHT"
            print(f"{name:45} {took_s:6.1f} s  {verdict}", flush=True)
        yield found


def caught(bug: Bug, first: int = 1) -> tuple[int, str]:
    """How many seeds it took, and what broke; "" if nothing did within the budget."""
    for number in range(bug.seeds):
        with planted(bug):
            outcome = run(bug.plan(str(first + number)))
        for violation in outcome.violations[:1]:
            if any(error in violation for error in ("AttributeError", "NameError", "SyntaxError")):
                raise AssertionError(f"{bug.name} does not fit production any more: {violation}")
            if control := run(bug.plan(str(first + number))).violations:
                raise AssertionError(f"{bug.name}: the same history breaks without it: {control[0]}")
            return number + 1, violation
    return bug.seeds, ""
