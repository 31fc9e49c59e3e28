"""Reads equal a plain reading of the contract over a list of rows, whatever was put when, flushed or still waiting."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from core import limits
from core.ids import class_of
from core.messages import Row
from core.tables import MESSAGE_ROWS
from stores.adapters.message_rows import sent, without_text
from stores.digest import digest, digest_of
from stores.ports import MessageStore
from tests.support.shared import CassandraNode
from tests.support.stores import (
    ADAPTERS,
    by_event,
    folder,
    history,
    id_at,
    message_store,
    relational_store,
    use_cassandra,
)

pytestmark = pytest.mark.timeout(400)
"""A failing property takes minutes to shrink, as every example opens files; a passing one takes a second."""

CONVERSATIONS = ("G1", "D2")
TIMES = [day * 86_400 + second for day in (0, 1, 40) for second in range(4)]
IDS = [id_at(time, lane) for time in TIMES for lane in (1, 2)]
KEYS = ("k1", "k2", "k3")


@st.composite
def any_rows(draw: st.DrawFn) -> list[Row]:
    rows = []
    for event in draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=14, unique=True)):
        conversation = draw(st.sampled_from(CONVERSATIONS))
        if draw(st.booleans()):
            key = draw(st.sampled_from(KEYS))
            body = {"text": key, "key": key, "fingerprint": key.encode().hex()}
            rows.append(Row(event, conversation, event, "send", "Ua", class_of("Ua", key, "G1", b""), body))
        else:
            kind = draw(st.sampled_from(["edit", "recall", "react"]))
            rows.append(Row(event, conversation, draw(st.sampled_from(IDS)), kind, "Ub", 0, {"n": event}))
    # An operation has the conversation of its message; a guess will do where that never comes.
    sends = {row.event: row.conversation for row in rows if row.kind == "send"}
    return [replace(row, conversation=sends.get(row.message, row.conversation)) for row in rows]


class Plain:
    """The contract, read literally over all rows."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = sorted(rows, key=by_event)
        self.sends = [row for row in self.rows if row.kind == "send"]

    def rows_of(self, messages: list[int], known: dict[int, int] | None = None) -> list[Row]:
        classes = {row.class_ for row in self.sends if row.event in messages}
        ids = {*messages, *(row.event for row in self.sends if row.class_ in classes)}
        rows = [
            row for row in self.rows if row.message in ids and (row.kind in ("send", "recall") or within(row, known))
        ]
        edits = [row for row in rows if row.kind == "edit"]
        replaced = [
            row for row in edits if any(row.message == other.message and row.event < other.event for other in edits)
        ]
        return [replace(row, body={}) if row in replaced else row for row in rows]

    def page(
        self,
        conversation: str,
        low: int,
        high: int,
        newest_first: bool,
        limit: int,
        known: dict[int, int] | None = None,
    ) -> list[int]:
        smallest = {row.class_: row.event for row in reversed(self.sends)}
        ids = [
            row.event
            for row in self.sends
            if row.conversation == conversation and low < row.event < high and smallest[row.class_] == row.event
            and within(row, known)
        ]  # fmt: skip
        return sorted(ids, reverse=newest_first)[:limit]

    def recent(self, conversation: str, limit: int, before: int = 1 << 63) -> list[Row]:
        ids = self.page(conversation, -1, before, True, limit)
        low = min(ids) if len(ids) == limit else 0
        wanted = {row.event for row in self.rows_of(ids)}
        return [
            without_text(row)
            for row in self.rows
            if (row.event in wanted and row.kind in ("send", "recall"))
            or (row.kind == "recall" and row.conversation == conversation and low <= row.message < before)
        ]


def within(row: Row, known: dict[int, int] | None) -> bool:
    return known is None or row.event <= known.get(row.event % 65536, 0)


async def check(store: MessageStore, plain: Plain, asked: list[int], limit: int) -> None:
    assert await store.rows_of(asked) == plain.rows_of(asked)
    end = {1: asked[0], 2: asked[-1], 3: asked[0]}
    del end[1 + asked[0] % 2]
    assert await store.rows_of(asked, end) == plain.rows_of(asked, end)
    for conversation in CONVERSATIONS:
        theirs = plain.page(conversation, -1, 1 << 63, True, limit, end)
        assert await store.page(conversation, limit=limit, known=end) == theirs
        for id in asked:
            theirs = plain.page(conversation, id, 1 << 63, False, limit, end)
            assert await store.page(conversation, after=id, limit=limit, known=end) == theirs
            before = plain.page(conversation, -1, id, True, limit)
            assert await store.recent(conversation, limit, id) == plain.recent(conversation, limit, id)
            assert await history(store, conversation, before=id, limit=limit) == plain.rows_of(before)
            after = plain.page(conversation, id, 1 << 63, False, limit)
            assert await history(store, conversation, after=id, limit=limit) == plain.rows_of(after)
        newest = plain.page(conversation, -1, 1 << 63, True, limit)
        assert await history(store, conversation, limit=limit) == plain.rows_of(newest)
        assert await store.recent(conversation, limit) == plain.recent(conversation, limit)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_every_read_equals_the_contract_read_literally(data: st.DataObject) -> None:
    compare(data, ADAPTERS)


