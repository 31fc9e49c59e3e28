"""Plays two actions at once, in both orders of their stamps and at either datacenter, and says which of them holds."""

import itertools
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from core.event import Event
from core.fold import State
from core.rivalry import Write, conflicts
from core.tables import ALL_TABLES, Effect, Law, canonical
from tests.pairs.samples import PLAYED, sample_of
from tests.pairs.scene import Scene, Seen, applied
from tests.support.mesh import ACTIONS

PAIRS = tuple(itertools.combinations_with_replacement(PLAYED, 2))


class Held(NamedTuple):
    """Of one order: `first` has the smaller stamp."""

    first: bool
    second: bool
    listed: bool
    """A value of one of them is in the list of conflicts."""


def other_last(other: tuple[bool, bool], last: int) -> str:
    """Of one that holds in one of two orders: is it the one in which it comes last?"""
    return "later" if other[last] else "earlier"


class Outcome(NamedTuple):
    """`ab`: a has the smaller stamp; `ba`: b has."""

    a: str
    b: str
    ab: Held
    ba: Held

    @property
    def rule(self) -> str:
        """ "both", "later", "earlier", the name of the one that always holds alone; else what holds in each order."""
        a, b = (self.ab.first, self.ba.second), (self.ab.second, self.ba.first)  # each: in order ab, in order ba
        if all((*a, *b)):
            return "both"
        if (a, b) == ((False, True), (True, False)):
            return "later"
        if (a, b) == ((True, False), (False, True)):
            return "earlier"
        for name, always, other, is_later in ((self.a, a, b, other_last(b, 0)), (self.b, b, a, other_last(a, 1))):
            if all(always):
                return f"{name}; the other where it is {is_later}" if any(other) else name
        return f"neither always: {a} {b}"

    @property
    def listed(self) -> bool:
        return self.ab.listed or self.ba.listed


@cache
def _furnished() -> Scene:
    return Scene().furnish()


def outcome(a: str, b: str) -> Outcome:
    """What becomes of the two. An AssertionError where the datacenters, or any order and repetition of what was
    written, come to different states, or where it matters which datacenter did which."""
    held = {}
    for order in ("ab", "ba"):
        found = {_played(a, b, order, at) for at in (0, 1)}
        assert len(found) == 1, f"{a} and {b}: it matters where each is done: {found}"
        [held[order]] = found
    return Outcome(a, b, held["ab"], held["ba"])


def _played(a: str, b: str, order: str, at: int) -> Held:
    """`a` is done at datacenter `at`, `b` at the other one, neither knowing of the other."""
    scene = _furnished().again()
    known = set(applied(scene))
    calls = {"a": (a, at, "left"), "b": (b, 1 - at, "right")}
    for name, dc, _ in calls.values():
        sample_of(name).before(scene, dc)
    events = []
    for one in order:
        name, dc, side = calls[one]
        sample = sample_of(name)
        events.append(scene.do(dc, name, sample.actor(side), sample.request(scene, side), sample.key(side)))
    first, second = events
    assert first.id < second.id
    fresh = [event for id, event in applied(scene).items() if id not in known]
    scene.settle()
    state = _converged(scene, fresh)
    seen = Seen(scene, state)
    one, other = (a, b) if order == "ab" else (b, a)
    holds = sample_of(one).holds(seen, first), sample_of(other).holds(seen, second)
    return Held(*holds, _listed(scene, {first.id, second.id}))


def _converged(scene: Scene, fresh: list[Event]) -> State:
    """The one state that both datacenters have, and that any order and repetition of the new events gives."""
    state = scene.dcs[0].state
    expected = state.snapshot()
    assert scene.dcs[1].state.snapshot() == expected, "the datacenters differ"
    for order in itertools.permutations(fresh):
        for repeated in ((), order[:1], order):
            assert _fold((*order, *repeated)) == expected, [event.action for event in order]
    return state


def _fold(events: Iterable[Event]) -> dict[str, Any]:
    """What these events make of the furnished scene."""
    state = State()
    state.absorb(_furnished().dcs[0].state)
    for event in events:
        for effect in ACTIONS[event.action].effects(event):
            state.apply(event.id, effect)
    return state.snapshot()


def _listed(scene: Scene, ids: set[int]) -> bool:
    """Is what one of these wrote a conflict, by the rule that lists them?"""
    writes = [
        Write(effect.table, canonical(list(effect.key)).decode(), column, id, effect.basis[column], value)
        for id, event in applied(scene).items()
        for effect, column, value in lww_writes(event)
        if ALL_TABLES[effect.table].columns[column].listed and "lane" not in ALL_TABLES[effect.table].key
    ]
    return any(one["stamp"] in ids for one in conflicts(sorted(writes, key=lambda write: write[:4])))


def lww_writes(event: Event) -> Iterable[tuple[Effect, str, Any]]:
    """What it writes to columns of which the later value is kept."""
    for effect in ACTIONS[event.action].effects(event):
        for column, value in effect.columns.items():
            if ALL_TABLES[effect.table].columns[column].law is Law.LWW:
                yield effect, column, value


@cache
def rivals(a: str, b: str) -> bool:
    """Do the two write different values to one lww column, so that the law of the table alone says what holds?"""
    scene = _furnished().again()
    wrote = []
    for name, dc, side in ((a, 0, "left"), (b, 1, "right")):
        sample = sample_of(name)
        sample.before(scene, dc)
        event = scene.do(dc, name, sample.actor(side), sample.request(scene, side), sample.key(side))
        wrote.append({(one.table, one.key, column): value for one, column, value in lww_writes(event)})
    left, right = wrote
    return any(left[place] != right[place] for place in left.keys() & right.keys())


def shared(a: str, b: str) -> list[str]:
    """The things that both are about."""
    return [thing for thing in sample_of(a).about if thing in sample_of(b).about]
