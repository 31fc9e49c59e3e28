"""Makes a failing history smaller: leaves out acts and faults, calms the weather, while the same invariant breaks.

What an act or a fault draws depends on its number alone, so the rest stays much as it was. After Zeller and
Hildebrandt, "Simplifying and isolating failure-inducing input" (2002), greedily and within a number of tries.
"""

import re
from collections.abc import Callable, Iterator

from tests.simulation.network import FAIR
from tests.simulation.plan import Plan
from tests.simulation.world import Outcome

TRIES_MAX = 60


def kind_of(outcome: Outcome) -> str:
    """What broke, without its figures; "" if nothing did."""
    if not outcome.violations:
        return ""
    return re.sub(r"[0-9A-Fa-f-]*[0-9][0-9A-Za-z-]*|U[a-z]+|fra|ams|nyc|sgp|gru", "", outcome.violations[0])[:60]


def shrunk(
    plan: Plan, outcome: Outcome, run: Callable[[Plan], Outcome], tries: int = TRIES_MAX
) -> tuple[Plan, Outcome]:
    """The smallest plan that was found to fail alike, with its outcome."""
    kind = kind_of(outcome)
    changed = True
    while changed and tries:
        changed = False
        for smaller in _smaller(plan):
            if not tries:
                break
            tries -= 1
            found = run(smaller)
            if kind_of(found) == kind:
                plan, outcome, changed = smaller, found, True
                break
    return plan, outcome


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Simpler plans, the boldest first."""
    if plan.weather != FAIR:
        yield plan.smaller(weather=FAIR)
    if plan.bounds:
        yield plan.smaller(bounds={})
    if plan.skew_ms:
        yield plan.smaller(skew_ms=0)
    acts = [n for n in range(plan.acts) if n not in plan.without_acts]
    faults = [n for n in range(plan.faults) if n not in plan.without_faults]
    for part in _parts(faults):
        yield plan.smaller(without_faults=plan.without_faults | part)
    for part in _parts(acts):
        yield plan.smaller(without_acts=plan.without_acts | part)


def _parts(numbers: list[int]) -> Iterator[frozenset[int]]:
    """Halves (the later one first), quarters, …, single ones where there are few."""
    size = len(numbers) // 2
    while size:
        for at in range(len(numbers) - size, -1, -size):
            yield frozenset(numbers[at : at + size])
        size //= 2
        if len(numbers) > 16 and size == 1:
            return
    if len(numbers) == 1:
        yield frozenset(numbers)
