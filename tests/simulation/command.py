"""The command line of the simulation."""

import argparse
import json
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.simulation.plan import KINDS, Plan, plan_of
from tests.simulation.planted import BUGS, BY_NAME, Bug, planted
from tests.simulation.shrink import shrunk
from tests.simulation.world import Outcome, run

PENDING = ("datacenter added", "datacenter removed", "two workers of one datacenter", "gossip", "cron", "real adapters")
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
    parser.add_argument("--seed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--plant")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="say nothing of histories that are well")
    parser.add_argument("--cover", action="store_true", help="fail if a kind of fault never fired")
    parser.add_argument("--json", action="store_true")
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
    work = [(str(seed), _kinds(args)) for seed in range(args.first, args.first + args.seeds)]
    if args.jobs == 1:
        yield from map(_told, work)
        return
    context = multiprocessing.get_context("fork")
    with context.Pool(args.jobs, maxtasksperchild=RECYCLED) as pool:
        yield from pool.imap_unordered(_told, work)


def _many(args: argparse.Namespace) -> int:
    counts: Counter[str] = Counter()
    failed: list[Told] = []
    number = 0
    simulated_s = steps = 0.0
    for told in _histories(args):
        number += 1
        simulated_s += told.simulated_s
        steps += told.steps
        counts.update(told.counts)
        if told.violation:
            failed.append(told)
        if told.violation or not args.quiet:
            what = told.violation[:600] or "ok"
            print(f"{told.seed:>7} {told.took_s:6.2f} s {told.simulated_s:7.0f} s simulated  {what}", flush=True)
    silent = [kind for kind in _kinds(args) or KINDS if not counts[f"fault: {kind}"]]
    _summary(number, simulated_s, steps, counts, silent)
    for told in failed[:1]:
        print(f"\nseed {told.seed} breaks an invariant; replay it with --seed {told.seed}")
        if not args.no_shrink:
            plan = plan_of(told.seed, _kinds(args))
            _print(*shrunk(plan, run(plan), run))
    found = {
        "histories": number,
        "simulated_s": round(simulated_s),
        "steps": int(steps),
        "failed": {told.seed: told.violation for told in failed},
        "never_fired": silent,
        "counts": dict(sorted(counts.items())),
    }
    if args.json:
        print(json.dumps(found))
    return 1 if failed or (args.cover and silent) else 0


def _summary(number: int, simulated_s: float, steps: float, counts: Counter[str], silent: list[str]) -> None:
    print(f"\n{number} histories, {simulated_s / 3_600:.1f} simulated hours, {steps / 1e6:.1f} million steps")
    groups: dict[str, list[str]] = {}
    for name, count in sorted(counts.items()):
        group, _, what = name.rpartition(": ")
        groups.setdefault(group, []).append(f"{what} {count}")
    for group, found in groups.items():
        print(f"  {group or 'and'}: {', '.join(found)}")
    if silent:
        print(f"  never fired: {', '.join(silent)}")
    print(f"  pending: {', '.join(PENDING)}")


# -- planted bugs


def _plant(args: argparse.Namespace) -> int:
    names = [bug.name for bug in BUGS] if args.plant == "all" else args.plant.split(",")
    missed = []
    for name in names:
        bug = BY_NAME[name]
        begun = time.perf_counter()
        try:
            seeds, violation = caught(bug, args.first)
        except AssertionError as error:
            seeds, violation = 0, ""
            print(error)
        took_s = time.perf_counter() - begun
        if not violation:
            missed.append(name)
        if args.json:
            found = {"bug": name, "seeds": seeds, "budget": bug.seeds, "took_s": round(took_s, 1), "by": violation}
            print(json.dumps(found), flush=True)
        else:
            verdict = f"caught by seed {seeds} of {bug.seeds}: {violation[:160]}" if violation else "NOT CAUGHT"
            print(f"{name:45} {took_s:6.1f} s  {verdict}", flush=True)
    return 1 if missed else 0


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
