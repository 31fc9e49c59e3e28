"""What a real server can do to the hot store: die, hang, restart, lose its functions, hold other people's data."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import hiredis
import pytest
import uvloop
from msgspec.structs import replace

from cli.waiting import until
from core.errors import ConfigError, Overloaded, StoreUnavailable
from stores.adapters import valkey_batcher
from stores.adapters.memory_hot import MemoryHot
from stores.adapters.valkey_batcher import Batcher
from stores.adapters.valkey_hot import ValkeyHot
from stores.ports import EpochLost, HotBatch, Mark, Recent, Stale, Unread
from tests.contract.hot import EPOCH, FRA, NYC, at, feed, feeds
from tests.support.valkey import ValkeyFactory, ValkeyServer

pytestmark = pytest.mark.integration


@pytest.fixture
def server(valkey_server: ValkeyFactory) -> ValkeyServer:
    return valkey_server()


@pytest.fixture
async def hot(server: ValkeyServer) -> AsyncIterator[ValkeyHot]:
    store = ValkeyHot(server.url, timeout_s=1.0)
    await store.begin(EPOCH)
    await store.publish_epoch(EPOCH, {}, {})
    yield store
    await store.close()


def move(n: int, size: int = 1) -> HotBatch:
    """The n-th batch of one lane."""
    ids = [at(n * size + k) for k in range(size)]
    return HotBatch(EPOCH, {FRA: (n, Mark(n + 1, ids[-1]))}, feeds=feeds("Ua", ids, "D1"))


async def test_a_killed_server_loses_the_epoch_and_a_rebuild_brings_it_back(
    hot: ValkeyHot, server: ValkeyServer
) -> None:
    async def writer() -> None:
        n = 0
        while True:
            await hot.apply(move(n, 50))
            n += 1

    tasks = [asyncio.create_task(writer())]
    async with asyncio.timeout(10):
        while await hot.pts(["Ua"]) == [0]:
            pass
    readers = [asyncio.ensure_future(hot.updates("Ua", 0, 100)) for _ in range(50)]
    await asyncio.sleep(0)
    server.kill()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(error, StoreUnavailable)
        assert str(server.port) in error.private
    answers = await asyncio.gather(*readers, return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable | tuple) for answer in answers)
    with pytest.raises(StoreUnavailable):
        await hot.pts(["Ua"])

    server.start()
    assert await _when_back(hot) is None
    for use in (hot.pts(["Ua"]), hot.apply(move(0)), hot.publish_epoch(EPOCH, {}, {})):
        with pytest.raises(EpochLost):
            await use
    await hot.begin(8)
    await hot.apply(HotBatch(8, {}, recents=[Recent("D1", at(1), "Ua", 1, True)]))
    await hot.publish_epoch(8, {FRA: Mark(4, at(4))}, {FRA: at(4)})
    assert await hot.apply(HotBatch(8, {FRA: (4, Mark(5, at(5)))}, feeds=[feed("Ua", at(5))])) == {"Ua": 1}


async def _when_back(hot: ValkeyHot) -> int | None:
    async with asyncio.timeout(10):
        while True:
            try:
                return await hot.epoch()
            except StoreUnavailable:
                await asyncio.sleep(valkey_batcher.RETRY_S)


async def test_an_epoch_from_before_a_restart_is_withdrawn_even_if_its_data_came_back(
    hot: ValkeyHot, server: ValkeyServer
) -> None:
    await hot.apply(move(0))
    assert server.ask("SAVE") == b"+OK"
    await hot.apply(move(1))
    server.kill()
    server.start()  # loads what was saved: an older state, in which pts 2 would be given again
    assert await _when_back(hot) is None
    with pytest.raises(EpochLost):
        await hot.apply(move(1))
    await hot.begin(8)
    await hot.publish_epoch(8, {}, {})
    assert await hot.pts(["Ua"]) == [0]


async def test_functions_that_were_lost_are_loaded_again(hot: ValkeyHot, server: ValkeyServer) -> None:
    server.ask("FUNCTION FLUSH")
    answers = await asyncio.gather(*(hot.pts(["Ua"]) for _ in range(20)), hot.apply(move(0)))
    assert answers[-1] == {"Ua": 1}


async def test_flushing_the_server_loses_the_epoch(hot: ValkeyHot, server: ValkeyServer) -> None:
    await hot.apply(move(0))
    server.ask("FLUSHALL")
    assert await hot.epoch() is None
    for use in (hot.apply(move(1)), hot.updates("Ua", 0, 9), hot.result("Ua", "k"), hot.seen("Ua", "D1", at(1), 1)):
        with pytest.raises(EpochLost):
            await use


async def test_two_processes_share_one_state(hot: ValkeyHot, server: ValkeyServer) -> None:
    other = ValkeyHot(server.url)
    await asyncio.gather(hot.apply(move(0)), other.present("Ua", "c1", 9))
    with pytest.raises(Stale):
        await other.apply(move(0))
    assert await other.apply(move(1)) == {"Ua": 2}
    assert await hot.online(["Ua"]) == [True]
    await other.close()
    with pytest.raises(StoreUnavailable):
        await other.pts(["Ua"])


async def test_begin_refuses_a_database_with_other_data(hot: ValkeyHot, server: ValkeyServer) -> None:
    server.ask("SET precious 1")
    with pytest.raises(ConfigError):
        await hot.begin(8)
    assert server.ask("EXISTS precious") == b":1"
    assert await hot.epoch() == EPOCH


async def test_begin_refuses_a_server_that_would_evict_updates(hot: ValkeyHot, server: ValkeyServer) -> None:
    server.ask("CONFIG SET maxmemory-policy allkeys-lru")
    with pytest.raises(ConfigError, match="evicts"):
        await hot.begin(8)
    server.ask("CONFIG SET maxmemory-policy volatile-ttl")
    await hot.begin(8)


async def test_each_database_of_a_server_is_a_store_of_its_own(server: ValkeyServer) -> None:
    stores = [ValkeyHot(server.url[:-1] + str(db)) for db in (0, 3)]
    for epoch, store in enumerate(stores, 1):
        await store.begin(epoch)
        await store.publish_epoch(epoch, {}, {})
    assert [await store.epoch() for store in stores] == [1, 2]
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    "broken",
    [
        {"tops": [("Ua", None, at(1))]},
        {"channel_tops": [("C1", -1)]},
        {"marks": [("Ua", ["D1"], FRA, at(1))]},
        {"window_floors": [("D1", FRA, at(1)), (True, FRA, at(1))]},
        {"recalls": [("D1", -1)]},
        {"hides": [("Ua", "D1", 1 << 63)]},
    ],
)
async def test_a_malformed_batch_changes_nothing(hot: ValkeyHot, broken: dict[str, object]) -> None:
    batch = HotBatch(EPOCH, {FRA: (0, Mark(1, at(1)))}, feeds=[feed("Ua", at(1))], **broken)  # type: ignore[arg-type]
    with pytest.raises((StoreUnavailable, ValueError)):
        await hot.apply(batch)
    assert await hot.frontier() == {}
    assert await hot.pts(["Ua"]) == [0]
    assert await hot.epoch() == EPOCH


async def test_a_batch_that_breaks_half_way_withdraws_the_epoch(hot: ValkeyHot, server: ValkeyServer) -> None:
    server.ask("SET pb:{D1}:x not-a-set")
    with pytest.raises(EpochLost, match="half a batch"):
        await hot.apply(move(0)._replace(recalls=[("D1", at(1))]))
    with pytest.raises(EpochLost):
        await hot.pts(["Ua"])
    assert b"half a batch" in (server.directory / "server.log").read_bytes()


async def test_a_full_server_is_unavailable_and_nothing_is_written(valkey_server: ValkeyFactory) -> None:
    server = valkey_server(None, "--maxmemory", "4mb", "--maxmemory-policy", "noeviction")
    store = ValkeyHot(server.url)
    await store.begin(EPOCH)
    await store.publish_epoch(EPOCH, {}, {})
    n = 0
    with pytest.raises(StoreUnavailable) as full:
        for n in range(500):
            big = [replace(feed(f"U{n}", at(n), "D1"), entry=bytes(50_000))]
            recents = [Recent("D1", at(n), "Ua", n, True)]
            await store.apply(HotBatch(EPOCH, {FRA: (n, Mark(n + 1, at(n)))}, feeds=big, recents=recents))
    assert full.value.private.startswith("OOM")
    assert await store.frontier() == {FRA: Mark(n, at(n - 1))}
    assert await store.pts([f"U{n}"]) == [0]
    # What was put off is written by whoever reads: that is still done, and what is there is shown.
    assert await store.dialogs("U0", [], [], None, 9) == [("D1", at(0))]
    assert await store.unread("Ub", [("D1", at(n - 3))]) == [Unread(2, False)]
    assert await store.seen("U1", "D1", at(n), 1) == {FRA: at(1)}
    await store.close()


async def test_what_is_put_off_is_bounded(server: ValkeyServer) -> None:
    hot = ValkeyHot(server.url, waiting=10)
    await hot.begin(EPOCH)
    await hot.publish_epoch(EPOCH, {}, {})
    for n in range(1, 36):
        recents = [Recent("D1", at(n), "Ua", n, True)]
        await hot.apply(HotBatch(EPOCH, {}, feeds=feeds("Ua", [at(n)], f"D{n}"), recents=recents))
        assert server.ask("LLEN pb:{D1}:n") == b":%d" % (n % 10)
        assert server.ask("LLEN pb:{D1}:r") == b":%d" % (n - n % 10)
        assert server.ask("ZCARD pb:{Ua}:d") == b":%d" % (n - n % 10)
    await hot.close()


async def test_what_is_trimmed_was_drawn_from_before(server: ValkeyServer) -> None:
    hot = ValkeyHot(server.url, updates_kept=5, waiting=1_000)
    await hot.begin(EPOCH)
    await hot.publish_epoch(EPOCH, {}, {})
    for n in range(1, 20):
        await hot.apply(HotBatch(EPOCH, {}, feeds=feeds("Ua", [at(n)], f"D{n}")))
    assert await hot.dialogs("Ua", [], [], None, 99) == [(f"D{n}", at(n)) for n in range(19, 0, -1)]
    await hot.close()


async def test_a_listener_comes_back_after_a_restart(hot: ValkeyHot, server: ValkeyServer) -> None:
    heard: list[bytes] = []

    async def listener() -> None:
        async for frame in hot.listen():
            heard.append(frame)

    async def until_heard(frame: bytes) -> None:
        async with asyncio.timeout(10):
            while frame not in heard:
                with contextlib.suppress(StoreUnavailable):
                    await hot.announce(frame)
                await asyncio.sleep(0.02)

    task = asyncio.create_task(listener())
    await until_heard(b"before")
    server.kill()
    server.start()
    await until_heard(b"after")
    assert set(heard[: heard.index(b"")]) == {b"before"}, "an empty frame says that something may have been missed"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_listener_that_is_slow_gets_what_was_announced(hot: ValkeyHot) -> None:
    stream = hot.listen()
    first = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(5):
        while not first.done():
            await hot.announce(b"first")
            await asyncio.sleep(0.01)
    for n in range(5_000):
        await hot.announce(b"%d" % n)
    async with asyncio.timeout(5):
        frames = [frame async for frame in _until(stream, b"4999")]
    assert frames[-5_000:] == [b"%d" % n for n in range(5_000)]
    await stream.aclose()  # type: ignore[attr-defined]


async def _until(stream: AsyncIterator[bytes], last: bytes) -> AsyncIterator[bytes]:
    async for frame in stream:
        yield frame
        if frame == last:
            return


class TestBatcher:
    @pytest.fixture
    async def batcher(self, server: ValkeyServer) -> AsyncIterator[Batcher]:
        batcher = Batcher(server.url, timeout_s=0.5)
        yield batcher
        await batcher.close()

    async def test_every_caller_gets_the_reply_to_its_own_command(self, batcher: Batcher) -> None:
        asked = [str(n) * (n % 50) for n in range(3_000)]
        assert await asyncio.gather(*(batcher.call("ECHO", text) for text in asked)) == [a.encode() for a in asked]

    async def test_the_commands_of_one_tick_leave_in_one_write(self, batcher: Batcher, server: ValkeyServer) -> None:
        await batcher.call("PING")
        before = await _reads(batcher)
        await asyncio.gather(*(batcher.call("PING") for _ in range(100)))
        assert await _reads(batcher) - before <= 4

    async def test_an_error_reply_goes_to_its_caller_only(self, batcher: Batcher) -> None:
        replies = await asyncio.gather(
            batcher.call("SET", "k", "v"), batcher.call("LPOP", "k"), batcher.call("GET", "k"), return_exceptions=True
        )
        assert isinstance(replies[1], hiredis.ReplyError)
        assert [replies[0], replies[2]] == [b"OK", b"v"]

    async def test_a_caller_that_gives_up_does_not_shift_the_replies(self, batcher: Batcher) -> None:
        await batcher.call("PING")
        tasks = [asyncio.create_task(batcher.call("ECHO", str(n))) for n in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        replies = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(reply == str(n).encode() for n, reply in enumerate(replies) if n % 3)

    async def test_a_server_that_hangs_fails_all_who_wait_and_is_tried_anew(
        self, batcher: Batcher, server: ValkeyServer
    ) -> None:
        await batcher.call("PING")
        server.pause()
        replies = await asyncio.gather(*(batcher.call("PING") for _ in range(10)), return_exceptions=True)
        assert all(isinstance(reply, StoreUnavailable) and "did not answer" in reply.private for reply in replies)
        server.resume()
        assert await batcher.call("PING") == b"PONG"

    async def test_too_many_waiting_commands_are_refused(
        self, batcher: Batcher, server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await batcher.call("PING")
        monkeypatch.setattr(valkey_batcher, "IN_FLIGHT_MAX", 50)
        replies = await asyncio.gather(*(batcher.call("PING") for _ in range(60)), return_exceptions=True)
        assert replies[:50] == [b"PONG"] * 50
        assert all(isinstance(reply, Overloaded) for reply in replies[50:])
        assert await batcher.call("PING") == b"PONG"

    async def test_bytes_that_the_server_does_not_take_are_bounded(
        self, server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batcher = Batcher(server.url, timeout_s=30.0)  # so many bytes take a busy machine a while
        await batcher.call("PING")
        monkeypatch.setattr(valkey_batcher, "UNSENT_BYTES_MAX", 20_000_000)
        server.pause()
        waiting = [asyncio.create_task(batcher.call("ECHO", bytes(8_000_000))) for _ in range(3)]

        async def stuck() -> bool:
            assert batcher._wire is not None
            return batcher._wire._paused

        assert await until(stuck, 10.0)
        more = [asyncio.create_task(batcher.call("ECHO", bytes(8_000_000))) for _ in range(8)]
        await asyncio.sleep(0)
        server.resume()
        replies = await asyncio.gather(*waiting, *more, return_exceptions=True)
        assert any(isinstance(reply, Overloaded) for reply in replies[3:])
        assert all(len(reply) == 8_000_000 for reply in replies if isinstance(reply, bytes))
        assert isinstance(replies[0], bytes)
        await batcher.close()

    async def test_one_attempt_to_connect_serves_all_who_ask(self, server: ValkeyServer) -> None:
        greeted = []

        async def greet(send: valkey_batcher.Send) -> None:
            greeted.append(await send("PING"))

        batcher = Batcher(server.url, greet=greet)
        assert await asyncio.gather(*(batcher.call("PING") for _ in range(50))) == [b"PONG"] * 50
        assert greeted == [b"PONG"]
        await batcher.close()

    async def test_a_server_that_is_not_there_fails_at_once(self, server: ValkeyServer) -> None:
        server.stop()
        batcher = Batcher(server.url, timeout_s=5)
        async with asyncio.timeout(2):
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    await batcher.call("PING")
        server.start()
        assert await _retried(batcher) == b"PONG"
        await batcher.close()

    async def test_a_wrong_password_is_unavailable(self, valkey_server: ValkeyFactory) -> None:
        server = valkey_server()
        server.ask("CONFIG SET requirepass s3cret")
        for url, works in ((f"redis://:s3cret@127.0.0.1:{server.port}/0", True), (server.url, False)):
            batcher = Batcher(url)
            if works:
                assert await batcher.call("PING") == b"PONG"
            else:
                with pytest.raises(hiredis.ReplyError, match="NOAUTH"):
                    await batcher.call("PING")
            await batcher.close()
        wrong = Batcher(f"redis://:wr0ng@127.0.0.1:{server.port}/0")
        with pytest.raises(StoreUnavailable) as refused:
            await wrong.call("PING")
        assert "wr0ng" not in refused.value.private

    async def test_a_unix_socket_does_as_well(self, valkey_server: ValkeyFactory) -> None:
        server = valkey_server(None, "--unixsocket", "hot.sock")
        batcher = Batcher(f"unix://{server.directory / 'hot.sock'}?db=2")
        assert await batcher.call("PING") == b"PONG"
        assert b" db=2 " in await batcher.call("CLIENT", "INFO")
        await batcher.close()

    @pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", ""])
    def test_an_address_of_another_kind_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigError):
            Batcher(url)


async def _reads(batcher: Batcher) -> int:
    info = await batcher.call("INFO", "stats")
    return int(info.split(b"total_reads_processed:")[1].split(b"\r")[0])


async def _retried(batcher: Batcher) -> bytes:
    async with asyncio.timeout(5):
        while True:
            try:
                return bytes(await batcher.call("PING"))
            except StoreUnavailable:
                await asyncio.sleep(valkey_batcher.RETRY_S)


def test_it_works_on_uvloop_whose_transports_are_not_asyncios(server: ValkeyServer) -> None:
    async def use() -> None:
        hot = ValkeyHot(server.url)
        await hot.begin(EPOCH)
        await hot.publish_epoch(EPOCH, {}, {})
        assert await hot.apply(move(0, 100)) == {"Ua": 100}
        stream = hot.listen()
        heard = asyncio.ensure_future(anext(stream))
        async with asyncio.timeout(5):
            while not heard.done():
                await hot.announce(b"x")
                await asyncio.sleep(0.01)
        await stream.aclose()  # type: ignore[attr-defined]
        await hot.close()

    uvloop.run(use())


@pytest.mark.parametrize("copies", [False, True])
async def test_a_long_window_is_the_same_whatever_came_late(server: ValkeyServer, copies: bool) -> None:
    """Longer than what is looked at in one step; against the store in memory."""
    chance = random.Random(7)
    ids = [at(2 * tick, chance.choice((FRA, NYC))) for tick in range(200)]
    places = list(range(200))
    for _ in range(12):  # some are late by a little, some by more than a step
        late = places.pop(chance.randrange(100))
        places.insert(late + chance.choice((1, 3, 40, 90)), late)
    same = (0, 100, 190) if copies else ()  # the first is trimmed while the second is alone, until the others come
    recents = [Recent("D1", ids[n], "Ua", 1 if n in same else 1_000 + n, True) for n in places]
    hot, memory = ValkeyHot(server.url, recent_kept=120), MemoryHot(recent_kept=120)
    for store in (hot, memory):
        await store.begin(EPOCH)
        await store.publish_epoch(EPOCH, {}, {})
    while recents:
        size = chance.choice((1, 1, 2, 7))
        batch, recents = recents[:size], recents[size:]
        for store in (hot, memory):
            await store.apply(HotBatch(EPOCH, {}, recents=batch))
        if chance.random() < 0.1:  # what is there already changes nothing
            await hot.apply(HotBatch(EPOCH, {}, recents=batch[-1:]))
    for joined_at in (0, *ids[::7]):
        assert await hot.unread("Ub", [("D1", joined_at)]) == await memory.unread("Ub", [("D1", joined_at)])
    await hot.close()
