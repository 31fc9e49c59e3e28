"""How one write of a field stands among the others."""

from random import Random

import pytest

from core.rivalry import Write, conflicts, standing_of


def write(stamp: int, basis: int, value: str) -> Write:
    return Write("users", '["Ua"]', "name", stamp, basis, value)


def stamps(writes: tuple[Write, ...]) -> list[int]:
    return [one.stamp for one in writes]


TREE = [
    write(1, 0, "a"),
    write(2, 1, "b"),  # knew 1
    write(3, 1, "c"),  # knew 1, not 2
    write(4, 3, "d"),  # knew 1 and 3
    write(5, 2, "d"),  # knew 1 and 2; the same value as 4
]


@pytest.mark.parametrize(
    ("stamp", "state", "won", "lost"),
    [
        (1, "replaced", [], []),
        (2, "replaced", [], [3, 4]),
        (3, "lost", [2], [5]),
        (4, "equal", [2], []),
        (5, "shown", [3], []),
    ],
)
def test_a_write_wins_and_loses_only_against_those_that_did_not_know_each_other(
    stamp: int, state: str, won: list[int], lost: list[int]
) -> None:
    found = standing_of(TREE, stamp)
    assert found is not None
    assert (found.state, stamps(found.won_against), stamps(found.lost_against)) == (state, won, lost)
    assert found.winner.stamp == 5


def test_what_is_not_kept_has_no_standing() -> None:
    assert standing_of(TREE, 9) is None
    assert standing_of([], 1) is None


def test_what_is_lost_is_what_is_listed_in_any_order_of_writes() -> None:
    random = Random(7)
    for _ in range(300):
        writes = [
            write(stamp, random.choice([0, *range(1, stamp)]), random.choice("ab"))
            for stamp in range(1, random.randint(2, 9))
        ]
        listed = {one["stamp"] for one in conflicts(writes)}
        random.shuffle(writes)
        lost = {one.stamp for one in writes if (found := standing_of(writes, one.stamp)) and found.state == "lost"}
        assert lost == listed
