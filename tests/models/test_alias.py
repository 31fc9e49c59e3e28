"""One message from two events: a retry through another DC has another id, and every id of it counts.

Reactions, edits, recalls and reads name whatever id their DC shows. Folded over the class nothing is lost or counted
twice; rows looked up by the canonical id alone, and counts per id, are planted and caught.
"""

from collections.abc import Iterable
from contextlib import suppress
from random import Random
from typing import NamedTuple

from core.errors import PlanBError
from core.ids import lane_of
from core.messages import Message, Row, fold
from tests.support.mesh import Mesh
from tests.support.view import message_of

SENDER, READER = "Ua", "Ub"
HISTORIES = 150


class Story(NamedTuple):
    mesh: Mesh
    ids: dict[str, set[int]]
    """key -> all ids of that message."""
    reacted: set[str]
    recalled: set[str]
    edits: dict[str, dict[int, str]]
    """key -> event -> text."""
    read: set[str]
    """Keys of messages that the reader had been shown and marked as read."""


def story(seed: int) -> Story:
    random = Random(seed)
    mesh = Mesh()
    for user in (SENDER, READER):
        mesh.write(0, "user.upsert", "sys", {"user": user, "name": user})
    mesh.settle()
    told = Story(mesh, {}, set(), set(), {}, set())
    cut: set[tuple[int, int]] = set()
    for step in range(30):
        mesh.now_ms += random.randint(1, 90)
        if random.random() < 0.15:
            cut ^= {(random.randrange(3), random.choice(list(mesh.logs)))}
        with suppress(PlanBError):  # refused at its origin: nothing happened
            _act(told, random, step)
        mesh.drift(random, 0.4, cut)
    mesh.settle()
    return told


def _act(told: Story, random: Random, step: int) -> None:
    mesh, dc, lane, dice = told.mesh, random.randrange(3), random.randrange(2), random.random()
    here = mesh.dcs[dc]
    sends = {row.message: str(row.body["key"]) for row in here.state.message_rows() if row.kind == "send"}
    if dice < 0.45:
        key = f"key{step}"
        if dice > 0.2 and told.ids:
            key = random.choice(sorted(told.ids)[-2:])
            if key in sends.values():
                return  # this DC would answer from its results
        sent = mesh.write(dc, "message.send", SENDER, {"to": READER, "text": key}, key=key, lane=lane)
        told.ids.setdefault(key, set()).add(sent.id)
    elif sends and dice < 0.6:
        named, key = random.choice(sorted(sends.items()))
        mesh.write(dc, "reaction.set", READER, {"message": str(named), "emoji": "+1"}, lane=lane)
        told.reacted.add(key)
    elif sends and dice < 0.7:
        named, key = random.choice(sorted(sends.items()))
        made = mesh.write(dc, "message.edit", SENDER, {"message": str(named), "text": f"edit{step}"}, lane=lane)
        told.edits.setdefault(key, {})[made.id] = f"edit{step}"
    elif sends and dice < 0.75:
        named, key = random.choice(sorted(sends.items()))
        mesh.write(dc, "message.recall", SENDER, {"message": str(named), "for": "all"}, lane=lane)
        told.recalled.add(key)
    elif sends:
        top = max(sends)
        request = {"peer": SENDER, "message": str(top)}
        mesh.write(dc, "dialog.read", READER, request, lane=lane, position=here.position(READER))
        told.read.update(sends.values())


def messages(told: Story) -> dict[str, Message]:
    rows = told.mesh.dcs[0].state.message_rows()
    found = {key: message_of(rows, min(ids)) for key, ids in told.ids.items()}
    return {key: message for key, message in found.items() if message is not None}


def by_canonical_id(rows: Iterable[Row], ids: set[int]) -> Message | None:
    """Planted: only the rows about the smallest id are looked up."""
    return fold(row for row in rows if row.message == min(ids))


def marks(told: Story) -> dict[int, int]:
    return {row["lane"]: row["mark"] for row in told.mesh.dcs[0].state.rows("read_marks", {"user": READER})}


def is_read(ids: Iterable[int], mark: dict[int, int]) -> bool:
    """Read if any id is read."""
    return any(id <= mark.get(lane_of(id), 0) for id in ids)


def test_all_ids_of_a_message_are_one_message_with_all_that_was_done_to_it() -> None:
    copies = 0
    for seed in range(HISTORIES):
        told = story(seed)
        found = messages(told)
        rows = told.mesh.dcs[0].state.message_rows()
        for key, ids in told.ids.items():
            copies += len(ids) > 1
            message = found[key]
            assert message.ids == tuple(sorted(ids))
            assert message.id == min(ids)
            assert all(message_of(rows, id) == message for id in ids)
            assert message.recalled == (key in told.recalled)
            if message.recalled:
                assert message.text is None
                assert not message.reactions
                continue
            edits = told.edits.get(key, {})
            assert message.text == (edits[max(edits)] if edits else key)
            assert message.reactions == ({"+1": (READER,)} if key in told.reacted else {})
    assert copies > HISTORIES // 3, "the histories are too tame"


def test_looking_rows_up_by_the_canonical_id_alone_is_caught() -> None:
    lost = 0
    for seed in range(HISTORIES):
        told = story(seed)
        rows = told.mesh.dcs[0].state.message_rows()
        lost += any(
            (found := by_canonical_id(rows, ids)) is None or found.recalled != (key in told.recalled)
            for key, ids in told.ids.items()
        )
    assert lost > 0


def test_a_message_that_was_read_is_never_unread_again_nor_counted_twice() -> None:
    canonical_only = per_id = 0
    for seed in range(HISTORIES):
        told = story(seed)
        mark = marks(told)
        for key, ids in told.ids.items():
            assert is_read(ids, mark) == (key in told.read), (seed, key)
            canonical_only += (key in told.read) and not is_read([min(ids)], mark)
            per_id += sum(not is_read([id], mark) for id in ids) > 1
    assert canonical_only > 0, "planted: the canonical id against the mark"
    assert per_id > 0, "planted: counting per id"
