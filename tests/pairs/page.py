"""docs/pairs.md: made from the registry, the samples and what was seen when they were played."""

from collections.abc import Iterator

from tests.pairs.expected import expected
from tests.pairs.outcomes import PAIRS, Outcome, outcome, shared
from tests.pairs.samples import PLAYED, sample_of

_HEAD = """# Two actions at once

What becomes of two actions on one thing that are done in two datacenters which do not know of each other, say during a
cut. Made by `.venv/bin/python -m tests.pairs`: each pair is played in both orders of time, at either datacenter; then
in any order and repetition of what was written the state has to be the same, and what is below is what it shows. All
pairs of actions are played, also those about different things, of which both always hold
(`tests/property/test_pairs.py`); only those about one thing stand here. Which action has which rule, and why:
[semantics.md](semantics.md).

"Later" and "earlier" are by the ids, so by the datacenters' clocks, as neither knew of the other. "Listed": the value
that is not kept is a conflict, which `planb conflicts list` shows and `planb conflicts undo` writes again.
"""


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(_sections())


def _sections() -> Iterator[str]:
    by_thing: dict[str, list[Outcome]] = {thing: [] for name in PLAYED for thing in sample_of(name).about}
    for a, b in PAIRS:
        things = shared(a, b)
        if things:
            by_thing[things[0]].append(outcome(a, b))
    for thing, outcomes in sorted(by_thing.items()):
        yield f"\n## {thing[0].upper()}{thing[1:]}\n\n| action | holds when |\n|---|---|\n"
        for name in PLAYED:
            if thing in sample_of(name).about:
                yield f"| `{name}` | {sample_of(name).holds_when} |\n"
        yield "\n| one | the other | what holds | why |\n|---|---|---|---|\n"
        for one in outcomes:
            yield f"| `{one.a}` | `{one.b}` | {_words(one)} | {expected(one.a, one.b)[1]} |\n"


def _words(one: Outcome) -> str:
    listed = "; listed" if one.listed else ""
    if one.rule in ("later", "earlier"):
        return f"the {one.rule} one{listed}"
    if one.rule == "both":
        return f"both{listed}"
    name, _, rest = one.rule.partition(";")
    other = one.b if name == one.a else one.a
    return f"`{name}`{rest.replace('the other', f'and `{other}`')}" + ("" if rest else ", whichever is later") + listed
