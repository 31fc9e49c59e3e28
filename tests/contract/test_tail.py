"""What is given from memory is what the log holds, or held a look ago: two processes on one server."""

from contextlib import AsyncExitStack

import pytest

from events.adapters.valkey import ValkeyLog
from events.ports import Top, Trimmed
from tests.contract.event_log import LANE, OTHER, OWNER
from tests.support.lanes import EMPTY, records_after
from tests.support.valkey import ValkeyFactory

pytestmark = pytest.mark.integration


async def connected(stack: AsyncExitStack, url: str) -> ValkeyLog:
    log = await ValkeyLog.connect(url)
    stack.push_async_callback(log.close)
    return log


async def looked(log: ValkeyLog) -> None:
    """A follower's first yield comes after a look at the log."""
    following = log.follow()
    await anext(following)
    await following.aclose()  # type: ignore[attr-defined]


async def written(log: ValkeyLog, count: int = 6) -> list[int]:
    """Of an own lane, looked at after its first record; the seqs."""
    await log.open(LANE, OWNER)
    records = records_after(EMPTY, LANE, count)
    await log.append(LANE, OWNER, records[:1])
    await looked(log)
    await log.append(LANE, OWNER, records[1:])
    return [record.seq for record in records]


async def test_a_repeat_that_nobody_can_compare_is_not_given_out(valkey_server: ValkeyFactory) -> None:
    server = valkey_server("always")
    async with AsyncExitStack() as stack:
        a, b = await connected(stack, server.url), await connected(stack, server.url)
        first = records_after(EMPTY, OTHER, 2)
        await a.store(first)
        await looked(a)
        true = records_after(Top.of(first[-1]), OTHER, 3)
        await b.store(true)
        await b.trim(OTHER, 5)
        await a.store(records_after(Top.of(first[-1]), OTHER, 2, "else"))
        with pytest.raises(Trimmed):
            await a.read(OTHER, 2, 9)
        assert (await a.tops())[OTHER] == Top.of(true[-1])


async def test_of_a_write_that_was_partly_there_the_rest_is_kept(valkey_server: ValkeyFactory) -> None:
    server = valkey_server("always")
    async with AsyncExitStack() as stack:
        a, b = await connected(stack, server.url), await connected(stack, server.url)
        records = records_after(EMPTY, OTHER, 5)
        await b.store(records[:3])
        await looked(a)
        await a.store(records)
        assert a._tail.after(OTHER, 0, 9) == []
        assert a._tail.after(OTHER, 3, 9) == records[3:]


async def test_an_append_that_was_there_already_is_told_to_followers_at_once(valkey_server: ValkeyFactory) -> None:
    server = valkey_server("always")
    async with AsyncExitStack() as stack:
        a, b = await connected(stack, server.url), await connected(stack, server.url)
        await a.open(LANE, OWNER)
        following = a.follow()
        assert await anext(following) == {}
        records = records_after(EMPTY, LANE, 2)
        await b.append(LANE, OWNER, records)
        await a.append(LANE, OWNER, records)
        assert a._ends.tops == {LANE: Top.of(records[-1])}
        await following.aclose()  # type: ignore[attr-defined]


async def test_what_another_process_trimmed_is_trimmed_after_a_look(valkey_server: ValkeyFactory) -> None:
    server = valkey_server("always")
    async with AsyncExitStack() as stack:
        a, b = await connected(stack, server.url), await connected(stack, server.url)
        await written(a)
        await b.trim(LANE, 4)
        await looked(a)
        with pytest.raises(Trimmed):
            await a.read(LANE, 1, 9)
        assert [record.seq for record in a._tail.after(LANE, 4, 9)] == [5, 6]


async def test_what_another_process_trimmed_whole_is_forgotten(valkey_server: ValkeyFactory) -> None:
    server = valkey_server("always")
    async with AsyncExitStack() as stack:
        a, b = await connected(stack, server.url), await connected(stack, server.url)
        await written(a)
        await b.trim(LANE, 6)
        await looked(a)
        with pytest.raises(Trimmed):
            await a.read(LANE, 1, 9)


async def test_who_did_not_look_for_long_asks_the_log(
    valkey_server: ValkeyFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.adapters.valkey.LOG_TAIL_TRUST_MS", 0)
    server = valkey_server("always")
    async with AsyncExitStack() as stack:
        a, b = await connected(stack, server.url), await connected(stack, server.url)
        seqs = await written(a)
        assert [record.seq for record in await a.read(LANE, 0, 9)] == seqs
        await b.trim(LANE, 4)
        with pytest.raises(Trimmed):
            await a.read(LANE, 1, 9)


async def test_what_was_looked_at_is_given_without_asking(
    valkey_server: ValkeyFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.adapters.valkey.LOG_TAIL_TRUST_MS", 60_000)
    server = valkey_server("always")
    async with AsyncExitStack() as stack:
        a, b = await connected(stack, server.url), await connected(stack, server.url)
        seqs = await written(a)
        await looked(a)
        await b.trim(LANE, 4)  # seen at the next look
        assert [record.seq for record in await a.read(LANE, 1, 9)] == seqs[1:]


@pytest.mark.parametrize("by", ["tops", "look"])
async def test_a_log_that_lost_everything_gives_nothing(valkey_server: ValkeyFactory, by: str) -> None:
    server = valkey_server("always")
    async with AsyncExitStack() as stack:
        a = await connected(stack, server.url)
        await written(a)
        await a._ask(("FLUSHALL",))
        if by == "tops":
            assert await a.tops() == {}
        else:
            await looked(a)
        assert await a.read(LANE, 1, 9) == []


@pytest.mark.parametrize("by", ["tops", "look"])
@pytest.mark.parametrize(("tag", "left"), [("body", 3), ("else", 0)])
async def test_a_log_that_lost_its_end_gives_nothing_beyond_it(
    valkey_server: ValkeyFactory, tag: str, left: int, by: str
) -> None:
    server = valkey_server("always")
    async with AsyncExitStack() as stack:
        a, b = await connected(stack, server.url), await connected(stack, server.url)
        await written(a)
        await a._ask(("FLUSHALL",))
        again = records_after(EMPTY, LANE, 3, tag)
        await b.store(again)
        await (a.tops() if by == "tops" else looked(a))
        assert await a.read(LANE, 1, 9) == again[1:]
        assert len(a._tail.after(LANE, 0, 9)) == left


async def test_a_log_that_was_written_anew_beyond_what_is_kept_gives_what_it_holds(
    valkey_server: ValkeyFactory,
) -> None:
    server = valkey_server("always")
    async with AsyncExitStack() as stack:
        a, b = await connected(stack, server.url), await connected(stack, server.url)
        await written(a)
        await a._ask(("FLUSHALL",))
        again = records_after(EMPTY, LANE, 8, "else")
        await b.store(again)
        await looked(a)
        assert await a.read(LANE, 1, 9) == again[1:]
