"""The command line of the simulation."""

import argparse
import gc
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import tests.simulation.novelty
import tests.simulation.poison_action  # noqa: F401
from core.action import registry
from tests.simulation.bugs import BUGS, BY_NAME
from tests.simulation.crashpoints import POINTS
from tests.simulation.plan import KINDS, PENDING, Plan, plan_of
from tests.simulation.planted import Bug, planted
from tests.simulation.report import Caught, Run, Told
from tests.simulation.shrink import shrunk
from tests.simulation.world import Outcome, run

COVERED_FROM = 300
"""Histories of all kinds from which on one that never fired is a failure."""
W = TypeVar("W")
R = TypeVar("R")
UNFIT = ("AttributeError", "NameError", "SyntaxError", "the simulation broke")
"""What is no invariant that noticed a bug."""
RECYCLED = 50
"""Histories after which a worker is replaced by a fresh one."""


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
    parser.add_argument("--cover", action="store_true", help="fail if a fault, crash point or action never came")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--report", type=Path, help="write the figures, as JSON")
    args = parser.parse_args(argv)
    gc.collect()
    gc.freeze()  # what is imported is not looked through after each history
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
    begun = time.process_time()
    outcome = run(plan_of(seed, kinds))
    took_s = time.process_time() - begun
    violation = outcome.violations[0] if outcome.violations else ""
    counts = dict(outcome.counts)
    places = dict(outcome.places)
    return Told(seed, violation, outcome.trace, outcome.simulated_s, outcome.steps, took_s, counts, places)


def _histories(args: argparse.Namespace) -> Iterator[Told]:
    kinds = _kinds(args)
    seeds = [*map(str, range(args.first, args.first + args.seeds)), *filter(None, args.also.split(","))]
    return _in_workers(_told, [(seed, kinds) for seed in seeds], args.jobs)


def _in_workers(do: Callable[[W], R], work: Sequence[W], jobs: int) -> Iterator[R]:
    if jobs == 1:
        yield from map(do, work)
        return
    context = multiprocessing.get_context("fork")
    with context.Pool(jobs, maxtasksperchild=RECYCLED) as pool:
        yield from pool.imap_unordered(do, work)


def _many(args: argparse.Namespace) -> int:
    done = Run(args.first, args.seeds, args.also)
    for told in _histories(args):
        done.add(told)
        if told.violation or not args.quiet:
            what = told.violation[:600] or "ok"
            print(f"{told.seed:>7} {told.took_s:6.2f} s {told.simulated_s:7.0f} s simulated  {what}", flush=True)
    kinds = _kinds(args)
    if kinds:
        done.cover(kinds, (), ())
    else:
        done.cover(KINDS, tuple(registry()), tuple(point.name for point in POINTS))
    _summary(done)
    for seed in list(done.failed)[:1]:
        print(f"\nseed {seed} breaks an invariant; replay it with --seed {seed}")
        if not args.no_shrink:
            plan = plan_of(seed, kinds)
            _print(*shrunk(plan, run(plan), run))
    if args.report:
        args.report.write_text(json.dumps(done.shown(PENDING), indent=1) + "\n")
    if args.json:
        print(json.dumps(done.told()))
    missing = done.never if args.cover else [what for what in done.never if not what.startswith("crashed at: ")]
    uncovered = missing and (args.cover or (not kinds and done.histories >= COVERED_FROM))
    return 1 if done.failed or uncovered else 0


def _summary(done: Run) -> None:
    print(
        f"\n{done.histories} histories, {done.simulated_s / 3_600:.1f} simulated hours, "
        f"{done.steps / 1e6:.1f} million steps, {done.took_s:.0f} s of CPU"
    )
    groups: dict[str, list[str]] = {}
    for name, count in sorted(done.counts.items()):
        group, _, what = name.partition(": ")
        groups.setdefault(group if what else "", []).append(f"{what or name} {count}")
    for group, found in groups.items():
        print(f"  {group or 'and'}: {', '.join(found)}")
    print(f"  crashes found tasks at {len(done.places)} different lines of production code")
    if done.never:
        print(f"  never: {', '.join(done.never)}")
    print(f"  pending: {', '.join(f'{what} ({why})' for what, why in PENDING.items())}")


# -- planted bugs


def _plant(args: argparse.Namespace) -> int:
    names = [bug.name for bug in BUGS] if args.plant == "all" else args.plant.split(",")
    found = list(_caught_all(names, args))
    if args.report:
        args.report.write_text(json.dumps([one._asdict() for one in found], indent=1) + "\n")
    return 1 if any(not one.by for one in found) else 0


def _caught_all(names: Sequence[str], args: argparse.Namespace) -> Iterator[Caught]:
    for found in _in_workers(_sought, [(name, args.first) for name in names], args.jobs):
        if args.json:
            print(json.dumps(found._asdict()), flush=True)
        else:
            verdict = f"caught by history {found.seeds} of {found.budget}: {found.by[:160]}" if found.by else found.why
            print(f"{found.bug:45} {found.took_s:6.1f} s  {verdict}", flush=True)
        yield found


def _sought(work: tuple[str, int]) -> Caught:
    name, first = work
    bug = BY_NAME[name]
    begun = time.process_time()
    try:
        seeds, violation = caught(bug, first)
        why = "" if violation else "NOT CAUGHT"
    except AssertionError as error:
        seeds, violation, why = 0, "", str(error)
    return Caught(name, seeds, bug.seeds, violation, why, round(time.process_time() - begun, 1))


def caught(bug: Bug, first: int = 1) -> tuple[int, str]:
    """How many seeds it took, and what broke; "" if nothing did within the budget."""
    for number in range(bug.seeds):
        with planted(bug):
            outcome = run(bug.plan(str(first + number)))
        for violation in outcome.violations[:1]:
            if any(
                error in violation for error in ("AttributeError", "NameError", "SyntaxError", "the simulation broke")
            ):
                raise AssertionError(f"{bug.name} does not fit production any more: {violation}")
            if control := run(bug.plan(str(first + number))).violations:
                raise AssertionError(f"{bug.name}: the same history breaks without it: {control[0]}")
            return number + 1, violation
    return bug.seeds, ""
