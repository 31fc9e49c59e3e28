"""Marks per lane, bounded by what the client says it has: late messages stay unread, what was seen stays read.

One conversation, one reader who roams between 3 DCs, links that break. The broken marks are planted: a scalar, one per
DC, and one that takes all that the DC had applied.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ids import Lane, direct_conversation, lane_of
from tests.support.mesh import Mesh

SENDER, READER = "Ua", "Ub"
HISTORIES = 120
CONVERSATION = direct_conversation(SENDER, READER)


class Story(NamedTuple):
    mesh: Mesh
    unseen: set[int]
    """Messages that the reader was never shown before he marked."""
    sent: set[int]
    reads: list[tuple[int, set[int], set[int]]]
    """(message named, messages on the reader's screen, messages applied in the DC)."""


def story(seed: int, action: str = "dialog.read", steps: int = 45) -> Story:
    random = Random(seed)
    mesh = Mesh()
    for user in (SENDER, READER):
        mesh.write(0, "user.upsert", "sys", {"user": user, "name": user})
    mesh.write(0, "message.send", SENDER, {"to": READER, "text": "0"})
    mesh.settle()
    reads = []
    cut: set[tuple[int, int]] = set()
    for step in range(steps):
        mesh.now_ms += random.randint(1, 90)
        if random.random() < 0.1:
            cut ^= {(random.randrange(3), random.choice(list(mesh.logs)))}
        dc, lane = random.randrange(3), random.randrange(2)
        if random.random() < 0.75:
            mesh.write(dc, "message.send", SENDER, {"to": READER, "text": "x"}, key=f"k{step}", lane=lane)
        else:
            here = mesh.dcs[dc]
            position = here.position(READER, behind=random.randint(0, 3))
            delivered = [update.message for update in here.updates[READER] if update.message]
            screen = {update.message for update in here.updates[READER][: position.pts] if update.message}
            if screen:
                top = max(screen)
                request = {"peer": SENDER, "message": str(top)}
                mesh.write(dc, action, READER, request, lane=lane, position=position)
                reads.append((top, screen, set(delivered)))
        mesh.drift(random, 0.3, cut)
    mesh.settle()
    sent = {row.message for row in mesh.dcs[0].state.message_rows()}
    return Story(mesh, sent - set().union(*(screen for _, screen, _ in reads)), sent, reads)


Unread = Callable[[Story], set[int]]


def production(told: Story, table: str = "read_marks") -> set[int]:
    mark = {row["lane"]: row["mark"] for row in told.mesh.dcs[0].state.rows(table, {"user": READER})}
    return {id for id in told.sent if id > mark.get(lane_of(id), 0)}


def scalar(told: Story) -> set[int]:
    """Planted: one number, the greatest message named."""
    mark = max((top for top, _, _ in told.reads), default=0)
    return {id for id in told.sent if id > mark}


def per_dc(told: Story) -> set[int]:
    """Planted: one number for all lanes of a DC."""
    mark: dict[int, int] = {}
    for top, screen, _ in told.reads:
        for id in screen:
            if id <= top:
                dc = Lane.of(lane_of(id)).dc
                mark[dc] = max(mark.get(dc, 0), id)
    return {id for id in told.sent if id > mark.get(Lane.of(lane_of(id)).dc, 0)}


def unbounded(told: Story) -> set[int]:
    """Planted: per lane, but by what the DC had applied instead of by what the client has."""
    mark: dict[int, int] = {}
    for top, _, applied in told.reads:
        for id in applied:
            if id <= top:
                mark[lane_of(id)] = max(mark.get(lane_of(id), 0), id)
    return {id for id in told.sent if id > mark.get(lane_of(id), 0)}


def test_unread_is_exactly_what_was_not_seen() -> None:
    for seed in range(HISTORIES):
        told = story(seed)
        assert production(told) == told.unseen, seed


def test_a_clear_takes_exactly_what_was_seen() -> None:
    for seed in range(HISTORIES // 2):
        told = story(seed, "dialog.clear")
        assert production(told, "clear_marks") == told.unseen, seed


@pytest.mark.parametrize("rule", [scalar, per_dc, unbounded])
def test_a_broken_mark_reads_what_was_never_seen(rule: Unread) -> None:
    assert any(told.unseen - rule(told) for told in map(story, range(HISTORIES)))


@settings(max_examples=25, deadline=None)
@given(st.integers(min_value=HISTORIES, max_value=1 << 40))
def test_a_mark_never_goes_back(seed: int) -> None:
    told = story(seed, steps=25)
    greatest: dict[int, int] = {}
    for event in told.mesh.events:
        for lane, id in event.args.marks.items() if event.action == "dialog.read" else ():
            greatest[lane] = max(greatest.get(lane, 0), id)
    for dc in told.mesh.dcs:
        assert {row["lane"]: row["mark"] for row in dc.state.rows("read_marks", {"user": READER})} == greatest


def test_a_mark_by_stamp_is_seen_to_go_back() -> None:
    def goes_back(told: Story) -> bool:
        shown: dict[int, int] = {}
        latest: dict[int, int] = {}
        for event in sorted(told.mesh.events, key=lambda event: event.id):
            if event.action == "dialog.read":
                latest.update(event.args.marks)
                for lane, id in latest.items():
                    shown[lane] = max(shown.get(lane, 0), id)
        return latest != shown

    assert any(goes_back(told) for told in map(story, range(HISTORIES)))
