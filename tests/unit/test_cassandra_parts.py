"""Where entries of a conversation's index go, and how they are put in order again: without a server."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import limits
from stores.adapters.cassandra_cql import BUCKET_BITS, SLICE_BITS, SPLIT, hour_of, slot_of
from stores.adapters.cassandra_merge import Chain, Merge, Source, stream
from stores.adapters.cassandra_writes import Parts, Place

ENTRIES = st.lists(
    st.tuples(st.sampled_from(["G1", "G2", "D3"]), st.integers(0, 5), st.integers(0, 40)).map(
        lambda drawn: (drawn[0], drawn[1] << BUCKET_BITS | drawn[2] << SLICE_BITS - 2)
    ),
    max_size=120,
)


@given(ENTRIES, st.integers(1, 4), st.integers(1, 6), st.integers(1, 3))
def test_a_part_is_bounded_owned_and_named_by_the_directories(
    entries: list[tuple[str, int]], rows_max: int, open_max: int, lives: int
) -> None:
    """Whatever comes, however much a process forgets and however often it begins again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "CASSANDRA_PART_ROWS_MAX", rows_max)
        patch.setattr(limits, "CASSANDRA_PARTS_OPEN_MAX", open_max)
        sizes: Counter[Place] = Counter()
        named: set[tuple[str, tuple[object, ...]]] = set()
        for life in range(lives):
            parts = Parts(lambda size, life=life: life.to_bytes(size - 1) + b"\0")
            found = [(parts.place(*entry), entry) for entry in entries]
            named |= {(name, tuple(values)) for name, values in parts.begun}
            for place, (conversation, message) in found:
                sizes[place] += 1
                bucket = message >> BUCKET_BITS
                assert place.conversation == conversation
                if place.bucket >= 0:
                    assert place.bucket == bucket
                    assert ("buckets", (conversation, bucket, place.part)) in named
                else:
                    assert ~place.bucket == message >> SLICE_BITS
                    assert ("slices", (conversation, bucket, ~place.bucket, place.part)) in named
                    assert ("buckets", (conversation, bucket, SPLIT)) in named
                assert ("conversations", (conversation[:5], conversation)) in named
                assert ("prefixes", (conversation[:5],)) in named
        assert not sizes or max(sizes.values()) <= rows_max
        owners = Counter(place.part for place in sizes)
        assert not owners or max(owners.values()) == 1, "two partitions of one number"


@given(st.lists(st.integers(0, (1 << 63) - 1), min_size=1, max_size=20))
def test_slots_and_hours_are_in_the_order_of_their_time(events: list[int]) -> None:
    slots = [slot_of(event) for event in sorted(events)]
    times = [slot >> 16 for slot in slots]
    assert times == sorted(times)
    assert [hour_of(slot) for slot in slots] == [event >> 43 for event in sorted(events)]


def source(pages: list[list[int]]) -> Source[int]:
    waiting = list(pages)

    async def more() -> tuple[list[int], bool]:
        return (waiting.pop(0) if waiting else []), bool(waiting)

    return more


@st.composite
def any_sources(draw: st.DrawFn) -> list[list[list[int]]]:
    """Each an ascending list, in pages; some are empty, and an entry may be in several."""
    found = []
    for entries in draw(st.lists(st.lists(st.integers(0, 30), unique=True).map(sorted), max_size=5)):
        cuts = sorted(draw(st.lists(st.integers(0, len(entries)), max_size=3)))
        found.append([entries[a:b] for a, b in zip([0, *cuts], [*cuts, len(entries)], strict=True)])
    return found


async def read(of: Source[int]) -> list[int]:
    return [entry async for entries in stream(of) for entry in entries]


@given(any_sources())
def test_merged_sources_give_everything_once_and_in_order(sources: list[list[list[int]]]) -> None:
    expected = sorted({entry for pages in sources for page in pages for entry in page})
    merged = Merge([source(pages) for pages in sources], lambda entry: entry)
    assert asyncio.run(read(merged)) == expected
    down = Merge(
        [source([page[::-1] for page in reversed(pages)]) for pages in sources],
        lambda entry: -entry,
    )
    assert asyncio.run(read(down)) == expected[::-1]


@given(any_sources())
def test_a_chain_gives_one_after_the_other(sources: list[list[list[int]]]) -> None:
    async def each() -> AsyncIterator[Source[int]]:
        for pages in sources:
            yield source(pages)

    assert asyncio.run(read(Chain(each()))) == [entry for pages in sources for page in pages for entry in page]
