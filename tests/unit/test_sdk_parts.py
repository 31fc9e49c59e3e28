"""The parts of the SDK that need no server: doubles, outbox, pauses, local state."""

import gc
import random
from typing import Any

import pytest

from planb_sdk import Client
from planb_sdk.backoff import Backoff
from planb_sdk.doubles import Doubles
from planb_sdk.errors import OutboxFull
from planb_sdk.model import Receipt
from planb_sdk.options import Options
from planb_sdk.outbox import Outbox, Write
from planb_sdk.state import NOTHING_SET, State
from planb_sdk.stats import Stats

Json = dict[str, Any]


def message(event: int, text: str | None = "hi", *, id: int = 0, key: str = "k", sender: str = "Ubob") -> Json:
    shown = {
        "id": str(id or event),
        "conversation": "D1",
        "from": sender,
        "key": key,
        "class": f"{sender} {key}",
        "text": text,
        "edited": None,
        "recalled": text is None,
        "reactions": {},
        "reply_to": None,
        "system": False,
    }
    return {"event": str(event), "type": "message", "message": shown}


def kept(doubles: Doubles, *updates: Json) -> list[tuple[str, bool]]:
    return [(update["event"], first) for update, first in doubles.fresh(updates)]


# -- doubles


@pytest.mark.parametrize("regions", [[], ["nonsense"], ["127.0.0.1:8080"], ["ftp://a"], ["http://"], ["http://a", ""]])
async def test_what_is_no_address_is_refused_at_once_and_leaves_nothing_open(
    regions: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="region"):
        Client(regions, "PB1.x")
    gc.collect()
    assert not caplog.records, "an unclosed session says so when it is collected"


async def test_a_client_does_not_go_to_what_is_no_address() -> None:
    async with Client(["http://127.0.0.1:8080/"], "PB1.x") as client:
        with pytest.raises(ValueError, match="region nonsense"):
            client.switch("nonsense")
        assert client.region == "http://127.0.0.1:8080"


def test_the_same_update_again_is_a_double() -> None:
    doubles = Doubles(100)
    assert kept(doubles, message(1)) == [("1", True)]
    assert kept(doubles, message(1)) == []


def test_a_copy_accepted_elsewhere_is_no_second_message() -> None:
    doubles = Doubles(100)
    assert kept(doubles, message(5)) == [("5", True)]
    assert kept(doubles, message(9, id=5)) == [], "shown as it was"
    assert kept(doubles, message(3, id=3)) == [("3", False)], "the copy is canonical now, so its place changed"


def test_an_edit_is_news_and_no_first_showing() -> None:
    doubles = Doubles(100)
    kept(doubles, message(1))
    assert kept(doubles, message(2, "edited", id=1)) == [("2", False)]


def test_an_event_that_came_before_is_dropped_where_a_new_one_shows_the_same_thing() -> None:
    doubles = Doubles(100)
    kept(doubles, message(1))
    assert kept(doubles, message(1, "edited"), message(2, "edited", id=1)) == [("2", False)]
    assert kept(doubles, message(3, None, id=1), message(1, None)) == [("3", False)]


def test_an_event_that_brings_back_what_a_slower_region_showed_older_is_news() -> None:
    doubles = Doubles(100)
    kept(doubles, message(1), message(2, "edited", id=1))
    assert kept(doubles, message(3, "hi", id=1)) == [("3", False)]
    assert kept(doubles, message(2, "edited", id=1)) == [("2", False)]


def test_what_is_remembered_is_bounded_and_forgetting_loses_nothing() -> None:
    doubles = Doubles(3)
    for event in range(1, 10):
        assert len(kept(doubles, message(event, key=str(event)))) == 1
    assert kept(doubles, message(1, key="1")) == [("1", True)]
    assert len(doubles._shown) == len(doubles._events) == 3


def test_a_change_of_a_message_that_is_not_here_yet_does_not_hide_the_message() -> None:
    doubles = Doubles(100)
    missing = {"event": "2", "type": "message", "message": {"id": "1", "conversation": "D1", "missing": True}}
    assert kept(doubles, missing) == [("2", False)]
    assert kept(doubles, message(1, "edited")) == [("1", True)]
    assert kept(doubles, message(2, "edited", id=1)) == []


# -- outbox


def acked(outbox: Outbox, key: str, id: int, region: str = "fra", durability: str = "local") -> Write:
    write = Write(key, "POST", "/v1/messages", {"to": "Ubob", "text": "x"})
    outbox.add(write)
    outbox.acknowledged(write, Receipt(str(id), key, durability, False), region)
    return write


def test_an_acknowledged_write_is_kept_until_another_region_covers_it() -> None:
    outbox = Outbox(Options(), Stats())
    write = acked(outbox, "a", 1)
    assert outbox.doubtful() == []
    outbox.generation += 1
    assert outbox.doubtful() == [write]
    outbox.settled([write], "fra")
    assert outbox.doubtful() == [] and len(outbox) == 1, "fra may still be the only one that has it"
    outbox.generation += 1
    outbox.settled([write], "syd")
    assert len(outbox) == 0


def test_what_another_datacenter_holds_need_not_be_kept() -> None:
    outbox = Outbox(Options(), Stats())
    acked(outbox, "a", 1, durability="remote")
    assert len(outbox) == 0


