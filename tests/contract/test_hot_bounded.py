"""What the hot store's server holds is bounded per user, dialog and conversation, or ends by itself: counted there."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bench.hot_metadata import changes
from cli.waiting import until
from core import limits
from stores.adapters.valkey_hot import ValkeyHot
from stores.ports import HotBatch, Result
from tests.contract.hot import EPOCH, at
from tests.support.valkey import ValkeyFactory, ValkeyServer

pytestmark = pytest.mark.integration

KEPT = 40
RENEWED = 16
"""As in planb_hot.lua."""


@pytest.fixture(scope="module")
def server(shared_valkey_server: ValkeyFactory) -> ValkeyServer:
    return shared_valkey_server()


@pytest.fixture
async def hot(server: ValkeyServer) -> AsyncIterator[ValkeyHot]:
    store = ValkeyHot(server.url, results_kept=KEPT)
    await store.begin(EPOCH)
    await store.publish_epoch(EPOCH, {}, {})
    yield store
    await store.close()


async def ask(hot: ValkeyHot, *command: Any) -> Any:
    return await hot._batcher.call(*command)


async def do(hot: ValkeyHot, begin: int, end: int, actor: str = "Ua") -> None:
    for n in range(begin, end):
        done = Result(actor, f"k{n}", at(n), "message.send", b"12345678", {"id": str(at(n)), "conversation": "D1"})
        await hot.apply(HotBatch(EPOCH, {}, results=[done]))


async def test_a_user_who_writes_on_and_on_has_so_many_results_and_no_more(hot: ValkeyHot) -> None:
    await do(hot, 0, 10 * KEPT)
    results = await ask(hot, "KEYS", "pb:{Ua}:q:*")
    assert len(results) <= KEPT
    assert await ask(hot, "LLEN", "pb:{Ua}:o") == len(results)
    assert await ask(hot, "DBSIZE") == len(results) + 2, "and the list of them, and the epoch"


async def test_whatever_is_kept_of_results_ends_by_itself(hot: ValkeyHot) -> None:
    await do(hot, 0, 3)
    names = [name for name in await ask(hot, "KEYS", "*") if not name.startswith(b"pb:{dc}:meta:")]
    assert len(names) == 4
    for name in names:
        assert 0 < await ask(hot, "TTL", name) <= limits.RESULT_KEPT_S


async def test_the_list_of_results_outlives_them(hot: ValkeyHot) -> None:
    """Else those that nobody counts any more would stand beside as many new ones."""
    for begin in range(0, 5 * KEPT, RENEWED):
        if begin:
            await ask(hot, "EXPIRE", "pb:{Ua}:o", 7)
        await do(hot, begin, begin + RENEWED)
        assert await ask(hot, "TTL", "pb:{Ua}:o") > 7


async def test_the_metadata_of_rows_does_not_grow_with_their_changes(hot: ValkeyHot) -> None:
    """A million changes to 10,000 rows: `python -m bench.hot_metadata`."""
    rows, count = 200, 20_000

    async def size() -> int:
        names = await ask(hot, "KEYS", "pb:{users/*}:x")
        assert len(names) == rows
        return sum([await ask(hot, "MEMORY", "USAGE", name) for name in names])

    for part in changes(rows, 3 * rows):
        await hot.decide(part)
    once = await size()
    for part in changes(rows, count):
        await hot.decide(part)
    assert 50 * rows < await size() <= 1.02 * once


async def test_the_metadata_of_a_row_that_nobody_writes_ends_by_itself(
    hot: ValkeyHot, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = changes(10, 10)
    await hot.decide(first)
    names = await ask(hot, "KEYS", "pb:{users/*}:x")
    assert len(names) == 10
    for name in names:
        assert 0 < await ask(hot, "TTL", name) <= limits.CRDT_META_KEPT_S
    monkeypatch.setattr(limits, "CRDT_META_KEPT_S", 1)
    await hot.decide(first)

    async def gone() -> bool:
        return bool(await ask(hot, "DBSIZE") == 1)

    assert await until(gone, 20.0)
