"""Any permutation, duplication and grouping of any events gives the same state: all actions together."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.fold import State
from core.tables import Cell, Effect, Law, merge
from tests.support.history import STEP_MAX, History, Step, random_steps
from tests.support.mesh import ACTIONS, Mesh

STEPS = st.lists(st.builds(Step, *(st.integers(0, most) for most in STEP_MAX)), min_size=1, max_size=60)


def folded(effects: list[tuple[int, Effect]]) -> State:
    state = State()
    for stamp, effect in effects:
        state.apply(stamp, effect)
    return state


@settings(max_examples=60, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_any_order_repetition_and_grouping_of_effects_gives_the_same_state(steps: list[Step], random: Random) -> None:
    effects = History(Mesh()).play(steps).mesh.effects()
    expected = folded(effects).snapshot()

    shuffled = effects + random.choices(effects, k=len(effects) // 2)
    random.shuffle(shuffled)
    assert folded(shuffled).snapshot() == expected

    groups = [State() for _ in range(3)]
    for stamp, effect in shuffled:
        random.choice(groups).apply(stamp, effect)
    whole = State()
    for group in (*groups, groups[0]):
        whole.absorb(group)
    assert whole.snapshot() == expected


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_dcs_that_applied_the_same_lanes_agree_whatever_the_interleaving(steps: list[Step]) -> None:
    mesh = History(Mesh()).play(steps).mesh
    mesh.settle()
    first, *others = [dc.state.snapshot() for dc in mesh.dcs]
    assert all(other == first for other in others)
    assert folded(mesh.effects()).snapshot() == first


def test_random_histories_use_every_action() -> None:
    used: Counter[str] = Counter()
    for seed in range(40):
        used.update(event.action for event in History(Mesh()).play(random_steps(seed, 120)).mesh.events)
    assert set(used) == set(ACTIONS), set(ACTIONS) - set(used)


def cells(law: Law) -> st.SearchStrategy[Cell]:
    if law in (Law.LWW, Law.INSERT):
        value: st.SearchStrategy[object] = st.one_of(
            st.text(max_size=2), st.dictionaries(st.text("12", max_size=1), st.integers(0, 3), max_size=2)
        )
    else:
        value = st.just(1) if law is Law.ONCE else st.integers(0, 5)
    return st.builds(Cell, value, st.integers(1, 4))


@given(st.sampled_from(Law).flatmap(lambda law: st.tuples(st.just(law), cells(law), cells(law), cells(law))))
def test_every_law_is_commutative_associative_and_idempotent(drawn: tuple[Law, Cell, Cell, Cell]) -> None:
    law, *written = drawn
    a, b, c = (merge(law, None, cell) for cell in written)
    assert merge(law, a, b) == merge(law, b, a)
    assert merge(law, merge(law, a, b), c) == merge(law, a, merge(law, b, c))
    assert merge(law, a, a) == a
    assert merge(law, merge(law, a, b), b) == merge(law, a, b)
