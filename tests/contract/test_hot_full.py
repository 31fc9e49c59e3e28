"""A hot server at its `maxmemory` takes no batch. Whoever comes can read all the same, and begin anew."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from core import limits
from core.errors import StoreUnavailable
from stores.adapters import hot_library
from stores.adapters.valkey_batcher import Send
from stores.adapters.valkey_hot import ValkeyHot
from stores.ports import HotBatch, Mark, Recent, Unread
from tests.contract.hot import EPOCH, FRA, at, feed
from tests.support.valkey import ValkeyFactory, ValkeyServer

pytestmark = pytest.mark.integration


@pytest.fixture
def server(valkey_server: ValkeyFactory) -> ValkeyServer:
    return valkey_server(None, "--maxmemory", "6mb", "--maxmemory-policy", "noeviction")


def batch(epoch: int, n: int) -> HotBatch:
    big = [replace(feed(f"U{n}", at(n), "D1"), entry=bytes(10_000))]
    recents = [Recent("D1", at(n), "Ua", n, True)]
    return HotBatch(epoch, {FRA: (n, Mark(n + 1, at(n)))}, feeds=big, recents=recents)


@pytest.fixture
async def hot(server: ValkeyServer) -> AsyncIterator[ValkeyHot]:
    store = ValkeyHot(server.url)
    await store.begin(EPOCH)
    await store.publish_epoch(EPOCH, {}, {})
    n = 0
    with pytest.raises(StoreUnavailable) as full:
        for n in range(2_000):
            await store.apply(batch(EPOCH, n))
    assert full.value.private.startswith("OOM")
    assert n > 100
    server.ask("CONFIG SET maxmemory 5mb")  # whatever a connection takes or gives back: it stays full
    yield store
    await store.close()


async def reads(store: ValkeyHot) -> None:
    assert await store.epoch() == EPOCH
    assert await store.pts(["U0"]) == [1]
    assert await store.dialogs("U0", [], [], None, 9) == [("D1", at(0))]
    newest = (await store.frontier())[FRA].id
    assert await store.unread("Ub", [("D1", newest - 1)]) == [Unread(1, False)]


async def test_who_connects_anew_reads(hot: ValkeyHot, server: ValkeyServer) -> None:
    second = ValkeyHot(server.url)
    await reads(second)
    await second.present("Ua", "c1", 9)
    assert await second.online(["Ua"]) == [True]
    await second.close()


async def test_whose_connection_was_cut_reads_on(hot: ValkeyHot) -> None:
    assert hot._batcher._wire is not None
    hot._batcher._wire.end("cut")
    await reads(hot)


async def test_another_release_of_the_same_layout_reads(
    hot: ValkeyHot, server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = hot_library.source() + "-- mended\n"
    monkeypatch.setattr(hot_library, "source", lambda: source)
    second = ValkeyHot(server.url)
    await reads(second)
    await second.close()


async def test_an_epoch_can_be_begun_and_filled(hot: ValkeyHot) -> None:
    for epoch in range(EPOCH + 1, EPOCH + 6):
        await hot.begin(epoch)
        for n in range(100):  # at once: what was there has been freed
            await hot.apply(batch(epoch, n))
        await hot.publish_epoch(epoch, {}, {})
        assert await hot.epoch() == epoch
        with pytest.raises(StoreUnavailable):
            for n in range(100, 2_000):
                await hot.apply(batch(epoch, n))


async def test_a_server_that_does_not_get_to_freeing_is_waited_for_and_then_told(
    hot: ValkeyHot, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = hot_library.facts

    async def busy(send: Send) -> dict[str, str]:
        return await facts(send) | {"lazyfree_pending_objects": "1"}

    monkeypatch.setattr(hot_library, "facts", busy)
    monkeypatch.setattr(limits, "HOT_FREED_S_MAX", 0.1)
    with pytest.raises(StoreUnavailable, match="free"):
        await hot.begin(EPOCH + 1)
    assert await hot.epoch() is None, "who tries again begins anew"


async def test_an_epoch_that_was_built_to_the_brim_can_be_published(hot: ValkeyHot, server: ValkeyServer) -> None:
    await hot.begin(EPOCH + 1)
    with pytest.raises(StoreUnavailable):
        for n in range(2_000):
            await hot.apply(batch(EPOCH + 1, n))
    server.ask("CONFIG SET maxmemory 4mb")
    await hot.publish_epoch(EPOCH + 1, {FRA: Mark(1, at(0))}, {})
    assert await hot.epoch() == EPOCH + 1


async def test_with_more_memory_it_goes_on_where_it_was(hot: ValkeyHot, server: ValkeyServer) -> None:
    n = (await hot.frontier())[FRA].seq
    server.ask("CONFIG SET maxmemory 12mb")
    assert await hot.apply(batch(EPOCH, n)) == {f"U{n}": 1}
    assert await hot.epoch() == EPOCH