def test_the_oldest_kept_write_makes_room_and_a_waiting_one_does_not() -> None:
    stats = Stats()
    outbox = Outbox(Options(outbox_max=3), stats)
    for n in range(5):
        acked(outbox, str(n), n + 1)
    assert len(outbox) == 3 and stats.evicted == 2
    for n in range(3):
        outbox.add(Write(f"w{n}", "POST", "/v1/messages", {}))
    with pytest.raises(OutboxFull):
        outbox.add(Write("w3", "POST", "/v1/messages", {}))
    assert [write.key for write in outbox.waiting()] == ["w0", "w1", "w2"]


def test_the_outbox_is_bounded_by_bytes_too() -> None:
    outbox = Outbox(Options(outbox_bytes_max=10_000), Stats())
    for n in range(50):
        write = Write(str(n), "POST", "/v1/messages", {"text": "x" * 1_000})
        outbox.add(write)
        outbox.acknowledged(write, Receipt(str(n + 1), str(n), "local", False), "fra")
    assert 1 <= len(outbox) <= 8


def test_what_was_about_a_message_that_was_sent_again_names_its_new_id() -> None:
    outbox = Outbox(Options(), Stats())
    sent = acked(outbox, "a", 100)
    edit = Write("b", "PATCH", "/v1/messages/{message}", {"text": "y"}, message="100")
    assert outbox.path(edit) == "/v1/messages/100"
    outbox.acknowledged(sent, Receipt("200", "a", "local", False), "syd")
    assert outbox.path(edit) == "/v1/messages/200"


# -- pauses


def test_pauses_grow_within_bounds_and_respect_the_server() -> None:
    backoff = Backoff(0.1, 2.0, random.Random(1))
    pauses = [backoff.pause_s() for _ in range(12)]
    assert 0.05 <= pauses[0] <= 0.1
    assert all(1.0 <= pause <= 2.0 for pause in pauses[6:])
    assert 7.0 <= backoff.pause_s(7.0) <= 7.1
    backoff.reset()
    assert backoff.pause_s() <= 0.1


# -- state


def test_any_update_may_come_again_and_in_any_number() -> None:
    state = State("Uada", 100)
    updates = [message(1), message(2, "edited", id=1), message(3, key="other")]
    for update in (*updates, *updates[1:]):
        state.fold(update)
    assert {id: one["text"] for id, one in state.messages["D1"].items()} == {"1": "edited", "3": "hi"}


def test_a_copy_with_a_smaller_id_takes_the_place_of_the_message() -> None:
    state = State("Uada", 100)
    state.fold(message(9))
    state.fold(message(4, id=4))
    assert list(state.messages["D1"]) == ["4"]


def test_cleared_and_hidden_messages_are_gone_and_stay_gone() -> None:
    state = State("Uada", 100)
    first, second = 1 << 16 | 7, 2 << 16 | 7
    state.fold(message(first, key="1"))
    state.fold(message(second, key="2"))
    entry = {**NOTHING_SET, "conversation": "D1", "cleared": {"7": str(first)}}
    state.fold({"event": "9", "type": "dialog", "dialog": entry})
    assert list(state.messages["D1"]) == [str(second)]
    state.fold(message(first, key="1"))
    assert list(state.messages["D1"]) == [str(second)]
    state.fold({"event": "10", "type": "hidden", "conversation": "D1", "message": str(second)})
    assert state.messages["D1"] == {}


def test_a_message_is_cleared_under_any_of_its_ids() -> None:
    """Its copy was what was here when the dialog was cleared; the first one came later, from another datacenter."""
    state = State("Uada", 100)
    first, copy = 1 << 16 | 7, 2 << 16 | 8
    entry = {**NOTHING_SET, "conversation": "D1", "cleared": {"8": str(copy)}}
    state.fold({"event": "9", "type": "dialog", "dialog": entry})
    update = message(first, key="1")
    state.fold(update | {"message": update["message"] | {"copies": [str(copy)]}})
    assert state.messages["D1"] == {}


def test_a_hidden_message_stays_hidden_whatever_happens_to_it() -> None:
    state = State("Uada", 100)
    state.fold(message(5))
    state.fold({"event": "6", "type": "hidden", "conversation": "D1", "message": "5"})
    state.fold(message(7, "edited", id=5))
    state.fold(message(5))
    state.fold(message(4, id=4))
    assert state.messages["D1"] == {}


def test_a_change_of_a_message_that_i_hid_before_i_came_does_not_bring_it_back() -> None:
    state = State("Uada", 100)
    state.fold(message(7, "edited", id=5))
    assert state.messages["D1"] == {}


@pytest.mark.parametrize(
    ("chat", "user", "stale"),
    [("G1", "Uada", True), ("G1", "Ubob", True), ("C1", "Uada", True), ("C1", "Ubob", False)],
)
def test_a_change_of_membership_makes_the_history_stale_where_it_may_owe_me_messages(
    chat: str, user: str, stale: bool
) -> None:
    state = State("Uada", 100)
    state.fold({"event": "1", "type": "member", "chat": chat, "user": user, "present": True, "role": ""})
    assert (chat in state.stale) == stale


def test_a_conversation_holds_its_newest_messages() -> None:
    state = State("Uada", 3)
    for event in (5, 1, 4, 2, 3):
        state.fold(message(event, key=str(event)))
    assert sorted(state.messages["D1"]) == ["3", "4", "5"]
