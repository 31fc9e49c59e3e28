"""The contract of stores.ports.RelationalStore, over all its adapters."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import limits
from core.errors import Undecodable
from core.ids import lane_of, make_id
from core.tables import TABLES, Effect
from stores.ports import Mark, Parked, RelationalBatch, RelationalStore, Result, Scan, Stamped
from tests.support.stores import NOW_MS, batch, dumped, folder, id_at, relational_store, write


@pytest.fixture
async def store(adapter: str, tmp_path: Path) -> AsyncIterator[RelationalStore]:
    async with relational_store(adapter, tmp_path) as opened:
        yield opened


async def user(store: RelationalStore) -> dict[str, Any]:
    (row,) = await store.rows("users", {"user": "Ua"})
    return row


async def test_a_row_that_has_only_some_columns_reads_sensibly(store: RelationalStore) -> None:
    await store.apply(batch([write(9, "sessions", "s1", {"revoked": 1}), write(9, "users", "Ua", {"about": "x"})]))
    assert await store.rows("sessions", {"session": "s1"}) == [
        {"session": "s1", "user": "", "device": "", "expires_ms": 0, "revoked": 1, "used": 0}
    ]
    assert await user(store) == {
        "user": "Ua",
        "name": "", "name_at": 0, "avatar": "", "avatar_at": 0,
        "about": "x", "about_at": 9, "password": "", "password_at": 0,
        "dnd": None, "dnd_at": 0,
    }  # fmt: skip


async def test_an_effect_without_columns_makes_its_row(store: RelationalStore) -> None:
    await store.apply(batch([write(9, "users", "Ua", {})]))
    assert (await user(store))["name_at"] == 0
    assert await dumped(store, "users") == [{"user": "Ua"}]


async def test_json_reads_the_same_from_every_adapter(store: RelationalStore) -> None:
    await store.apply(batch([write(9, "member_adds", ("G1", "Ua", 7), {"knew": {3: 4}})]))
    (row,) = await store.rows("member_adds", {"chat": "G1", "user": "Ua"})
    assert row == {"chat": "G1", "user": "Ua", "lane": 7, "knew": {"3": 4}, "knew_at": 9}


async def test_an_older_stamp_never_overwrites(store: RelationalStore) -> None:
    await store.apply(batch([write(9, "users", "Ua", {"name": "new"})]))
    await store.apply(batch([write(8, "users", "Ua", {"name": "old", "about": "about"})]))
    row = await user(store)
    assert (row["name"], row["name_at"], row["about"], row["about_at"]) == ("new", 9, "about", 8)


async def test_an_equal_stamp_is_applied_again_to_no_effect(store: RelationalStore) -> None:
    again = batch([write(9, "users", "Ua", {"name": "a"}), write(5, "member_left", ("G1", "Ua", 7), {"left": 5})])
    await store.apply(again)
    before = [await dumped(store, name) for name in TABLES], await store.conflicts()
    await store.apply(again)
    assert ([await dumped(store, name) for name in TABLES], await store.conflicts()) == before


async def test_a_column_written_after_its_row_is_not_lost_to_a_null(store: RelationalStore) -> None:
    await store.apply(batch([write(1, "users", "Ua", {"about": "x"})]))
    await store.apply(batch([write(2, "users", "Ua", {"name": "a"})]))
    await store.apply(batch([write(3, "members", ("G1", "Ua"), {"role": "admin"})]))
    await store.apply(batch([write(4, "members", ("G1", "Ua"), {"left_at": 4})]))
    await store.apply(batch([write(5, "sessions", "s", {"revoked": 1})]))
    await store.apply(batch([write(6, "sessions", "s", {"user": " first", "expires_ms": -5})]))
    assert (await user(store))["name"] == "a"
    assert (await store.rows("members", {"chat": "G1"}))[0]["left_at"] == 4
    found = await store.page("sessions", {"user": " first", "revoked": 1}, Scan("expires_ms", 9))
    assert found[0]["expires_ms"] == -5


async def test_several_effects_on_one_row_in_one_batch_merge(store: RelationalStore) -> None:
    await store.apply(
        batch(
            [
                write(3, "users", "Ua", {"name": "c"}),
                write(2, "users", "Ua", {"name": "b", "avatar": "f2"}),
                write(1, "users", "Ua", {"avatar": "f1"}),
            ]
        )
    )
    row = await user(store)
    assert (row["name"], row["name_at"], row["avatar"], row["avatar_at"]) == ("c", 3, "f2", 2)


async def test_once_stays_and_max_only_grows(store: RelationalStore) -> None:
    for stamp, mark in ((1, 5), (2, 3)):
        await store.apply(batch([write(stamp, "read_marks", ("Ua", "D1", 7), {"mark": mark})]))
        await store.apply(batch([write(stamp, "chats", "G1", {"dissolved": 1})]))
    assert (await store.rows("read_marks", {"user": "Ua"}))[0]["mark"] == 5
    assert (await store.rows("chats", {"chat": "G1"}))[0]["dissolved"] == 1


async def test_rows_are_found_by_key_and_by_every_by_column_and_narrowed(store: RelationalStore) -> None:
    await store.apply(
        batch(
            [
                write(1, "members", ("G1", "Ub"), {"role": "admin"}),
                write(1, "members", ("G1", "Ua"), {"role": ""}),
                write(1, "members", ("G2", "Ua"), {"left_at": 4}),
                write(1, "directs", "D1", {"low": "Ua", "high": "Ub"}),
            ]
        )
    )

    async def keys(**where: Any) -> list[tuple[str, str]]:
        return [(row["chat"], row["user"]) for row in await store.rows("members", where)]

    assert await keys(chat="G1") == [("G1", "Ua"), ("G1", "Ub")]
    assert await keys(user="Ua") == [("G1", "Ua"), ("G2", "Ua")]
    assert await keys(chat="G1", user="Ub") == [("G1", "Ub")]
    assert await keys(chat="G1", role="admin") == [("G1", "Ub")]
    assert await keys(user="Ua", left_at=0) == [("G1", "Ua")]
    assert await keys(chat="G3") == []
    assert (await store.rows("directs", {"high": "Ub"}))[0]["conversation"] == "D1"


@pytest.mark.parametrize("where", [{}, {"role": "admin"}, {"chat": "G1", "color": 1}])
async def test_a_lookup_without_an_index_is_refused(store: RelationalStore, where: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="members"):
        await store.rows("members", where)


async def test_some_rows_are_found_by_the_next_part_of_their_key(store: RelationalStore) -> None:
    hidden = [write(1, "hidden", ("Ua", n), {"conversation": "D1", "hidden": 1}) for n in (5, 1 << 60, 9)]
    await store.apply(batch([*hidden, write(1, "hidden", ("Ub", 6), {"conversation": "D1", "hidden": 1})]))

    async def of(*messages: int) -> list[int]:
        return [row["message"] for row in await store.some("hidden", {"user": "Ua"}, "message", set(messages))]

    assert await of(1 << 60, 5, 6, 7) == [5, 1 << 60]
    assert await of() == await of(6) == []
    adds = [write(at, "member_adds", ("C1", f"U{at % 3}", at), {"knew": {}}) for at in range(1, 7)]
    await store.apply(batch(adds))
    found = await store.some("member_adds", {"chat": "C1"}, "user", ["U2", "U0"])
    assert [(row["user"], row["lane"]) for row in found] == [("U0", 3), ("U0", 6), ("U2", 2), ("U2", 5)]


async def test_pages_come_in_the_order_asked_for(store: RelationalStore) -> None:
    await store.apply(
        batch(
            [
                *(write(n, "sessions", f"s{n}", {"user": "Ua", "expires_ms": 100 - n // 2}) for n in range(1, 8)),
                write(9, "sessions", "s3", {"revoked": 1}),
                write(9, "sessions", "s8", {"user": "Ub", "expires_ms": 99}),
                *(write(n, "dialogs", ("Ua", f"D{n}"), {"pin": "im"[n % 2] if n else ""}) for n in range(4)),
                *(write(n, "member_adds", ("C1", f"U{9 - n}", n), {"knew": {"1": 2}}) for n in range(1, 6)),
            ]
        )
    )

    async def page(table: str, name: str, scan: Scan, **where: Any) -> list[str]:
        return [row[name] for row in await store.page(table, where, scan)]

    alive = {"user": "Ua", "revoked": 0}
    assert await page("sessions", "session", Scan("expires_ms", 9), **alive) == ["s6", "s7", "s4", "s5", "s2", "s1"]
    newest = Scan("expires_ms", 3, beyond=97, newest_first=True)
    assert await page("sessions", "session", newest, **alive) == ["s1", "s2", "s5"]
    assert await page("sessions", "session", Scan("expires_ms", 9), user="Ua", revoked=1) == ["s3"]
    assert await page("dialogs", "conversation", Scan("pin", 2, beyond=""), user="Ua") == ["D2", "D1"]
    assert await page("member_adds", "user", Scan("knew_at", 2, beyond=2), chat="C1") == ["U6", "U5"]
    assert await page("member_adds", "user", Scan("user", 3, beyond="U4"), chat="C1") == ["U5", "U6", "U7"]
    older = Scan("knew_at", 2, below=4, newest_first=True)
    assert await page("member_adds", "user", older, chat="C1") == ["U6", "U7"]
    assert await page("member_adds", "user", Scan("knew_at", 9, beyond=1, below=4), chat="C1") == ["U7", "U6"]


async def test_a_page_of_each_of_some_values_is_what_each_has_by_itself(store: RelationalStore) -> None:
    ids = [id_at(at, lane) for at in range(8) for lane in (1, 2)]
    rows = [(thread, id) for thread in (7, -3, 1 << 62) for id in ids if id % 3 != thread % 3]
    await store.apply(batch([write(id, "replies", (thread, id * 5 + thread), {"message": id}) for thread, id in rows]))
    scans = (
        Scan("message", 2, newest_first=True),
        Scan("message", 3, beyond=ids[4], below=ids[-2]),
        Scan("message", 9, newest_first=True, known={1: ids[6], 2: ids[3]}),
        Scan("message", 9, known={}),
    )
    for scan in scans:
        for threads in ([7], [5, 7], [1 << 62, 7, -3], [9], []):
            wheres = [{"thread": thread} for thread in threads]
            alone = [await store.page("replies", where, scan) for where in wheres]
            assert await store.pages("replies", wheres, scan) == alone
    many = await store.pages("replies", [{"thread": n - 3} for n in range(limits.PAGE_MAX)], Scan("message", 1))
    assert [n - 3 for n, found in enumerate(many) if found] == [-3, 7]
    with pytest.raises(ValueError, match="replies"):
        await store.pages("replies", [{"class_": 1}], Scan("message", 1))


async def test_a_table_is_paged_by_what_its_rows_are_looked_up_by(store: RelationalStore) -> None:
    writes = [write(n, "users", f"U{n % 3}", {"name": str(n), "about": "x"}) for n in range(1, 9)]
    await store.apply(batch(writes))
    newest = Scan("stamp", 5, newest_first=True, below=8, beyond=2)
    found = await store.page("overwrites", {}, newest)
    assert [(row["stamp"], row["column"]) for row in found] == [
        (7, "name"), (7, "about"), (6, "name"), (6, "about"), (5, "name"),
    ]  # fmt: skip
    columns = [{"table": "users", "key": f'["U{n}"]', "column": "name"} for n in (2, 9, 1)]
    found_of = await store.pages("overwrites", columns, Scan("stamp", 2, newest_first=True, below=8))
    assert [[row["stamp"] for row in rows] for rows in found_of] == [[5, 2], [], [7, 4]]


async def test_of_a_vector_only_what_it_covers_is_in_a_page(store: RelationalStore) -> None:
    stamps = [id_at(at, lane) for at in range(6) for lane in (1, 2)]
    await store.apply(batch([write(stamp, "chats", "G1", {"title": str(stamp)}, basis=0) for stamp in stamps]))
    where = {"table": "chats", "key": '["G1"]', "column": "title"}
    for known in ({1: stamps[6], 2: stamps[3]}, {2: stamps[11]}, {1: stamps[0] - 1}, {}):
        covered = [stamp for stamp in stamps if stamp <= known.get(lane_of(stamp), 0)]
        for limit in (1, 3, 20):
            found = await store.page("overwrites", where, Scan("stamp", limit, newest_first=True, known=known))
            assert [row["stamp"] for row in found] == covered[::-1][:limit]
            assert all(row["value"] == str(row["stamp"]) for row in found)


@pytest.mark.parametrize(
    ("where", "by"),
    [({"user": "Ua"}, "expires_ms"), ({"user": "Ua", "revoked": 0}, "session"), ({}, "session"), ({"session": 1}, "x")],
)
async def test_a_page_without_an_index_is_refused(store: RelationalStore, where: dict[str, Any], by: str) -> None:
    with pytest.raises(ValueError, match="sessions"):
        await store.page("sessions", where, Scan(by, 5))
    with pytest.raises(ValueError, match="member_adds"):
        await store.some("member_adds", {"chat": "C1"}, "lane", [1])
    with pytest.raises(ValueError, match="member_adds"):
        await store.some("member_adds", {"user": "Ua"}, "chat", ["C1"])


@pytest.mark.parametrize(
    "effect",
    [
        Effect("nowhere", ("k",), {}),
        Effect("users", ("Ub",), {"color": "red"}),
        Effect("users", ("Ub",), {"name": 3}),
        Effect("users", ("Ub",), {"name": None}),
        Effect("users", ("Ub", 1), {}),
        Effect("chats", (3,), {}),
        Effect("read_marks", ("Ua", "D1", 7), {"mark": 1 << 63}),
    ],
)
async def test_a_batch_with_an_effect_that_can_not_be_applied_changes_nothing(
    store: RelationalStore, effect: Effect
) -> None:
    with pytest.raises(Undecodable):
        await store.apply(batch([write(1, "users", "Ua", {"name": "a"}), Stamped(2, effect)], {1: Mark(1, 2)}))
    assert await store.rows("users", {"user": "Ua"}) == []
    assert await store.frontier() == {}


LONGEST = "\U0001f600" * ((limits.ROW_KEY_BYTES_MAX - len('[""]')) // 4)


async def test_keys_that_differ_in_anything_are_different_rows(store: RelationalStore) -> None:
    names = sorted(["", " ", "a", "a ", " a", "A", "á", "a\u0301", "ä", "\u00df", "ss", "\ufeff", "\U0001f600"])
    await store.apply(batch([write(9, "users", name, {"name": name}) for name in (*names, LONGEST)]))
    assert [row["user"] for row in await dumped(store, "users")] == sorted([*names, LONGEST])
    for name in names:
        (row,) = await store.rows("users", {"user": name})
        assert row["name"] == name
    await store.apply(batch([write(9, "members", ("G1", name), {"role": name}) for name in names]))
    for name in names:
        found = await store.rows("members", {"chat": "G1", "role": name})
        assert [row["user"] for row in found] == [name]
    page = await store.page("members", {"chat": "G1", "role": "a "}, Scan("user", 9))
    assert [row["user"] for row in page] == ["a "]
    assert [row["user"] for row in await store.some("members", {"chat": "G1"}, "user", ["a ", "A"])] == ["A", "a "]


@pytest.mark.parametrize(
    "effect",
    [
        Effect("users", (f"{LONGEST}a",), {}),
        Effect("users", ("a" * limits.ROW_KEY_BYTES_MAX,), {}),
        Effect("users", ("\x01" * 40,), {}),
        Effect("users", ("a\0",), {}),
        Effect("members", ("G1", "Ua"), {"role": "a" * (limits.ROW_KEY_BYTES_MAX + 1)}),
        Effect("directs", ("D1",), {"low": "a\0"}),
    ],
    ids=range(6),
)
async def test_what_no_index_takes_is_refused(store: RelationalStore, effect: Effect) -> None:
    with pytest.raises(Undecodable, match=str(limits.ROW_KEY_BYTES_MAX)):
        await store.apply(batch([write(1, "users", "Ua", {"name": "a"}), Stamped(2, effect)], {1: Mark(1, 2)}))
    assert await store.frontier() == {}


async def test_a_text_of_any_length_is_stored_whole(store: RelationalStore) -> None:
    long = "\U0001f600'\\%s" * 300_000
    await store.apply(batch([write(1, "users", "Ua", {"about": long}), write(2, "users", "Ub", {"about": long + "b"})]))
    assert [row["about"] == long for row in await dumped(store, "users")] == [True, False]
    role = "\U0001f600" * limits.ROW_KEY_BYTES_MAX
    await store.apply(batch([write(1, "members", ("G1", "Ua"), {"role": role})]))
    assert (await store.rows("members", {"chat": "G1", "role": role}))[0]["user"] == "Ua"


async def test_an_unpaired_surrogate_is_refused(store: RelationalStore) -> None:
    for text in ("\ud800", "\udc80", "\udcff"):
        with pytest.raises(Undecodable):
            await store.apply(batch([write(1, "users", "Ua", {"name": text})], {1: Mark(1, 2)}))
    assert await store.frontier() == {}


async def test_the_frontier_only_moves_forward_unless_a_restore_sets_it(store: RelationalStore) -> None:
    await store.apply(batch([], {1: Mark(5, 50), 2: Mark(1, 10)}))
    await store.apply(batch([], {1: Mark(4, 40), 3: Mark(2, 20)}))
    assert await store.frontier() == {1: Mark(5, 50), 2: Mark(1, 10), 3: Mark(2, 20)}
    await store.apply(batch([], {1: Mark(6, 60)}))
    assert await store.frontier() == {1: Mark(6, 60), 2: Mark(1, 10), 3: Mark(2, 20)}
    await store.set_frontier({1: Mark(2, 20)})
    assert await store.frontier() == {1: Mark(2, 20)}


def result(event: int, key: str = "k") -> Result:
    return Result("Ua", key, event, "chat.create", b"\0fingers", {"chat": "G1", "n": [1, None]})


async def test_results_are_kept_for_a_day(store: RelationalStore) -> None:
    day = limits.RESULT_KEPT_S
    kept = [result(id_at(at)) for at in (-day + 60, -100, 0)]
    expired = [result(id_at(-day - at)) for at in range(60, 90)]
    await store.apply(RelationalBatch((), expired, (), (), {}))
    await store.apply(RelationalBatch((), [*kept, *kept[:1]], (), (), {}))
    assert await store.results(0, 9) == kept
    assert await store.results(kept[0].event, 9) == kept[1:]
    assert await store.results(0, 2) == kept[:2]
    assert await store.result("Ua", "k") == kept[0]
    assert await store.result("Ua", "other") is await store.result("Ub", "k") is None


async def test_a_result_is_forgotten_after_a_day_though_nothing_is_written(store: RelationalStore) -> None:
    expired = result(id_at(-limits.RESULT_KEPT_S - 1), "k1")
    await store.apply(RelationalBatch((), [expired, result(id_at(1 - limits.RESULT_KEPT_S), "k2")], (), (), {}))
    assert await store.result("Ua", "k1") is None
    assert await store.result("Ua", "k2") is not None


async def test_parked_events_are_listed_until_they_are_unparked(store: RelationalStore) -> None:
    first, second = Parked(2, 9, 90, "no such action"), Parked(1, 3, 30, "no such table")
    await store.apply(RelationalBatch((), (), [first, second], (), {}))
    await store.apply(RelationalBatch((), (), [first], (), {}))
    assert await store.parked() == [second, first]
    await store.apply(RelationalBatch((), (), (), [(1, 3), (1, 4)], {}))
    assert await store.parked() == [first]


async def test_meta_is_kept_by_name(store: RelationalStore) -> None:
    assert await store.meta("epoch") is None
    await store.set_meta("epoch", "1")
    await store.set_meta("epoch", "2")
    assert await store.meta("epoch") == "2"


async def test_a_dump_comes_in_key_order_and_pages_and_leaves_out_what_was_never_written(
    store: RelationalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHUNK_ROWS_MAX", 2)
    keys = [(chat, user) for chat in ("G", "G1", "g", "é") for user in ("U1", "U10", "U2")]
    await store.apply(batch([write(5, "members", key, {"role": "x"}) for key in reversed(keys)]))
    await store.apply(batch([write(6, "members", ("ÿ", "z"), {"left_at": 6})]))
    pages = [page async for page in store.dump("members")]
    assert [len(page) for page in pages] == [2, 2, 2, 2, 2, 2, 1]
    rows = [row for page in pages for row in page]
    assert [(row["chat"], row["user"]) for row in rows] == [*keys, ("ÿ", "z")]
    assert rows[0] == {"chat": "G", "user": "U1", "role": "x", "role_at": 5}
    assert rows[-1] == {"chat": "ÿ", "user": "z", "left_at": 6}


async def test_writes_go_on_while_a_dump_is_read(store: RelationalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHUNK_ROWS_MAX", 2)
    await store.apply(batch([write(1, "users", f"U{n}", {"name": "a"}) for n in range(6)]))
    seen = []
    async for page in store.dump("users"):
        seen += [row["user"] for row in page]
        await store.apply(batch([write(2, "users", f"T{len(seen)}", {"name": "b"})]))
    assert [name for name in seen if name.startswith("U")] == [f"U{n}" for n in range(6)]


async def test_loaded_rows_merge_and_may_be_loaded_again(store: RelationalStore) -> None:
    await store.apply(batch([write(5, "users", "Ua", {"name": "here", "about": "here"})]))
    dump = [
        {"user": "Ua", "name": "there", "name_at": 6, "about": "there", "about_at": 4},
        {"user": "Ub", "avatar": "f", "avatar_at": 3},
    ]
    for _ in range(2):
        await store.load("users", dump)
        await store.load("sessions", [{"session": "s", "revoked": 1}])
    assert await dumped(store, "users") == [
        {"user": "Ua", "name": "there", "name_at": 6, "about": "here", "about_at": 5},
        {"user": "Ub", "avatar": "f", "avatar_at": 3},
    ]
    await store.load("sessions", [{"session": "s", "user": " early"}])
    assert await store.page("sessions", {"user": " early", "revoked": 1}, Scan("expires_ms", 9)) != []
    with pytest.raises(Undecodable, match="color"):
        await store.load("users", [{"user": "Ua", "color": "red"}])


async def test_concurrent_writes_are_listed_as_conflicts_and_seen_ones_are_not(store: RelationalStore) -> None:
    await store.apply(
        batch(
            [
                write(10, "users", "Ua", {"name": "first"}, name=0),
                write(20, "users", "Ua", {"name": "saw first"}, name=10),
                write(25, "users", "Ua", {"name": "did not"}, name=10),
                write(30, "users", "Ua", {"name": "saw the second"}, name=20),
                # One lane has one writer; its register is overwritten, never contested.
                write(10, "member_adds", ("G1", "Ua", 7), {"knew": {}}),
                write(20, "member_adds", ("G1", "Ua", 7), {"knew": {}}),
            ]
        )
    )
    assert await store.conflicts() == [
        {
            "table": "users", "key": ["Ua"], "column": "name", "stamp": 25, "value": "did not",
            "winner_stamp": 30, "winner_value": "saw the second",
        }
    ]  # fmt: skip


async def test_conflicts_survive_a_dump_and_load(store: RelationalStore) -> None:
    await store.apply(batch([write(n, "users", "Ua", {"name": str(n)}) for n in (10, 20)]))
    (before,) = await store.conflicts()
    rows = await dumped(store, "overwrites")
    await store.load("overwrites", rows)
    assert await store.conflicts() == [before]
    assert {row["stamp"] for row in rows} == {10, 20}


def test_ids_of_the_fixtures_are_of_now() -> None:
    assert id_at(0) >> 24 == (NOW_MS - 1_409_529_600_000) // 10


async def test_old_writes_are_forgotten_oldest_first_up_to_one_that_may_not_be(store: RelationalStore) -> None:
    ids = [make_id(at, lane) for at, lane in ((1, 7), (2, 8), (3, 7), (4, 8), (5, 7))]
    for n, id in enumerate(ids):
        await store.apply(batch([write(id, "users", f"U{n}", {"name": "x", "about": "y"})]))

    async def left() -> list[int]:
        return sorted({ids.index(row["stamp"]) for row in await dumped(store, "overwrites")})

    assert await store.collect({7: ids[4]}, ids[4], 100) == 2, "lane 8 is not everywhere"
    assert await left() == [1, 2, 3, 4]
    assert await store.collect({7: ids[4], 8: ids[3]}, ids[4], 1) == 2, "both columns of one event"
    assert await store.collect({7: ids[4], 8: ids[3]}, ids[3], 100) == 2
    assert await left() == [3, 4], "younger than `before_id`"
    assert await store.collect({}, ids[4], 100) == 0
    assert await store.collect({7: ids[4], 8: ids[3]}, ids[3], 100) == 0


@given(writes=st.data())
@settings(max_examples=40, deadline=None)
def test_forgetting_never_changes_which_of_the_younger_writes_lost(
    adapters: tuple[str, ...], writes: st.DataObject
) -> None:
    """Any tree of bases, any bounds per lane, in all adapters, forgotten at any moment, or not at all."""
    lanes = (7, 8)
    count = writes.draw(st.integers(2, 14))
    stamps = [make_id(at + 1, writes.draw(st.sampled_from(lanes))) for at in range(count)]
    effects = [
        write(stamp, "users", "Ua", {"name": f"{n}"}, name=writes.draw(st.sampled_from([0, *stamps[:n]])))
        for n, stamp in enumerate(stamps)
    ]
    order = writes.draw(st.permutations(effects))
    when = writes.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    since = writes.draw(st.sampled_from(stamps))

    async def listed(adapter: str, forgetting: bool) -> list[dict[str, Any]]:
        with folder() as path:
            async with relational_store(adapter, path) as store:
                seen: set[int] = set()
                for effect, now in zip(order, when, strict=True):
                    await store.apply(batch([effect]))
                    seen.add(effect.stamp)
                    # What is at or below the bound of a lane is here: its events come in order.
                    missing = [stamp for stamp in stamps if stamp not in seen]
                    through = {
                        lane: min((s for s in missing if lane_of(s) == lane), default=max(stamps) + 1) - 1
                        for lane in lanes
                    }
                    if forgetting and now:
                        await store.collect(through, since, 100)
                return await store.conflicts(since)

    everything = asyncio.run(listed("memory", False))
    for adapter in adapters:
        assert asyncio.run(listed(adapter, True)) == everything
