"""A message is the same whatever the order and repetition in which its rows are read."""

from random import Random

from hypothesis import example, given
from hypothesis import strategies as st

from core.ids import lane_of
from core.messages import Row, fold
from stores.adapters.message_rows import shown

USERS = st.sampled_from(["Ua", "Ub"])


def row(event: int, kind: str, actor: str, number: int) -> Row:
    body = {
        "send": {"text": "sent", "key": "k", "to": [actor, f"U{number}"], "reply_to": "7", "content": {"n": 0}},
        "edit": {"text": f"edit {event}"} | ({"content": {"n": event}} if number else {}),
        "recall": {},
        "react": {"emoji": "+1", "on": bool(number % 2)},
    }[kind]
    return Row(event, "D1", event if kind == "send" else 1, kind, actor, 9 if kind == "send" else 0, body)


KINDS = st.sampled_from(["send", "edit", "edit", "react", "react", "recall"])
CONTENT = st.lists(st.tuples(KINDS, USERS, st.integers(0, 3)), min_size=1, max_size=10)


def rows_of(content: list[tuple[str, str, int]]) -> list[Row]:
    return [row(event, *what) for event, what in enumerate(content, 1)]


@given(CONTENT, st.randoms(use_true_random=False))
def test_any_order_and_repetition_of_rows_gives_the_same_message(
    content: list[tuple[str, str, int]], random: Random
) -> None:
    rows = rows_of(content)
    shuffled = rows + random.choices(rows, k=3)
    random.shuffle(shuffled)
    assert fold(shuffled) == fold(rows)


@given(CONTENT)
@example([("send", "Ua", 0), ("edit", "Ua", 0)])
def test_the_newest_edit_and_each_users_newest_reaction_are_shown(content: list[tuple[str, str, int]]) -> None:
    rows = rows_of(content)
    message = fold(reversed(rows))
    sends = [r for r in rows if r.kind == "send"]
    if not sends:
        assert message is None
        return
    assert message is not None
    assert (message.id, message.sender) == (sends[0].event, sends[0].actor)
    if any(r.kind == "recall" for r in rows):
        assert (message.text, message.content, message.edited, message.reactions) == (None, None, 0, {})
        return
    edits = [r for r in rows if r.kind == "edit"]
    assert message.text == (edits[-1].body["text"] if edits else "sent")
    # Of one revision, whole: an edit without content leaves none of an earlier one's.
    assert message.content == (edits[-1] if edits else sends[0]).body.get("content")
    latest = {r.actor: r.body["on"] for r in rows if r.kind == "react"}
    assert message.reactions.get("+1", ()) == tuple(sorted(user for user, on in latest.items() if on))


@given(CONTENT, st.integers(0, 11))
def test_whoever_may_know_less_sees_what_there_was_but_for_recalls(
    content: list[tuple[str, str, int]], last: int
) -> None:
    rows = rows_of(content)
    known = [r for r in rows if r.event <= last or r.kind in ("send", "recall")]
    assert fold(shown(rows, {lane_of(row.event): last for row in rows})) == fold(known)


@given(CONTENT)
def test_a_text_that_another_replaced_is_not_needed(content: list[tuple[str, str, int]]) -> None:
    rows = rows_of(content)
    kept = shown(rows)
    assert fold(kept) == fold(rows)
    assert sum(row.kind == "edit" and row.body != {} for row in kept) <= 1
