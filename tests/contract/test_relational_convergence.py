"""Whatever the order, repetition and batching of effects, every adapter holds what core.tables.merge makes of them."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.tables import TABLES, Law
from stores.digest import Digest, digest, digest_of
from stores.ports import Mark, RelationalBatch, Stamped
from tests.support.stores import (
    AWKWARD,
    PROBE,
    PROBE_TABLE,
    any_batches,
    any_effects,
    batch,
    dumped,
    folder,
    message_store,
    probe_table,
    reference,
    relational_store,
    write,
)

Rows = dict[str, list[dict[str, Any]]]

pytestmark = pytest.mark.timeout(400)
"""A failing property takes minutes to shrink, as every example opens files; a passing one takes a second."""


async def folded(
    adapter: str, batches: list[list[Stamped]], tables: dict[str, Any]
) -> tuple[Rows, list[dict[str, Any]], Digest]:
    """Rows, conflicts and digest of an adapter that these were applied to."""
    with folder() as path:
        async with relational_store(adapter, path) as store, message_store(adapter, path) as messages:
            for effects in batches:
                await store.apply(batch(effects))
            rows = {name: await dumped(store, name) for name in tables}
            return rows, await store.conflicts(), await digest(store, messages)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_rows_equal_the_reference_fold_in_every_adapter(adapters: tuple[str, ...], data: st.DataObject) -> None:
    effects = data.draw(any_effects(TABLES), "effects")
    orders = [data.draw(any_batches(effects), adapter) for adapter in adapters]
    expected = reference(effects)
    results = [asyncio.run(folded(adapter, order, TABLES)) for adapter, order in zip(adapters, orders, strict=True)]
    for rows, conflicts, sums in results:
        assert rows == expected
        assert conflicts == results[0][1]
        assert sums == digest_of(expected)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_every_law_with_every_kind_equals_the_reference_fold(adapters: tuple[str, ...], data: st.DataObject) -> None:
    with probe_table():
        effects = data.draw(any_effects({PROBE: PROBE_TABLE}, most=12), "effects")
        expected = reference(effects, {PROBE: PROBE_TABLE})
        for adapter in adapters:
            order = data.draw(any_batches(effects), adapter)
            rows, _, _ = asyncio.run(folded(adapter, order, {PROBE: PROBE_TABLE}))
            assert rows == expected


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_two_halves_loaded_into_one_equal_the_whole(adapters: tuple[str, ...], data: st.DataObject) -> None:
    """Restore: a dump is merged into what replay has brought already, from any adapter into any other."""
    effects = data.draw(any_effects(TABLES), "effects")
    cut = data.draw(st.integers(0, len(effects)))
    source, target = data.draw(st.sampled_from([(a, b) for a in adapters for b in adapters]))

    async def both() -> Rows:
        with folder() as path, folder() as other:
            async with relational_store(source, path) as dump, relational_store(target, other) as store:
                await dump.apply(batch(effects[:cut]))
                await store.apply(batch(effects[cut:]))
                for _ in range(2):
                    for name in TABLES:
                        async for page in dump.dump(name):
                            await store.load(name, page)
                return {name: await dumped(store, name) for name in TABLES}

    assert asyncio.run(both()) == reference(effects)


def pairs_noted_on_meeting(writes: list[Stamped]) -> set[int]:
    """The rule that does not work: a write conflicts with the present value if that is not its basis."""
    lost: set[int] = set()
    present = 0
    for stamp, effect in writes:
        if stamp > present:
            if effect.basis["name"] != present:
                lost.add(present)
            present = stamp
        else:
            lost.add(stamp)
    return lost - {0}


def concurrent_writes(seed: int) -> list[Stamped]:
    """Writes of one name in DCs that have each applied only some of the others."""
    source, writes = random.Random(seed), list[Stamped]()
    for stamp in range(1, 9):
        seen = source.choice([0, *(known.stamp for known in writes)])
        writes.append(write(stamp, "users", "Ua", {"name": f"n{stamp}"}, name=seen))
    return writes


def test_conflicts_are_the_same_in_any_order_where_noting_pairs_is_not(adapters: tuple[str, ...]) -> None:
    naive_differs = naive_lists_what_the_winner_saw = 0
    for seed in range(12):
        writes = concurrent_writes(seed)
        bases = {stamp: effect.basis["name"] for stamp, effect in writes}
        path, at = set[int](), max(bases)
        while at:
            path.add(at)
            at = bases[at]
        found, naive = set[tuple[int, ...]](), set[frozenset[int]]()
        for order in range(4):
            random.Random(order).shuffle(writes)
            naive.add(frozenset(pairs_noted_on_meeting(writes)))
            for adapter in adapters:
                _, conflicts, _ = asyncio.run(folded(adapter, [writes[:3], writes[3:]], {}))
                found.add(tuple(conflict["stamp"] for conflict in conflicts))
        assert found == {tuple(sorted(bases.keys() - path))}
        naive_differs += len(naive) > 1
        naive_lists_what_the_winner_saw += any(lost & path for lost in naive)
    assert naive_differs
    assert naive_lists_what_the_winner_saw


@given(st.lists(st.integers(1, 30), unique=True, min_size=1), st.data())
@settings(max_examples=25, deadline=None)
def test_frontiers_reach_their_greatest_mark_in_any_order(
    adapters: tuple[str, ...], seqs: list[int], data: st.DataObject
) -> None:
    async def run(adapter: str, order: list[int]) -> dict[int, Any]:
        with folder() as path:
            async with relational_store(adapter, path) as store, message_store(adapter, path) as messages:
                for seq in order:
                    await store.apply(RelationalBatch((), (), (), (), {7: Mark(seq, 10 * seq)}))
                    messages.put((), {7: Mark(seq, 10 * seq)})
                await messages.flush()
                assert await messages.frontier() == await store.frontier()
                return await store.frontier()

    for adapter in adapters:
        assert asyncio.run(run(adapter, data.draw(st.permutations(seqs)))) == {7: (max(seqs), 10 * max(seqs))}


def test_any_two_writes_of_one_column_merge_as_defined_in_either_order(adapters: tuple[str, ...]) -> None:
    """All pairs of awkward values, where the orders of a text and of its encoding differ."""
    effects: list[tuple[Stamped, Stamped]] = []
    for column, (law, kind, _) in PROBE_TABLE.columns.items():
        values = [1] if law is Law.ONCE else AWKWARD[kind]
        for first in values:
            for second in values:
                key = ("k", len(effects))
                effects.append((write(1, PROBE, key, {column: first}), write(2, PROBE, key, {column: second})))
    with probe_table():
        expected = reference([effect for pair in effects for effect in pair], {PROBE: PROBE_TABLE})
        for adapter in adapters:
            for first in (0, 1):
                batches = [[pair[first] for pair in effects], [pair[1 - first] for pair in effects]]
                rows, _, _ = asyncio.run(folded(adapter, batches, {PROBE: PROBE_TABLE}))
                assert rows == expected
