"""The contract of stores.ports.MessageStore, over all its adapters."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from core import limits
from core.errors import Undecodable
from core.ids import class_of
from core.messages import Row, fold
from stores.adapters.message_rows import without_text
from stores.ports import Mark, MessageStore, Sent
from tests.support.stores import ADAPTERS, MESSAGE_ADAPTERS, by_event, history, id_at, message_store, use_cassandra

DAY = 86_400


@pytest.fixture(params=MESSAGE_ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> str:
    if request.param == "cassandra":
        use_cassandra(request.getfixturevalue("cassandra"))
    return str(request.param)


@pytest.fixture
async def store(adapter: str, tmp_path: Path) -> AsyncIterator[MessageStore]:
    async with message_store(adapter, tmp_path) as opened:
        yield opened


def send(at_s: float, key: str = "", *, conversation: str = "G1", sender: str = "Ua", lane: int = 1) -> Row:
    """A send; its key is its time if none is given."""
    id = id_at(at_s, lane)
    key = key or f"k{at_s}"
    content = {"kind": "custom", "type": "t", "data": {"n": [1, -2.5, None, "é", {"deep": True}]}}
    body = {"text": f"at {at_s}", "key": key, "fingerprint": "0a" * 8, "to": ["Ub", "Uc"], "content": content}
    return Row(id, conversation, id, "send", sender, class_of(sender, key, "G1", b""), body)


def about(message: int, at_s: float, kind: str, body: dict[str, Any] | None = None, conversation: str = "G1") -> Row:
    """An edit, a recall or a reaction."""
    return Row(id_at(at_s, 3), conversation, message, kind, "Ua", 0, body or {})


def ids(rows: list[Row]) -> list[int]:
    return [row.event for row in rows]


async def test_a_page_holds_the_newest_messages_with_all_their_rows_ascending(store: MessageStore) -> None:
    sends = [send(at) for at in range(6)]
    edit = about(sends[4].event, 50, "edit", {"text": "new"})
    store.put([*sends, edit], {})
    assert await history(store, "G1", limit=2) == [sends[4], sends[5], edit]
    assert await history(store, "G1", before=sends[5].event, limit=2) == [sends[3], sends[4], edit]
    assert await history(store, "G1", after=sends[1].event, limit=2) == [sends[2], sends[3]]
    assert await history(store, "G1", before=sends[0].event, limit=2) == []
    assert await history(store, "G1", after=sends[5].event, limit=2) == []
    assert await history(store, "G2", limit=2) == []
    assert ids(await history(store, "G1", limit=100)) == [*ids(sends), edit.event]


async def test_pages_go_on_over_months_without_a_message(store: MessageStore) -> None:
    sends = [send(-day * DAY) for day in (400, 399.999, 90, 3, 0)]
    store.put(sends, {})
    assert await history(store, "G1", limit=3) == sends[2:]
    assert await history(store, "G1", before=sends[2].event, limit=9) == sends[:2]
    assert await history(store, "G1", after=sends[0].event, limit=2) == sends[1:3]


async def test_a_row_belongs_to_its_message_however_late_it_comes(store: MessageStore) -> None:
    old = send(-300 * DAY)
    late = about(old.event, 0, "edit", {"text": "a year later"})
    store.put([old, send(0)], {})
    store.put([late], {})
    assert await history(store, "G1", before=send(0).event, limit=5) == [old, late]


async def test_copies_count_as_one_message_under_their_smallest_id(store: MessageStore) -> None:
    first, copy, other = send(1, "k", lane=1), send(9, "k", lane=2), send(5)
    on_copy = about(copy.event, 20, "edit", {"text": "of the copy"})
    store.put([copy, other, on_copy], {})
    assert await history(store, "G1", limit=1) == [copy, on_copy], "the only one so far is canonical"
    store.put([first], {})
    assert await history(store, "G1", limit=1) == [other]
    assert await history(store, "G1", limit=2) == [first, other, copy, on_copy]
    assert await history(store, "G1", after=other.event, limit=5) == []
    assert await history(store, "G1", before=other.event, limit=5) == [first, copy, on_copy]
    message = fold(await store.rows_of([copy.event]))
    assert message is not None
    assert (message.id, message.ids, message.text) == (first.event, (first.event, copy.event), "of the copy")


async def test_equal_keys_of_two_senders_are_two_messages(store: MessageStore) -> None:
    rows = [send(1, "k", sender="Ua"), send(2, "k", sender="Ub")]
    store.put(rows, {})
    assert await history(store, "G1", limit=5) == rows


async def test_rows_of_finds_what_is_about_a_message_that_is_not_here(store: MessageStore) -> None:
    message = send(5)
    recall = about(message.event, 9, "recall")
    store.put([recall], {})
    assert await store.rows_of([message.event]) == [recall]
    assert await history(store, "G1", limit=5) == []
    store.put([message], {})
    assert await store.rows_of([message.event, message.event, 12345]) == [message, recall]
    assert await store.rows_of([]) == []


@pytest.mark.parametrize("flushed", [0, 1, 2, 3, 4])
async def test_reads_see_rows_wherever_they_wait(store: MessageStore, flushed: int) -> None:
    """Part of a class is durable, the rest still queued."""
    first, copy, third = send(1, "k", lane=1), send(2, "k", lane=2), send(3, "k", lane=3)
    rows = [about(first.event, 8, "recall"), copy, about(third.event, 9, "edit", {"text": "x"}), third, first]
    store.put(rows[:flushed], {})
    await store.flush()
    store.put(rows[flushed:], {})
    for asked in (first, copy, third):
        assert await store.rows_of([asked.event]) == sorted(rows, key=by_event)
    assert await history(store, "G1", limit=5) == sorted(rows, key=by_event)


async def test_tops_are_the_greatest_sends(store: MessageStore) -> None:
    early, late, other = send(1), send(9, lane=2), send(4, conversation="G2")
    store.put([late, early, other], {})
    store.put([about(id_at(3 * DAY), 9, "recall"), about(id_at(0), 9, "recall", conversation="G3")], {})
    found = [("G1", late.event), ("G2", other.event), ("G3", 0)]
    assert await store.tops("", 9) == found
    assert await store.tops("", 2) == found[:2]
    assert await store.tops("G1", 9) == found[1:]


async def test_recent_has_sends_and_recalls_also_of_what_has_not_come(store: MessageStore) -> None:
    sends = [send(at) for at in range(5)]
    recalled, not_here, long_gone = sends[3].event, id_at(3.5, 2), id_at(-5)
    extra = [
        about(recalled, 20, "recall"),
        about(not_here, 21, "recall"),
        about(long_gone, 22, "recall"),
        about(sends[4].event, 23, "react", {"emoji": "+", "on": True}),
    ]
    store.put([*sends, *extra], {})
    bare = [without_text(row) for row in sends]
    assert bare[0].body.keys().isdisjoint({"text", "content"})
    assert await store.recent("G1", 2) == [bare[3], bare[4], extra[0], extra[1]]
    assert await store.recent("G1", 50) == [*bare, *extra[:3]]
    assert await store.recent("G1", 2, before=sends[4].event) == [bare[2], bare[3], extra[0], extra[1]]
    assert await store.recent("G1", 50, before=sends[1].event) == [bare[0], extra[2]]
    assert await store.recent("G2", 50) == []


async def test_sent_since_gives_what_was_sent_under_a_key(store: MessageStore) -> None:
    sends = [send(at, conversation=f"G{at}") for at in range(4)]
    nameless = replace(send(2.5), body={"text": "hi", "key": ""})
    store.put([*sends, nameless, about(sends[0].event, 9, "recall")], {})
    wanted = [Sent(one.event, one.conversation, "Ua", one.body["key"], b"\n" * 8) for one in sends]
    assert await store.sent_since(sends[1].event, 9) == wanted[2:]
    assert await store.sent_since(0, 9) == wanted
    assert await store.sent_since(0, 3) == wanted[:3]


async def test_the_same_rows_again_change_nothing(store: MessageStore) -> None:
    rows = [send(1), send(2), about(send(1).event, 5, "edit", {"text": "x"})]
    for _ in range(2):
        store.put(rows, {1: Mark(3, rows[1].event)})
        store.put(rows, {1: Mark(2, rows[0].event)})
        await store.flush()
    assert await history(store, "G1", limit=9) == rows
    assert [row async for page in store.dump() for row in page] == rows
    assert await store.frontier() == {1: Mark(3, rows[1].event)}


async def test_differing_rows_of_one_event_merge_to_one_end(store: MessageStore, adapter: str, tmp_path: Path) -> None:
    """It takes a fault to make them; still every store must end up the same: the greater encodings ("9" > "66")."""
    one = send(1)
    two = replace(one, conversation="G2", body={"text": "a"}, message=one.message - (1 << 48), actor="a", class_=9)
    for first, second in ((one, two), (two, one)):
        (tmp_path / first.conversation).mkdir()
        for name in {*ADAPTERS, adapter}:
            async with message_store(name, tmp_path / first.conversation) as other:
                other.put([first], {})
                await other.flush()
                other.put([second], {})
                store.put([row async for page in other.dump() for row in page], {})
    merged = [row async for page in store.dump() for row in page]
    assert len(merged) == 1
    assert merged[0] == Row(one.event, "G2", max(one.message, two.message), "send", "a", 9, two.body)


async def test_a_frontier_without_rows_is_kept(store: MessageStore) -> None:
    store.put([], {5: Mark(7, 70)})
    await store.flush()
    assert await store.frontier() == {5: Mark(7, 70)}
    await store.set_frontier({6: Mark(1, 10)})
    assert await store.frontier() == {6: Mark(1, 10)}


async def test_a_dump_comes_in_pages_by_event_and_loads_anywhere(
    store: MessageStore, adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHUNK_ROWS_MAX", 3)
    rows = [send(at, conversation=f"G{at % 2}") for at in range(7)]
    store.put(list(reversed(rows)), {1: Mark(1, 10)})
    pages = [page async for page in store.dump()]
    assert pages == [rows[:3], rows[3:6], rows[6:]]
    for name in {*ADAPTERS, adapter}:
        (tmp_path / name).mkdir()
        async with message_store(name, tmp_path / name) as other:
            for _ in range(2):
                for page in pages:
                    await other.load(page)
            assert await history(other, "G0", limit=9) == rows[::2]
            assert await other.frontier() == {}


@pytest.mark.parametrize("fault", [{"class_": 1 << 63}, {"event": -1}, {"body": {"text": {1, 2}, "n": object()}}])
async def test_a_row_that_no_store_could_hold_is_refused_at_once(store: MessageStore, fault: dict[str, Any]) -> None:
    with pytest.raises(Undecodable):
        store.put([send(1), replace(send(2), **fault)], {1: Mark(1, 10)})
    assert await history(store, "G1", limit=5) == []
    await store.flush()
    assert await store.frontier() == {}
