"""The queue of one connection: bounded, in order, and everything besides updates once."""

import json

import pytest

from broker import frames
from broker.budget import Budget
from broker.outgoing import Outgoing
from core import limits
from core.errors import Corrupt


def queued(outgoing: Outgoing, owner: str, pts: int, size: int = 2) -> bool:
    return outgoing.update(owner, pts, frames.item(owner, pts, b'"' + b"x" * (size - 2) + b'"'))


def taken(outgoing: Outgoing) -> list[dict[str, object]]:
    return [json.loads(frame) for frame in outgoing.take()]


def test_updates_leave_in_one_frame_in_the_order_of_coming() -> None:
    outgoing = Outgoing(Budget(1 << 40, lambda: None))
    for owner, pts in (("Uada", 1), ("C7", 4), ("Uada", 2)):
        assert queued(outgoing, owner, pts)
    (frame,) = taken(outgoing)
    assert frame == {
        "type": "updates",
        "updates": [{"pts": 1, "update": ""}, {"pts": 4, "channel": "C7", "update": ""}, {"pts": 2, "update": ""}],
    }
    assert not outgoing.filled.is_set()
    assert outgoing.take() == []


def test_pts_of_an_owner_only_grow() -> None:
    outgoing = Outgoing(Budget(1 << 40, lambda: None))
    for pts in (3, 2, 3, 5):
        assert queued(outgoing, "Uada", pts)
    assert [one["pts"] for one in taken(outgoing)[0]["updates"]] == [3, 5]  # type: ignore[index, attr-defined]
    assert queued(outgoing, "Uada", 5)
    assert outgoing.take() == []


def test_a_full_queue_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTION_QUEUE_MAX", 3)
    outgoing = Outgoing(Budget(1 << 40, lambda: None))
    assert [queued(outgoing, "Uada", pts) for pts in (1, 2, 3, 4)] == [True, True, True, False]


def test_a_queue_is_full_by_bytes_too_but_takes_any_single_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTION_QUEUE_BYTES_MAX", 1_000)
    outgoing = Outgoing(Budget(1 << 40, lambda: None))
    assert queued(outgoing, "Uada", 1, size=2_000)
    assert not queued(outgoing, "Uada", 2)
    outgoing.take()
    assert queued(outgoing, "Uada", 2)


def test_frames_are_bounded_by_bytes_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAM_FRAME_BYTES_MAX", 100)
    items = [frames.item("Uada", pts, b'"' + b"x" * (pts * 7 % 130) + b'"') for pts in range(1, 60)]
    sent = list(frames.updates(items))
    assert [one["pts"] for frame in sent for one in json.loads(frame)["updates"]] == list(range(1, 60))
    assert all(len(frame) < 200 or len(json.loads(frame)["updates"]) == 1 for frame in sent)


def test_after_resume_nothing_old_leaves_and_pts_may_begin_again() -> None:
    outgoing = Outgoing(Budget(1 << 40, lambda: None))
    queued(outgoing, "Uada", 900)
    outgoing.poke("C7", 12)
    outgoing.resume(frames.resume("epoch", "fra", 2))
    assert queued(outgoing, "Uada", 1)
    assert [frame["type"] for frame in taken(outgoing)] == ["resume", "updates"]


def test_pokes_of_one_owner_become_one_and_heartbeats_come_last() -> None:
    outgoing = Outgoing(Budget(1 << 40, lambda: None))
    outgoing.heartbeat(frames.heartbeat(3, {}))
    outgoing.pong()
    for pts in (4, 6, 5):
        outgoing.poke("Uada", pts)
    queued(outgoing, "Uada", 7)
    assert [(one["type"], one.get("pts")) for one in taken(outgoing)] == [
        ("updates", None),
        ("poke", 6),
        ("heartbeat", 3),
        ("pong", None),
    ]


def test_what_was_greeted_already_does_not_leave_again_and_the_rest_does() -> None:
    outgoing = Outgoing(Budget(1 << 40, lambda: None))
    for pts in (4, 5, 6, 7):
        queued(outgoing, "Uada", pts)
    queued(outgoing, "C7", 1)
    outgoing.start({"Uada": 5, "C8": 3})
    assert queued(outgoing, "C8", 3)
    assert queued(outgoing, "C8", 4)
    (frame,) = taken(outgoing)
    assert [one["pts"] for one in frame["updates"]] == [6, 7, 1, 4]  # type: ignore[index, attr-defined]


def test_a_forgotten_owner_s_updates_do_not_leave() -> None:
    outgoing = Outgoing(Budget(1 << 40, lambda: None))
    queued(outgoing, "C7", 1)
    queued(outgoing, "Uada", 1)
    outgoing.poke("C7", 2)
    outgoing.forget("C7")
    (frame,) = taken(outgoing)
    assert [one["pts"] for one in frame["updates"]] == [1]  # type: ignore[index, attr-defined]


@pytest.mark.parametrize(
    "text", ["", "[]", "1", '{"type":"other"}', '{"type":"hello","tokens":"x"}', '{"type":"hello","at":{"dc":"fra"}}']
)
def test_what_is_neither_hello_nor_ping_is_nothing(text: str) -> None:
    assert frames.from_client(text) is None


@pytest.mark.parametrize("frame", [b"", b"\x90", b'{"a":1}'])
def test_a_broken_announcement_is_corrupt(frame: bytes) -> None:
    with pytest.raises(Corrupt):
        frames.announcement(frame)
