"""The checker is checked: a good history passes, and each kind of broken promise is named."""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.checker import RULES, monotonic_writes, violations, writes_follow_reads
from tests.faults.history import OK, REFUSED, UNKNOWN, History, Read, Recall, Shown, Write

A = Shown(10, "a", False)
B = Shown(20, "b", False)
C = Shown(30, "c", False, (31,))
GONE = Shown(20, "b", True)


def good() -> History:
    """Ann writes a and b in fra, and sees both; Bob reads them in iad, and his answer has to be sent twice."""
    return History(
        writes=[
            Write("ann", "fra", "a", 0, 1, OK, 10),
            Write("ann", "fra", "b", 2, 3, OK, 20),
            Write("bob", "iad", "c", 6, 7, UNKNOWN),
            Write("bob", "fra", "c", 8, 9, OK, 31),
            Write("bob", "fra", "d", 10, 11, REFUSED),
        ],
        recalls=[Recall("ann", "fra", "b", 12, 13, OK)],
        reads=[
            Read("ann", "fra", 4, 5, (A, B), True),
            Read("bob", "iad", 4, 5, (A, B), True),
            Read("ann", "fra", 14, 15, (GONE, C), False),
        ],
        final={"fra": (A, GONE, C), "iad": (A, GONE, C)},
        misstamped=set(),
    )


def test_a_good_history_breaks_nothing() -> None:
    assert violations(good()) == []


def write(history: History, place: int, **changes: object) -> None:
    history.writes[place] = history.writes[place]._replace(**changes)  # type: ignore[arg-type]


def read(history: History, place: int, **changes: object) -> None:
    history.reads[place] = history.reads[place]._replace(**changes)  # type: ignore[arg-type]


def diverged(history: History) -> None:
    history.final["iad"] = (A, C)


def reordered(history: History) -> None:
    history.final["iad"] = (GONE, A, C)


def lost(history: History) -> None:
    history.final.update(dict.fromkeys(history.final, (A, GONE)))


def renamed(history: History) -> None:
    write(history, 0, id=11)


def refused_and_there(history: History) -> None:
    history.final.update(dict.fromkeys(history.final, (A, GONE, C, Shown(40, "d", False))))


def twice(history: History) -> None:
    read(history, 1, messages=(A, A._replace(id=11), B))


def out_of_order(history: History) -> None:
    read(history, 1, messages=(B, A))


def same_id(history: History) -> None:
    write(history, 3, id=20)


def own_write_unseen(history: History) -> None:
    read(history, 0, messages=(A,))


def went_back(history: History) -> None:
    history.reads.append(Read("bob", "iad", 20, 21, (A,), True))


def recall_went_back(history: History) -> None:
    history.reads.append(Read("ann", "fra", 20, 21, (A, B, C), True))


def earlier_id(history: History) -> None:
    write(history, 1, id=9)


def answer_before_its_cause(history: History) -> None:
    history.writes.append(Write("bob", "iad", "e", 16, 17, OK, 19))


def recalled_and_shown(history: History) -> None:
    history.final.update(dict.fromkeys(history.final, (A, B, C)))


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (diverged, "converged"),
        (reordered, "converged"),
        (lost, "nothing_acknowledged_is_lost"),
        (renamed, "nothing_acknowledged_is_lost"),
        (refused_and_there, "what_was_refused_did_not_happen"),
        (twice, "shown_once_and_in_order"),
        (out_of_order, "shown_once_and_in_order"),
        (same_id, "ids_are_unique"),
        (own_write_unseen, "read_your_writes"),
        (went_back, "monotonic_reads"),
        (recall_went_back, "monotonic_reads"),
        (earlier_id, "monotonic_writes"),
        (answer_before_its_cause, "writes_follow_reads"),
        (recalled_and_shown, "a_recall_is_final"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_broken_promise_is_named(spoil: object, rule: str) -> None:
    history = good()
    spoil(history)  # type: ignore[operator]
    assert rule in {found.partition(":")[0] for found in violations(history)}


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [(earlier_id, monotonic_writes), (answer_before_its_cause, writes_follow_reads)],
    ids=lambda value: value.__name__,
)
def test_what_a_wrong_clock_has_stamped_has_no_order(
    spoil: Callable[[History], None], rule: Callable[[History], Iterator[str]]
) -> None:
    history = good()
    spoil(history)
    assert list(rule(history))
    history.misstamped.update((10, 20, 30))
    assert not list(rule(history))


def test_every_rule_is_seen_to_fail_above() -> None:
    marks = test_a_broken_promise_is_named.pytestmark  # type: ignore[attr-defined]
    assert {rule for _, rule in marks[0].args[1]} == {rule.__name__ for rule in RULES}
