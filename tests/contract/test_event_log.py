"""The event log's contract over its adapters, and what only a server can do to us."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from core.errors import ConfigError, Corrupt, Forked, LaneLost, LogUnavailable, OutcomeUnknown
from core.limits import FOLLOW_LOOK_MS
from events.adapters.memory import MemoryLog
from events.adapters.valkey import ValkeyLog
from events.adapters.valkey_wire import Command
from events.ports import EventLog, Top, Trimmed
from tests.contract.event_log import LANE, NEXT_OWNER, OTHER, OWNER, EventLogContract, all_of, opened, soon
from tests.support.lanes import EMPTY, records_after
from tests.support.valkey import ValkeyFactory, ValkeyServer, free_port

_prefix = itertools.count()


class TestMemoryLog(EventLogContract):
    @pytest.fixture
    def log(self) -> EventLog:
        return MemoryLog()

    async def test_closing_ends_followers(self) -> None:
        log = MemoryLog()
        grown = log.follow()
        await soon(grown)
        waiting = asyncio.ensure_future(anext(grown))
        await asyncio.sleep(0)
        await log.close()
        with pytest.raises(LogUnavailable):
            await waiting


@pytest.fixture(scope="module")
def shared_server(shared_valkey_server: ValkeyFactory) -> ValkeyServer:
    return shared_valkey_server("always")


@pytest.mark.integration
class TestValkeyLog(EventLogContract):
    @pytest.fixture
    async def log(self, shared_server: ValkeyServer) -> AsyncIterator[EventLog]:
        log = await ValkeyLog.connect(shared_server.url, prefix=f"{{log{next(_prefix)}}}")
        yield log
        await log.close()


@pytest.fixture
async def server(valkey_server: ValkeyFactory) -> ValkeyServer:
    return valkey_server("always")


@pytest.fixture
async def valkey_log(server: ValkeyServer) -> AsyncIterator[ValkeyLog]:
    log = await ValkeyLog.connect(server.url, answer_s=0.5)
    yield log
    await log.close()


@pytest.mark.integration
class TestValkeyLogsTail:
    """What was written a moment ago is read without the server."""

    async def test_what_follows_close_behind_is_not_asked_of_the_server(
        self, server: ValkeyServer, valkey_log: ValkeyLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("events.adapters.valkey.LOG_TAIL_TRUST_MS", 60_000)
        await soon(valkey_log.follow())  # a look at the log
        records = await opened(valkey_log, count=2)
        foreign = records_after(EMPTY, OTHER, 4)
        await valkey_log.store(foreign[:2])
        for _ in range(3):
            more = records_after(Top.of(records[-1]), LANE, 2)
            await valkey_log.append(LANE, OWNER, more)
            records += more
        await valkey_log.store(foreign)  # repeats two
        other = await ValkeyLog.connect(server.url)
        for after in range(8):
            assert (
                await valkey_log.read(LANE, after, 3) == await other.read(LANE, after, 3) == records[after : after + 3]
            )
        assert await valkey_log.read(OTHER, 0, 9) == await other.read(OTHER, 0, 9) == foreign
        await other.close()
        server.kill()
        assert await valkey_log.read(LANE, 4, 9) == records[4:]
        assert await valkey_log.read(OTHER, 1, 9) == foreign[1:]
        for lane, after in ((LANE, 8), (OTHER, 4)):
            with pytest.raises(LogUnavailable):
                await valkey_log.read(lane, after, 9)

    async def test_a_repeat_that_could_not_be_compared_is_not_believed(self, valkey_log: ValkeyLog) -> None:
        records = records_after(EMPTY, OTHER, 6)
        for at in range(0, 6, 2):
            await valkey_log.store(records[at : at + 2])
        await valkey_log.trim(OTHER, 4)
        await valkey_log.store(records_after(EMPTY, OTHER, 3, "forged"))
        for after in range(4):
            with pytest.raises(Trimmed):
                await valkey_log.read(OTHER, after, 9)
        assert await valkey_log.read(OTHER, 4, 9) == records[4:]


@pytest.mark.integration
class TestValkeyServerFailures:
    async def test_kill_9_keeps_everything_that_was_acknowledged(
        self, server: ValkeyServer, valkey_log: ValkeyLog
    ) -> None:
        acknowledged = await opened(valkey_log, count=1)
        foreign = records_after(EMPTY, OTHER, 1)
        await valkey_log.store(foreign)
        dying = asyncio.get_running_loop().call_later(0.2, server.kill)
        while True:
            records = records_after(Top.of(acknowledged[-1]), LANE, 3)
            try:
                await valkey_log.append(LANE, OWNER, records)
            except (LogUnavailable, OutcomeUnknown):
                break
            acknowledged += records
        dying.cancel()
        server.start()
        # A read of a page longer than all of it: the lane is dense, and begins with all that was acknowledged.
        kept = await valkey_log.read(LANE, 0, 1_000_000)
        assert len(acknowledged) > 3
        assert kept[: len(acknowledged)] == acknowledged
        assert len(kept) - len(acknowledged) in (0, 3)
        assert await all_of(valkey_log, OTHER) == foreign
        await valkey_log.append(LANE, OWNER, kept[-3:] + records_after(Top.of(kept[-1]), LANE, 1))
        with pytest.raises(LaneLost):
            await valkey_log.append(LANE, NEXT_OWNER, records_after(Top.of(kept[-1]), LANE, 1))

    async def test_a_refused_connection_means_that_nothing_happened(
        self, server: ValkeyServer, valkey_log: ValkeyLog
    ) -> None:
        records = await opened(valkey_log, count=1)
        server.kill()
        # The first call may still find the old connection open; the second one can't even send.
        with pytest.raises((LogUnavailable, OutcomeUnknown)):
            await valkey_log.append(LANE, OWNER, records_after(Top.of(records[-1]), LANE, 1, "lost"))
        for _ in range(2):
            with pytest.raises(LogUnavailable):
                await valkey_log.append(LANE, OWNER, records_after(Top.of(records[-1]), LANE, 1))
        server.start()
        assert await all_of(valkey_log) == records

    async def test_nobody_listens(self) -> None:
        with pytest.raises(LogUnavailable):
            await ValkeyLog.connect(f"redis://127.0.0.1:{free_port()}/0")

    async def test_a_server_that_stands_still_leaves_the_outcome_unknown_and_acts_later(
        self, server: ValkeyServer, valkey_log: ValkeyLog
    ) -> None:
        records = await opened(valkey_log, count=1)
        more = records_after(Top.of(records[-1]), LANE, 2)
        server.pause()
        with pytest.raises(OutcomeUnknown):
            await valkey_log.append(LANE, OWNER, more)
        server.resume()
        await valkey_log.append(LANE, OWNER, more)
        assert await all_of(valkey_log) == records + more

    async def test_a_cancelled_append_does_not_leave_its_answer_to_the_next_call(
        self, server: ValkeyServer, valkey_log: ValkeyLog
    ) -> None:
        records = await opened(valkey_log, count=1)
        server.pause()
        call = asyncio.ensure_future(valkey_log.append(LANE, OWNER, records_after(Top.of(records[-1]), LANE, 2)))
        await asyncio.sleep(0.1)
        call.cancel()
        server.resume()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await valkey_log.read(LANE, 0, 1)) == records

    async def test_more_calls_than_connections_take_turns(self, valkey_log: ValkeyLog) -> None:
        records = await opened(valkey_log, count=5)
        answers = await asyncio.gather(*(valkey_log.read(LANE, 0, 10) for _ in range(100)))
        assert all(answer == records for answer in answers)

    async def test_a_function_library_that_got_lost_is_loaded_again(
        self, server: ValkeyServer, valkey_log: ValkeyLog
    ) -> None:
        records = await opened(valkey_log, count=1)
        assert server.ask("FUNCTION FLUSH") == b"+OK"
        more = records_after(Top.of(records[-1]), LANE, 1)
        await valkey_log.append(LANE, OWNER, more)
        assert await all_of(valkey_log) == records + more

    async def test_a_server_that_does_not_sync_is_refused(self, valkey_server: ValkeyFactory) -> None:
        lax = valkey_server("everysec")
        with pytest.raises(ConfigError, match="appendfsync always"):
            await ValkeyLog.connect(lax.url)
        await (await ValkeyLog.connect(lax.url, require_sync=False)).close()

    async def test_out_of_memory_means_that_nothing_happened_and_reading_and_trimming_go_on(
        self, server: ValkeyServer, valkey_log: ValkeyLog
    ) -> None:
        records = await opened(valkey_log, count=500)
        assert server.ask("CONFIG SET maxmemory 1mb") == b"+OK"
        more = records_after(Top.of(records[-1]), LANE, 1)
        with pytest.raises(LogUnavailable):
            await valkey_log.append(LANE, OWNER, more)
        with pytest.raises(LogUnavailable):
            await valkey_log.store(records_after(EMPTY, OTHER, 1))
        assert await all_of(valkey_log) == records
        reader = await ValkeyLog.connect(server.url)
        await reader.trim(LANE, 400)
        assert await reader.read(LANE, 400, 1_000) == records[400:]
        await reader.close()
        assert server.ask("CONFIG SET maxmemory 0") == b"+OK"
        await valkey_log.append(LANE, OWNER, more)
        assert await valkey_log.tops() == {LANE: Top.of(more[-1])}

    async def test_a_replica_means_that_nothing_happened(self, server: ValkeyServer, valkey_log: ValkeyLog) -> None:
        records = await opened(valkey_log, count=1)
        assert server.ask(f"REPLICAOF 127.0.0.1 {free_port()}") == b"+OK"
        with pytest.raises(LogUnavailable):
            await valkey_log.append(LANE, OWNER, records_after(Top.of(records[-1]), LANE, 1))

    async def test_a_follower_is_told_when_the_server_goes_and_may_follow_again(
        self, server: ValkeyServer, valkey_log: ValkeyLog
    ) -> None:
        records = await opened(valkey_log, count=1)
        grown = valkey_log.follow()
        await soon(grown)
        waiting = asyncio.ensure_future(anext(grown))
        await asyncio.sleep(0.05)
        server.kill()
        with pytest.raises(LogUnavailable):
            await asyncio.wait_for(waiting, 5)
        server.start()
        grown = valkey_log.follow()
        assert set(await soon(grown)) == {LANE}
        await valkey_log.append(LANE, OWNER, records_after(Top.of(records[-1]), LANE, 1))
        assert set(await soon(grown)) == {LANE}

    async def test_a_waiting_follower_is_woken_at_once(self, valkey_log: ValkeyLog) -> None:
        grown = valkey_log.follow()
        await soon(grown)
        waiting = asyncio.ensure_future(anext(grown))
        await asyncio.sleep(0.05)
        await opened(valkey_log, count=1)
        assert set(await asyncio.wait_for(waiting, FOLLOW_LOOK_MS / 2_000)) == {LANE}

    async def test_what_another_process_writes_is_seen_soon_also_while_we_write(
        self, server: ValkeyServer, valkey_log: ValkeyLog
    ) -> None:
        other = await ValkeyLog.connect(server.url)
        grown = valkey_log.follow()
        await soon(grown)
        records = await opened(other, OTHER, count=1)
        top = await valkey_log.open(LANE, OWNER)
        seen: dict[int, Top] = {}
        async with asyncio.timeout(5):
            while OTHER not in seen:
                more = records_after(top, LANE, 1)
                await valkey_log.append(LANE, OWNER, more)
                top = Top.of(more[-1])
                seen |= await soon(grown)
        assert seen == {LANE: top, OTHER: Top.of(records[-1])}
        await other.close()

    async def test_a_look_does_not_undo_what_was_written_meanwhile(
        self, valkey_log: ValkeyLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        records = await opened(valkey_log, count=1)
        more = records_after(Top.of(records[-1]), LANE, 1)

        async def slow(*commands: Command) -> list[Any]:
            monkeypatch.undo()
            answers = await valkey_log._ask(*commands)
            await valkey_log.append(LANE, OWNER, more)
            return answers

        monkeypatch.setattr(valkey_log, "_ask", slow)
        assert await soon(valkey_log.follow()) == {LANE: Top.of(more[-1])}
        assert valkey_log._tail.after(LANE, 0, 9) == records + more

    async def test_a_lane_that_went_back_is_named(self, server: ValkeyServer, valkey_log: ValkeyLog) -> None:
        await opened(valkey_log, count=1)
        grown = valkey_log.follow()
        await soon(grown)
        end = f"1|{1:019d}|{'00' * 32}"
        server.ask(f"HSET {{log}}:tops {LANE} {end}")
        assert (await soon(grown))[LANE].id == 1

    async def test_a_log_that_lost_its_end_is_noticed_by_its_writer(
        self, server: ValkeyServer, valkey_log: ValkeyLog
    ) -> None:
        records = await opened(valkey_log, count=3)
        server.ask("FLUSHALL")
        await valkey_log.open(LANE, OWNER)
        with pytest.raises(Corrupt):
            await valkey_log.append(LANE, OWNER, records_after(Top.of(records[-1]), LANE, 1))

    async def test_foreign_bytes_under_our_keys_stop_the_writer(
        self, server: ValkeyServer, valkey_log: ValkeyLog
    ) -> None:
        await valkey_log.open(LANE, OWNER)
        server.ask(f"SET {{log}}:lane:{LANE} x")
        with pytest.raises(Corrupt):
            await valkey_log.append(LANE, OWNER, records_after(EMPTY, LANE, 1))

    async def test_ids_keep_all_63_bits(self, server: ValkeyServer, valkey_log: ValkeyLog) -> None:
        record = replace(records_after(EMPTY, LANE, 1)[0], id=(1 << 63) - 1)
        await valkey_log.open(LANE, OWNER)
        await valkey_log.append(LANE, OWNER, [record])
        assert (await valkey_log.tops())[LANE].id == (1 << 63) - 1
        client = Redis(port=server.port)
        assert b"9223372036854775807" in (await client.hget("{log}:tops", str(LANE)) or b"")
        await client.aclose()

    async def test_a_repeat_is_recognised_after_a_restart(self, server: ValkeyServer, valkey_log: ValkeyLog) -> None:
        records = await opened(valkey_log, count=3)
        server.kill()
        server.start()
        with pytest.raises(OutcomeUnknown):  # the old connection, whose end has not been noticed yet
            await valkey_log.append(LANE, OWNER, records)
        await valkey_log.append(LANE, OWNER, records)
        with pytest.raises(Forked):
            await valkey_log.append(LANE, OWNER, records_after(EMPTY, LANE, 3, "else"))


# -- what servers say that can not be made to say it at will: a real socket, an invented server


class Invented:
    """Answers PING, and everything else with `reply`; None closes the connection instead."""

    def __init__(self, reply: bytes | None, ping: bytes = b"+PONG\r\n") -> None:
        self._reply = reply
        self._ping = ping
        self.asked = 0

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if b"PING" in data:
                writer.write(self._ping)
            elif self._reply is None:
                break
            else:
                self.asked += 1
                writer.write(self._reply)
        writer.close()


async def append_to(url: str) -> None:
    log = ValkeyLog(url, answer_s=0.3, connect_s=0.3)
    try:
        await log.append(LANE, OWNER, records_after(EMPTY, LANE, 1))
    finally:
        await log.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"-LOADING Valkey is loading the dataset in memory\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-MISCONF Errors writing to the AOF file: No space left on device\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-BUSY Valkey is busy running a script.\r\n",
        b"-NOREPLICAS Not enough good replicas to write.\r\n",
        b"-MASTERDOWN Link with MASTER is down.\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-NOPERM User default has no permissions to run the 'fcall' command\r\n",
    ],
)
async def test_a_reply_that_refuses_means_that_nothing_happened(reply: bytes) -> None:
    async with Invented(reply) as url:
        with pytest.raises(LogUnavailable):
            await append_to(url)


@pytest.mark.parametrize(
    "ping", [b"-ERR max number of clients reached\r\n", b"-NOAUTH Authentication required.\r\n", b"-LOADING\r\n", b""]
)
async def test_a_connection_that_is_not_welcome_means_that_nothing_happened(ping: bytes) -> None:
    server = Invented(b"+ok\r\n", ping)
    async with server as url:
        with pytest.raises(LogUnavailable):
            await append_to(url)
    assert server.asked == 0


@pytest.mark.parametrize("reply", [None, b"", b"$40\r\nhalf an ans", b"!?garbage\r\n"])
async def test_a_broken_answer_leaves_the_outcome_unknown(reply: bytes | None) -> None:
    async with Invented(reply) as url:
        with pytest.raises(OutcomeUnknown):
            await append_to(url)


@pytest.mark.parametrize("reply", [b"-WRONGTYPE Operation against a key\r\n", b"-ERR The ID specified in XADD\r\n"])
async def test_an_error_that_a_sound_server_does_not_give_stops_the_writer(reply: bytes) -> None:
    async with Invented(reply) as url:
        with pytest.raises(Corrupt):
            await append_to(url)
