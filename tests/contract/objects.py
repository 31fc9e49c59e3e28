"""What every ObjectStore promises. An adapter's test module subclasses this and gives a `store` fixture."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import limits
from core.errors import Invalid, NotFound, TooLarge
from stores.ports import ObjectStore

part = st.text("ab-.0", min_size=1, max_size=3).filter(lambda text: not text.startswith("."))
keys = st.lists(part, min_size=1, max_size=3).map("/".join)
SHARED = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
"""The store is emptied for each example, and every adapter's class runs the same examples."""


async def listed(store: ObjectStore, prefix: str = "") -> list[str]:
    return [key async for key in store.list(prefix)]


class ObjectStoreContract:
    async def test_what_was_put_is_read_back_byte_by_byte(self, store: ObjectStore) -> None:
        data = bytes(range(256)) * 5_000
        await store.put("a/b/c.bin", data)
        assert await store.get("a/b/c.bin") == data
        assert await store.exists("a/b/c.bin")

    async def test_an_empty_object_is_an_object(self, store: ObjectStore) -> None:
        await store.put("empty", b"")
        assert await store.get("empty") == b""
        assert await store.exists("empty")

    async def test_put_replaces(self, store: ObjectStore) -> None:
        await store.put("k", b"one, the longer one")
        await store.put("k", b"two")
        assert await store.get("k") == b"two"
        assert await listed(store) == ["k"]

    async def test_put_new_writes_only_where_nothing_is(self, store: ObjectStore) -> None:
        assert await store.put_new("k", b"first") is True
        assert await store.put_new("k", b"second") is False
        assert await store.get("k") == b"first"

    async def test_of_many_who_put_new_at_once_one_wins(self, store: ObjectStore) -> None:
        wrote = await asyncio.gather(*(store.put_new("race/k", bytes([n])) for n in range(16)))
        assert sorted(wrote) == [False] * 15 + [True]
        assert await store.get("race/k") == bytes([wrote.index(True)])

    async def test_a_missing_object_is_named(self, store: ObjectStore) -> None:
        with pytest.raises(NotFound, match="there/is/none"):
            await store.get("there/is/none")
        assert not await store.exists("there/is/none")

    async def test_a_folder_is_not_an_object(self, store: ObjectStore) -> None:
        await store.put("folder/k", b"")
        with pytest.raises(NotFound):
            await store.get("folder")
        with pytest.raises(NotFound):
            await store.get("folder/k/deeper")
        assert not await store.exists("folder")
        assert not await store.exists("folder/k/deeper")

    @pytest.mark.parametrize("key", ["folder", "folder/k/deeper"])
    @pytest.mark.parametrize("write", ["put", "put_new"])
    async def test_a_key_that_is_a_folder_of_another_is_refused_or_kept_apart(
        self, store: ObjectStore, key: str, write: str
    ) -> None:
        await store.put("folder/k", b"first")
        there = {"folder/k": b"first"}
        try:
            if await getattr(store, write)(key, b"second") is not False:
                there[key] = b"second"
        except Invalid as error:
            assert key in str(error)
        assert {found: await store.get(found) for found in await listed(store)} == there
        if key in there:
            await store.delete(key)
        assert await listed(store) == ["folder/k"]
        assert await store.get("folder/k") == b"first"

    async def test_an_object_that_is_too_long_is_refused(
        self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store.put("k", b"123456789")
        monkeypatch.setattr(limits, "OBJECT_BYTES_MAX", 8)
        for write in (store.put("k", b"abcdefghi"), store.put_new("other", b"abcdefghi")):
            with pytest.raises(TooLarge, match="9 bytes"):
                await write
        assert not await store.exists("other")
        await store.put_new("eight", b"abcdefgh")
        assert await store.get("eight") == b"abcdefgh"

    async def test_delete_is_repeatable(self, store: ObjectStore) -> None:
        await store.put("a/k", b"")
        await store.delete("a/k")
        await store.delete("a/k")
        await store.delete("a")
        await store.delete("never/was")
        assert not await store.exists("a/k")
        assert await listed(store) == []

    @pytest.mark.parametrize(
        "key",
        ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", ".tmp/a", "a/.hidden", "a b", "ä", "a\0b",
         "a\n", "a\\b", "x" * 201, "/".join(["x" * 100] * 6)],
    )  # fmt: skip
    async def test_a_key_that_is_unsafe_as_a_path_is_refused(self, store: ObjectStore, key: str) -> None:
        for use in (store.put(key, b""), store.put_new(key, b""), store.get(key), store.exists(key), store.delete(key)):
            with pytest.raises(Invalid):
                await use
        assert await listed(store) == []

    async def test_a_prefix_may_end_anywhere(self, store: ObjectStore) -> None:
        for key in ("archive/12/1", "archive/123/1", "archive/2/1", "archive-old/12/1", "b"):
            await store.put(key, b"")
        assert await listed(store, "archive/12") == ["archive/12/1", "archive/123/1"]
        assert await listed(store, "archive/12/") == ["archive/12/1"]
        assert await listed(store, "archive") == ["archive-old/12/1", "archive/12/1", "archive/123/1", "archive/2/1"]
        assert await listed(store, "archive/12/1") == ["archive/12/1"]
        assert await listed(store, "archive/12/1/") == []
        for odd in ("/", "//", "/b", "archive//", "archive/12//", "../", "./", "archive/../b"):
            assert await listed(store, odd) == []
        assert await listed(store, "c") == []

    async def test_a_long_listing_is_whole(self, store: ObjectStore) -> None:
        wanted = [f"n/{n:05d}" for n in range(300)]
        await asyncio.gather(*(store.put(key, b"") for key in wanted))
        assert await listed(store, "n/") == wanted

    @settings(max_examples=40, deadline=None, suppress_health_check=SHARED)
    @given(st.sets(keys, max_size=12), st.text("ab-.0/", max_size=4))
    async def test_listings_are_in_the_order_of_the_keys(
        self, store: ObjectStore, wanted: set[str], prefix: str
    ) -> None:
        for key in await listed(store):
            await store.delete(key)
        kept = set()
        for key in sorted(wanted):
            if not any(key.startswith(other + "/") for other in kept):
                try:
                    await store.put(key, b"")
                except Invalid:  # a folder that an earlier example left behind in a directory
                    continue
                kept.add(key)
        assert await listed(store, prefix) == sorted(key for key in kept if key.startswith(prefix))
