"""A recall is final: it beats every edit, whatever their stamps and whichever arrives first."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.messages import Row, fold
from tests.support.mesh import Mesh
from tests.support.view import message_of

A, B = "Ua", "Ub"


def concurrent(edits_first: bool) -> tuple[Mesh, int]:
    """An edit and a recall of one message, in two DCs that have not heard of each other's."""
    mesh = Mesh()
    for user in (A, B):
        mesh.write(0, "user.upsert", "sys", {"user": user, "name": user})
    sent = mesh.write(0, "message.send", A, {"to": B, "text": "secret"}, key="k")
    mesh.settle()
    order = [(1, "message.edit", {"text": "still secret"}), (2, "message.recall", {"for": "all"})]
    for dc, action, request in order if edits_first else reversed(order):
        mesh.now_ms += 50
        mesh.write(dc, action, A, {"message": str(sent.id), **request})
    mesh.settle()
    return mesh, sent.id


@settings(max_examples=20, deadline=None)
@given(st.booleans())
def test_a_recall_beats_a_concurrent_edit_whatever_their_stamps(edits_first: bool) -> None:
    mesh, id = concurrent(edits_first)
    for dc in mesh.dcs:
        message = message_of(dc.state.message_rows(), id)
        assert message is not None
        assert message.recalled
        assert message.text is None
        assert "secret" not in str(message.shown())


def test_the_later_of_edit_and_recall_would_bring_the_text_back() -> None:
    def later_wins(rows: list[Row]) -> bool:
        return max((row for row in rows if row.kind != "send"), key=lambda row: row.event).kind == "recall"

    shown = [later_wins(concurrent(edits_first)[0].dcs[0].state.message_rows()) for edits_first in (True, False)]
    assert shown == [True, False]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 40))
def test_no_prefix_of_a_messages_rows_shows_its_text_once_the_recall_is_among_them(seed: int) -> None:
    random = Random(seed)
    rows = concurrent(bool(seed % 2))[0].dcs[0].state.message_rows()
    random.shuffle(rows)
    for end in range(len(rows) + 1):
        message = fold(rows[:end])
        if message is not None and any(row.kind == "recall" for row in rows[:end]):
            assert message.text is None
