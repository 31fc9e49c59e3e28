"""The HotStore contract over its adapters."""

from collections.abc import AsyncIterator

import pytest

from stores.adapters.memory_hot import MemoryHot
from stores.adapters.valkey_hot import ValkeyHot
from stores.ports import HotStore
from tests.contract.hot import EPOCH, RECENT_KEPT, UPDATES_KEPT, HotStoreContract
from tests.contract.hot_laws import HotLaws
from tests.support.valkey import ValkeyFactory, ValkeyServer


@pytest.fixture(scope="module")
def server(shared_valkey_server: ValkeyFactory) -> ValkeyServer:
    return shared_valkey_server()


class TestMemoryHot(HotStoreContract, HotLaws):
    @pytest.fixture
    async def hot(self) -> HotStore:
        store = MemoryHot(updates_kept=UPDATES_KEPT, recent_kept=RECENT_KEPT)
        await store.begin(EPOCH)
        await store.publish_epoch(EPOCH, {}, {})
        return store


@pytest.mark.integration
class TestValkeyHot(HotStoreContract, HotLaws):
    @pytest.fixture
    async def hot(self, server: ValkeyServer) -> AsyncIterator[HotStore]:
        store = ValkeyHot(server.url, updates_kept=UPDATES_KEPT, recent_kept=RECENT_KEPT)
        await store.begin(EPOCH)
        await store.publish_epoch(EPOCH, {}, {})
        yield store
        await store.close()
