"""What one layout wrote, functions of another neither read nor add to: it is built anew."""

import pytest

from stores.adapters import hot_library
from stores.adapters.valkey_hot import ValkeyHot
from stores.ports import EpochLost, HotBatch, Mark
from tests.contract.hot import EPOCH, FRA, at, entries, feeds
from tests.support.valkey import ValkeyFactory, ValkeyServer

pytestmark = pytest.mark.integration


@pytest.fixture
def server(valkey_server: ValkeyFactory) -> ValkeyServer:
    return valkey_server()


def of_another_layout(monkeypatch: pytest.MonkeyPatch, url: str) -> ValkeyHot:
    ours = f"local LAYOUT = '{ValkeyHot(url)._library.layout}'\n"
    source = hot_library.source()
    assert source.count(ours) == 1
    with monkeypatch.context() as patch:
        patch.setattr(hot_library, "source", lambda: source.replace(ours, "local LAYOUT = '9999'\n"))
        return ValkeyHot(url)


def move(epoch: int, n: int) -> HotBatch:
    return HotBatch(epoch, {FRA: (n, Mark(n + 1, at(n)))}, feeds=feeds("Ua", [at(n)], "D1"))


async def filled(store: ValkeyHot, epoch: int) -> None:
    await store.begin(epoch)
    await store.publish_epoch(epoch, {}, {})
    await store.apply(move(epoch, 0))


async def test_another_layout_s_epoch_is_none_and_is_built_anew(
    server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = ValkeyHot(server.url), of_another_layout(monkeypatch, server.url)
    await filled(old, EPOCH)
    assert await new.epoch() is None
    for use in (new.apply(move(EPOCH, 1)), new.updates("Ua", 0, 9), new.publish_epoch(EPOCH, {}, {})):
        with pytest.raises(EpochLost):
            await use
    assert (await old.updates("Ua", 0, 9)).entries == entries([at(0)]), "who is there goes on until then"

    await filled(new, EPOCH + 1)
    assert (await new.updates("Ua", 0, 9)).entries == entries([at(0)])
    assert await old.epoch() is None
    for use in (old.apply(move(EPOCH, 1)), old.apply(move(EPOCH + 1, 1)), old.updates("Ua", 0, 9)):
        with pytest.raises(EpochLost):
            await use
    assert await new.pts(["Ua"]) == [1]
    again = ValkeyHot(server.url)  # and its looking in changes nothing
    assert await again.epoch() is None
    assert await new.epoch() == EPOCH + 1
    for store in (old, new, again):
        await store.close()


async def test_an_epoch_that_lacks_a_bound_is_withdrawn(server: ValkeyServer) -> None:
    store = ValkeyHot(server.url)
    await filled(store, EPOCH)
    same = ValkeyHot(server.url)
    assert await same.epoch() == EPOCH
    assert server.ask(f"HDEL pb:{{dc}}:meta:{store._library.layout} waiting") == b":1"
    other = ValkeyHot(server.url)
    assert await other.epoch() is None
    with pytest.raises(EpochLost):
        await store.apply(move(EPOCH, 1))
    for one in (store, same, other):
        await one.close()


async def test_all_that_is_shared_on_a_server_has_the_layout_in_its_name(server: ValkeyServer) -> None:
    store = ValkeyHot(server.url)
    await filled(store, EPOCH)
    listed = await store._batcher.call("FUNCTION", "LIST")
    (library,) = [dict(zip(one[::2], one[1::2], strict=True)) for one in listed]
    names = [library[b"library_name"], *(function[1] for function in library[b"functions"])]
    assert len(names) > 15
    assert all(name.endswith(f"_{store._library.layout}".encode()) for name in names)
    await store.close()
