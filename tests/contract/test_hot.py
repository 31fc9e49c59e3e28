"""The HotStore contract over its adapters."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from stores.adapters.cluster_hot import ClusterHot
from stores.adapters.cluster_map import slot_of
from stores.adapters.memory_hot import LISTENER_QUEUE_MAX, MemoryHot
from stores.adapters.valkey_hot import ValkeyHot
from stores.ports import EpochLost, HotBatch, HotStore, Mark
from tests.contract.hot import BOUNDS, EPOCH, FRA, ROOMY, HotStoreContract, at
from tests.contract.hot_laws import HotLaws, laws
from tests.support.valkey import ValkeyFactory, ValkeyServer
from tests.support.valkey_cluster import ValkeyCluster


@pytest.fixture(scope="module")
def server(shared_valkey_server: ValkeyFactory) -> ValkeyServer:
    return shared_valkey_server()


class TestMemoryHot(HotStoreContract, HotLaws):
    @pytest.fixture
    async def hot(self) -> HotStore:
        store = MemoryHot(**BOUNDS)
        await store.begin(EPOCH)
        await store.publish_epoch(EPOCH, {}, {})
        return store

    @pytest.fixture
    async def roomy(self) -> HotStore:
        store = MemoryHot(updates_kept=ROOMY, results_kept=ROOMY)
        await store.begin(EPOCH)
        await store.publish_epoch(EPOCH, {}, {})
        return store

    async def expire(self, hot: HotStore, actor: str, key: str) -> None:
        assert isinstance(hot, MemoryHot)
        _, result = hot._state.results[actor, key]
        hot._state.results[actor, key] = (0.0, result)

    async def test_a_listener_that_is_too_slow_is_told_that_it_missed_something(self, hot: HotStore) -> None:
        stream = hot.listen()
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        for n in range(LISTENER_QUEUE_MAX + 5):
            await hot.announce(b"%d" % n)
        heard = [await first] + [await anext(stream) for _ in range(5)]
        assert heard == [b"", *(b"%d" % n for n in range(LISTENER_QUEUE_MAX, LISTENER_QUEUE_MAX + 5))]

    async def test_a_restart_loses_the_epoch(self, hot: MemoryHot) -> None:
        await hot.apply(HotBatch(EPOCH, {FRA: (0, Mark(1, at(1)))}))
        hot.lose()
        with pytest.raises(EpochLost):
            await hot.frontier()


@pytest.mark.integration
class TestValkeyHot(HotStoreContract, HotLaws):
    @pytest.fixture
    async def hot(self, server: ValkeyServer) -> AsyncIterator[HotStore]:
        store = ValkeyHot(server.url, **BOUNDS, waiting=3)
        await store.begin(EPOCH)
        await store.publish_epoch(EPOCH, {}, {})
        yield store
        await store.close()

    @pytest.fixture
    async def roomy(self, server: ValkeyServer) -> AsyncIterator[HotStore]:
        store = ValkeyHot(server.url, updates_kept=ROOMY, results_kept=ROOMY)
        await store.begin(EPOCH)
        await store.publish_epoch(EPOCH, {}, {})
        yield store
        await store.close()

    async def expire(self, hot: HotStore, actor: str, key: str) -> None:
        assert isinstance(hot, ValkeyHot)
        assert await hot._batcher.call("PEXPIREAT", f"pb:{{{actor}}}:q:{key}", 1) == 1


@pytest.mark.integration
class TestClusterHot(HotStoreContract, laws(12, 8)):  # type: ignore[misc]  # an epoch and a read cost more here
    @pytest.fixture
    async def hot(self, shared_valkey_cluster: ValkeyCluster) -> AsyncIterator[HotStore]:
        store = ClusterHot(shared_valkey_cluster.url, **BOUNDS, waiting=3)
        await store.begin(EPOCH)
        await store.publish_epoch(EPOCH, {}, {})
        yield store
        await store.close()

    @pytest.fixture
    async def roomy(self, shared_valkey_cluster: ValkeyCluster) -> AsyncIterator[HotStore]:
        store = ClusterHot(shared_valkey_cluster.url, updates_kept=ROOMY, results_kept=ROOMY)
        await store.begin(EPOCH)
        await store.publish_epoch(EPOCH, {}, {})
        yield store
        await store.close()

    async def expire(self, hot: HotStore, actor: str, key: str) -> None:
        assert isinstance(hot, ClusterHot)
        node = hot._cluster.owner(slot_of(actor))
        assert await node.send("PEXPIREAT", f"pb:{{{actor}}}:q:{key}", 1) == 1
