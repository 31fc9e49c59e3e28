"""Three DCs get the same lanes in any order and grouping: each feeds every user what he is owed, once, and nothing of
what was written after he was thrown out; and all end with the same state."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.crash import difference
from tests.support.crash_site import (
    ACTIONS,
    MEMBERSHIP_OPS,
    Site,
    Story,
    batches_of,
    group_story,
    membership_story,
    owed_events,
    play,
    state_of,
    story_of,
    updates_of,
)
from tests.support.history import STEP_MAX, USERS, Step

DCS = 3


class Place(NamedTuple):
    chat: str
    user: str


def steps_of(ops: Sequence[int]) -> st.SearchStrategy[list[Step]]:
    rest = [st.integers(0, most) for most in STEP_MAX[1:]]
    return st.lists(st.builds(Step, st.sampled_from(ops), *rest), min_size=20, max_size=80)


def thrown_out(story: Story) -> tuple[dict[Place, list[int]], dict[Place, list[int]]]:
    """(chat, user) -> ids of his adds, and of his kicks."""
    adds: dict[Place, list[int]] = {}
    kicks: dict[Place, list[int]] = {}
    for event in story.events:
        for effect in ACTIONS[event.action].effects(event):
            if effect.table in ("member_adds", "member_kicked"):
                found = adds if effect.table == "member_adds" else kicks
                found.setdefault(Place(str(effect.key[0]), str(effect.key[1])), []).append(event.id)
    return adds, kicks


def leaks(story: Story, fed: dict[str, set[int]]) -> list[tuple[str, int]]:
    """Messages that a user was fed although their origin knew that he had been thrown out, and no later add."""
    adds, kicks = thrown_out(story)
    return [
        (user, event.id)
        for event in story.events
        if event.action == "message.send" and event.args.conversation[0] == "G"
        for user in USERS
        if user not in event.args.to
        and len(adds.get(Place(event.args.conversation, user), ())) == 1
        and story.past[event.id].intersection(kicks.get(Place(event.args.conversation, user), ()))
        and event.id in fed[user]
    ]


async def check(story: Story, seeds: Sequence[int], batch_max: int) -> None:
    owed = owed_events(story, any_order=True)
    states = []
    for seed in seeds:
        site = Site()
        batches = batches_of(story.lanes, Random(seed), batch_max)
        life = await play(story._replace(batches=batches), site)
        states.append(await state_of(story, life, any_order=True))
        fed = {owner: {event for event, _, _ in await updates_of(site, owner)} for owner in owed}
        for owner, events in owed.items():
            if owner[0] != "G":
                assert events <= fed[owner], f"{owner} missed something"
        assert not leaks(story, fed)
        await life.end()
    for state in states[1:]:
        assert not difference(states[0], state)


@settings(max_examples=40, deadline=None)
@given(steps_of(MEMBERSHIP_OPS), st.lists(st.integers(0, 10_000), min_size=DCS, max_size=DCS), st.integers(1, 8))
async def test_members_come_and_go(steps: list[Step], seeds: list[int], batch_max: int) -> None:
    await check(story_of(steps, 0), seeds, batch_max)


@settings(max_examples=20, deadline=None)
@given(steps_of(range(STEP_MAX.op + 1)), st.lists(st.integers(0, 10_000), min_size=DCS, max_size=DCS))
async def test_everything_at_once(steps: list[Step], seeds: list[int]) -> None:
    await check(story_of(steps, 0), seeds, 6)


async def test_joiners_miss_nothing_and_nothing_leaks() -> None:
    for seed in range(30):
        await check(group_story(seed), range(seed, seed + DCS), 4)


async def test_long_histories() -> None:
    for seed in range(6):
        await check(membership_story(seed, 400), range(seed, seed + DCS), 12)
