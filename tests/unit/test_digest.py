"""The state digest: what counts in it, what does not, and that it notices."""

import asyncio
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from core.messages import Row
from core.tables import ALL_TABLES, MESSAGE_ROWS, TABLES
from stores.adapters.memory_messages import MemoryMessageStore
from stores.adapters.memory_relational import MemoryRelationalStore
from stores.digest import MODULUS, RANGES, Digest, digest, digest_of, encoding, key_range
from tests.support.stores import NOW_MS, any_effects, batch, reference, write


def users(**row: Any) -> Digest:
    return digest_of({"users": [{"user": "Ua"} | row]})


def test_the_encoding_is_the_documented_one() -> None:
    row = {"user": "Ué", "name": 'a"', "name_at": 7, "avatar": "", "avatar_at": 9, "about": "", "about_at": 0}
    assert encoding("users", row) == '["users",["Ué"],{"avatar":["",9],"name":["a\\"",7]}]'.encode()
    row = {"chat": "G1", "user": "Ua", "lane": 7, "knew": {"9": 1, "10": 2}, "knew_at": 5}
    assert encoding("member_adds", row) == b'["member_adds",["G1","Ua",7],{"knew":[{"10":2,"9":1},5]}]'
    row = asdict(Row(5, "G1", 5, "send", "Ua", 8, {"text": "x", "key": "k"}))
    assert encoding(MESSAGE_ROWS, row) == (
        b'["message_rows",[5],{"actor":"Ua","body":{"key":"k","text":"x"},"class_":8,"conversation":"G1",'
        b'"kind":"send","message":5}]'
    )


def test_a_sum_is_that_of_the_documented_hashes() -> None:
    rows = [{"user": f"U{n}", "name": "a", "name_at": 7} for n in range(50)]
    hashes = [hashlib.blake2b(f'["users",["U{n}"],{{"name":["a",7]}}]'.encode(), digest_size=16) for n in range(50)]
    found = digest_of({"users": rows})
    total = sum(int.from_bytes(each.digest(), "big") for each in hashes) % MODULUS
    assert found.total == f"{total:032x}"
    assert found.tables["users"].sum == total
    assert found.tables["users"].rows == 50
    assert sum(part.sum for part in found.tables["users"].ranges) % MODULUS == total
    first = hashlib.blake2b(b'["U0"]', digest_size=16).digest()[0]
    assert key_range("users", rows[0]) == first >> 4 < RANGES
    assert len([part for part in found.tables["users"].ranges if part.rows]) > RANGES // 2, "ranges share the rows"


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"name": "", "name_at": 0},
        {"name": "", "name_at": 0, "avatar": "", "avatar_at": 0, "password": "", "password_at": 0},
    ],
)
def test_a_column_that_was_never_written_counts_the_same_however_it_is_kept(row: dict[str, Any]) -> None:
    assert users(**row) == users()
    unstamped = {"user": "", "device": "", "expires_ms": 0}
    assert digest_of({"sessions": [{"session": "s", "revoked": 1} | unstamped]}) == digest_of(
        {"sessions": [{"session": "s", "revoked": 1}]}
    )


def test_every_difference_that_merges_is_noticed() -> None:
    states = [
        digest_of({}),
        users(),
        users(name="", name_at=5),
        users(name="a", name_at=5),
        users(name="a", name_at=6),
        users(about="a", about_at=5),
        digest_of({"users": [{"user": "Ub"}]}),
        digest_of({"chats": [{"chat": "Ua"}]}),
    ]
    assert len({state.total for state in states}) == len(states)


def test_two_equal_changes_do_not_cancel() -> None:
    row = {"user": "Ua"}
    assert digest_of({"users": [row, row]}).total != digest_of({}).total


def test_differences_name_table_and_range() -> None:
    one = digest_of({"users": [{"user": f"U{n}"} for n in range(100)]})
    other = digest_of({"users": [{"user": f"U{n}"} for n in range(99)]})
    assert one.differences(other) == [("users", key_range("users", {"user": "U99"}))]
    assert one.differences(one) == []


def test_the_json_form_has_hexadecimal_sums() -> None:
    shown = users().shown()
    assert shown["total"] == shown["tables"]["users"]["sum"]
    assert len(shown["total"]) == 32
    assert set(shown["tables"]) == set(ALL_TABLES)
    assert len(shown["tables"]["users"]["ranges"]) == RANGES


@given(st.data())
def test_the_digest_of_a_store_is_that_of_the_fold_and_leaves_local_rows_out(data: st.DataObject) -> None:
    effects = data.draw(any_effects(TABLES, most=8))
    row = Row(5, "G1", 5, "send", "Ua", 8, {"text": "x"})

    async def run() -> Digest:
        relational, messages = MemoryRelationalStore(clock=lambda: NOW_MS), MemoryMessageStore()
        await relational.apply(batch(data.draw(st.permutations(effects))))
        await relational.set_meta("epoch", "9")
        messages.put([row], {})
        return await digest(relational, messages)

    assert asyncio.run(run()) == digest_of(reference(effects) | {MESSAGE_ROWS: [asdict(row)]})


async def test_which_writes_were_overwritten_does_not_count() -> None:
    stores = [MemoryRelationalStore(clock=lambda: NOW_MS) for _ in range(2)]
    await stores[0].apply(batch([write(1, "users", "Ua", {"name": "a"}), write(2, "users", "Ua", {"name": "b"})]))
    await stores[1].apply(batch([write(2, "users", "Ua", {"name": "b"})]))
    assert await stores[0].conflicts() != await stores[1].conflicts()
    assert await digest(stores[0], MemoryMessageStore()) == await digest(stores[1], MemoryMessageStore())