@given(st.data())
@settings(max_examples=12, deadline=None)  # each empties a keyspace, which takes half a second
def test_every_read_from_cassandra_equals_the_contract(cassandra: CassandraNode, data: st.DataObject) -> None:
    """Of partitions so small that every message begins one, and pages so small that every read takes several."""
    from stores.adapters import cassandra_index, cassandra_reads

    use_cassandra(cassandra)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "CASSANDRA_PART_ROWS_MAX", data.draw(st.sampled_from([1, 2, 10_000]), "rows of a part"))
        patch.setattr(limits, "CASSANDRA_PARTS_OPEN_MAX", data.draw(st.sampled_from([1, 3, 10_000]), "parts open"))
        patch.setattr(limits, "CASSANDRA_BATCH_ROWS_MAX", 2)
        patch.setattr(limits, "CASSANDRA_KEYS_MAX", 2)
        for name in ("CHUNK_MIN", "CHUNK_MAX", "WINDOW_MIN", "WINDOW_MAX"):
            patch.setattr(cassandra_index, name, 1)
        patch.setattr(cassandra_index, "DIRECTORY_PAGE", 2)
        for name in ("SLOTS_AT_ONCE", "ROWS_AT_ONCE", "LISTED_AT_ONCE", "CONVERSATIONS_AT_ONCE"):
            patch.setattr(cassandra_reads, name, 2)
        compare(data, ("cassandra",))


def compare(data: st.DataObject, adapters: Sequence[str]) -> None:
    """Stores that are written to and read in any way give what the contract says."""
    rows = data.draw(any_rows(), "rows")
    order = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows), max_size=3))), "order")
    steps = data.draw(st.lists(st.integers(0, len(order)), max_size=3).map(sorted), "cuts")
    flushes = data.draw(st.lists(st.booleans(), min_size=4, max_size=4), "flush after")
    asked = data.draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=3), "asked")
    limit = data.draw(st.integers(1, 4), "limit")

    async def run(adapter: str) -> Any:
        beside = adapter if adapter in ADAPTERS else "memory"
        with folder() as path:
            async with message_store(adapter, path) as store, relational_store(beside, path) as relational:
                for begin, end, flush in zip([0, *steps], [*steps, len(order)], flushes, strict=False):
                    store.put(order[begin:end], {})
                    if flush:
                        await store.flush()
                    await check(store, Plain(list({row.event: row for row in order[:end]}.values())), asked, limit)
                tops = dict.fromkeys(sorted(row.conversation for row in rows), 0)
                tops |= {row.conversation: row.event for row in sorted(rows, key=by_event) if row.kind == "send"}
                assert await store.tops("", 9) == list(tops.items())
                assert await store.tops("", 1) == list(tops.items())[:1]
                assert await store.tops(CONVERSATIONS[1], 9) == [one for one in tops.items() if one[0] == "G1"]
                sends = [sent(row) for row in sorted(rows, key=by_event) if row.kind == "send" and row.event > asked[0]]
                assert await store.sent_since(asked[0], 99) == sends
                assert await store.sent_since(asked[0], limit) == sends[:limit]
                assert [row async for page in store.dump() for row in page] == sorted(rows, key=by_event)
                return await digest(relational, store)

    expected = digest_of({MESSAGE_ROWS: [asdict(row) for row in rows]})
    for adapter in adapters:
        assert asyncio.run(run(adapter)) == expected


@pytest.mark.parametrize("adapter", ["sqlite", "cassandra"])
async def test_reads_stay_right_while_puts_and_writes_go_on(
    adapter: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row is in the queue, on its way, or in the database; a reader never falls in between."""
    if adapter == "cassandra":
        use_cassandra(request.getfixturevalue("cassandra"))
    monkeypatch.setattr(limits, "MESSAGE_WRITE_ROWS", 7)
    monkeypatch.setattr(limits, "MESSAGE_LINGER_MS", 1)
    put: list[Row] = []

    async def read(store: MessageStore) -> None:
        while len(put) < 600:
            seen = list(put[-20:])
            found = {row.event for row in await store.rows_of([row.message for row in seen])}
            assert found >= {row.event for row in seen}
            seen = list(put[-20:])
            page = {row.event for row in await history(store, "G1", before=seen[-1].event + 1 if seen else 1, limit=40)}
            assert page >= {row.event for row in seen}

    with folder() as path:
        async with message_store(adapter, path) as store:
            readers = [asyncio.create_task(read(store)) for _ in range(3)]
            for n in range(300):
                id, copy = id_at(n, 1), id_at(n + 0.5, 2)
                for event in (id, copy):
                    class_ = class_of("Ua", f"k{n}", "G1", b"")
                    row = Row(event, "G1", event, "send", "Ua", class_, {"text": "", "key": f"k{n}"})
                    await store.ready()
                    store.put([row], {})
                    put.append(row)
                    await asyncio.sleep(0)
            await asyncio.gather(*readers)
