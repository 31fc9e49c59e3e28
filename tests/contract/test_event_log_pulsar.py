"""The event log's contract over Pulsar, a real one, and what only a server can do to us."""

import asyncio
import itertools
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

import pulsar as driver
import pytest
from msgspec.structs import replace

from cli.waiting import until
from core.errors import Corrupt, Forked, LaneLost, LogUnavailable, OutcomeUnknown
from core.ids import Lane
from events.adapters.pulsar import PulsarLog
from events.adapters.pulsar_admin import Admin
from events.adapters.pulsar_frame import State, decode_frame, encode_frame
from events.adapters.pulsar_places import Place
from events.ports import EventLog, Top, Trimmed
from events.record import Record
from tests.contract import event_log
from tests.contract.event_log import LANE, NEXT_OWNER, OTHER, OWNER, EventLogContract, all_of, soon
from tests.support.lanes import EMPTY, records_after
from tests.support.pulsar import Pulsar, fresh_tenant, pulsar_at
from tests.support.valkey import free_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
T = TypeVar("T")
DC = 1
RECOVER_S_MAX = 120.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pulsar]:
    """Runs before and after each test."""
    with pulsar_at(tmp_path_factory.mktemp("pulsar")) as running:
        yield running


@pytest.fixture
def tenant() -> str:
    return fresh_tenant()


Connect = Callable[[], "asyncio.Future[PulsarLog]"]


def native_threads() -> int:
    """Those of this process that Python did not begin: the driver's."""
    return len(os.listdir("/proc/self/task")) - threading.active_count()


async def nothing_left(before: int) -> None:
    """Nothing of a test runs on in the next one: neither our threads nor the driver's."""

    async def gone() -> bool:
        ours = [thread.name for thread in threading.enumerate() if thread.name.startswith("pulsar")]
        return not ours and native_threads() <= before

    assert await until(gone, 10), (before, native_threads(), threading.enumerate())


@pytest.fixture
async def connect(server: Pulsar, tenant: str) -> AsyncIterator[Connect]:
    """`await connect()`: another process's view of the same log."""
    made: list[PulsarLog] = []

    async def one() -> PulsarLog:
        made.append(await PulsarLog.connect(server.broker_url, server.admin_url, DC, tenant=tenant, answer_s=1.0))
        return made[-1]

    before = native_threads()
    yield lambda: asyncio.ensure_future(one())
    for log in made:
        await log.close()
    await nothing_left(before)


@pytest.fixture
async def log(connect: Connect) -> PulsarLog:
    return await connect()


@pytest.fixture
async def admin(server: Pulsar, tenant: str) -> AsyncIterator[Admin]:
    admin = Admin(server.admin_url, tenant)
    yield admin
    await admin.close()


class TestPulsarLog(EventLogContract):
    @pytest.fixture
    async def log(self, connect: Connect) -> EventLog:
        return await connect()


class TestPulsarLogWithDeduplication(EventLogContract):
    @pytest.fixture
    async def log(self, connect: Connect, admin: Admin) -> EventLog:
        log = await connect()
        await deduplicated(admin, True)
        return log


async def deduplicated(admin: Admin, wanted: bool) -> None:
    for namespace in ("dc-1", "copies-1"):
        await admin.ask("POST", f"/namespaces/{admin.tenant}/{namespace}/deduplication", wanted)


async def opened(log: EventLog, lane: int = LANE, count: int = 0) -> list[Record]:
    """The same where a test before may have killed the broker: it makes no topic yet when it is ready."""
    await in_the_end(lambda: log.open(lane, OWNER))
    return await event_log.opened(log, lane, count=count)


async def appended(log: EventLog, after: Record, count: int, owner: bytes = OWNER) -> list[Record]:
    records = records_after(Top.of(after), after.lane, count)
    await log.append(after.lane, owner, records)
    return records


# -- other processes


async def test_what_one_process_wrote_another_reads_from_its_beginning_to_its_end(connect: Connect) -> None:
    writer = await connect()
    records = await opened(writer, count=1)
    for _ in range(300):
        records += await appended(writer, records[-1], 1)
    foreign = records_after(EMPTY, OTHER, 40)
    for at in range(0, 40, 4):
        await writer.store(foreign[at : at + 4])
    reader = await connect()
    assert await reader.tops() == await writer.tops() == {LANE: Top.of(records[-1]), OTHER: Top.of(foreign[-1])}
    for after in (150, 7, 290, 0, 300):
        assert await reader.read(LANE, after, 60) == records[after : after + 60]
    assert await reader.read(OTHER, 3, 9) == foreign[3:12]


async def test_a_new_owner_elsewhere_fences_the_old_one_at_its_first_write(connect: Connect) -> None:
    old, new = await connect(), await connect()
    records = await opened(old, count=2)
    assert await new.open(LANE, NEXT_OWNER) == Top.of(records[-1])
    with pytest.raises(LaneLost):
        await appended(old, records[-1], 3)
    with pytest.raises(LaneLost):
        await old.open(LANE, OWNER)
    records += await appended(new, records[-1], 2, NEXT_OWNER)
    assert await all_of(old) == await all_of(new) == records


async def test_takeovers_in_the_middle_of_appends_lose_and_double_nothing(connect: Connect) -> None:
    acknowledged: list[Record] = []
    top = EMPTY

    async def writes(log: PulsarLog, owner: bytes) -> None:
        """Until another one takes the lane."""
        nonlocal top
        while True:
            records = records_after(top, LANE, 2, owner.decode())
            try:
                await log.append(LANE, owner, records)
            except (LogUnavailable, OutcomeUnknown):
                continue
            except (LaneLost, Corrupt):
                return
            acknowledged.extend(records)
            top = Top.of(records[-1])

    logs = [await connect() for _ in range(3)]
    writing: list[asyncio.Task[None]] = []
    for turn in range(12):
        log, owner = logs[turn % 3], b"owner %d" % turn
        found = await log.open(LANE, owner)
        for task in writing:
            await asyncio.wait_for(task, RECOVER_S_MAX)
        # What the old one was told of is there; a last group may be that it was not told of.
        assert found.seq - top.seq in (0, 2)
        if found.seq > top.seq:
            acknowledged.extend(await log.read(LANE, top.seq, 10))
        top = found
        writing = [asyncio.ensure_future(writes(log, owner))]
        wanted = len(acknowledged) + 10

        async def written(wanted: int = wanted) -> bool:
            return len(acknowledged) > wanted

        assert await until(written, RECOVER_S_MAX)
    await logs[0].open(LANE, b"the last")
    await asyncio.wait_for(writing[0], RECOVER_S_MAX)
    reader = await connect()
    kept = await reader.read(LANE, 0, 100_000)
    assert kept[: len(acknowledged)] == acknowledged
    assert len(kept) - len(acknowledged) in (0, 2)


async def test_a_process_that_stood_still_while_its_lane_was_taken_fails_at_its_first_write(
    connect: Connect, server: Pulsar, tenant: str
) -> None:
    command = [sys.executable, "-m", "tests.support.pulsar_child", server.broker_url, server.admin_url, tenant]
    child = await asyncio.create_subprocess_exec(*command, str(LANE), stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    try:
        async with asyncio.timeout(30):
            while int((await child.stdout.readline()).split()[1]) < 30:
                pass
            child.send_signal(19)
            log = await connect()
            top = await log.open(LANE, NEXT_OWNER)
            records = records_after(top, LANE, 2, "new")
            await log.append(LANE, NEXT_OWNER, records)
            child.send_signal(18)
            said = [line.split() for line in (await child.stdout.read()).decode().splitlines()]
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
    told = max((int(seq) for word, seq in said if word == "ok"), default=30)
    assert said[-1][0] == "lost"
    assert {word for word, _ in said} <= {"ok", "lost", "outcome_unknown", "log_unavailable"}
    kept = await (await connect()).read(LANE, 0, 100_000)
    assert kept[top.seq :] == records
    assert 30 <= told <= top.seq


async def test_what_the_former_owner_still_got_in_is_before_the_marker_that_counts(
    connect: Connect, server: Pulsar, tenant: str, admin: Admin
) -> None:
    old, new = await connect(), await connect()
    records = await opened(old, count=2)
    topic = new._lane(LANE).topic
    read_on, looks = topic.read_on, 0

    async def late(through: Place | None = None) -> None:
        nonlocal looks, records
        looks += 1
        if looks == 2:  # with the producer made: what the former one sent is not seen yet
            return
        await read_on(through)
        if looks == 1:
            records += await appended(old, records[-1], 1)

    topic.read_on = late  # type: ignore[method-assign]
    assert await new.open(LANE, NEXT_OWNER) == Top.of(records[-1])
    assert looks > 3
    last = await admin.last("dc-1", f"lane-{LANE}")
    assert last is not None
    client = driver.Client(server.broker_url)
    reader = client.create_reader(
        f"persistent://{tenant}/dc-1/lane-{LANE}", driver.MessageId(-1, *last, -1), start_message_id_inclusive=True
    )
    told = decode_frame(LANE, reader.read_next(5_000).data()).state
    reader.close()  # else it and its client keep each other
    client.close()
    assert (told.owner, told.top) == (NEXT_OWNER, Top.of(records[-1]))


async def test_two_processes_that_store_the_same_lane_agree(connect: Connect) -> None:
    first, second = await connect(), await connect()
    records = records_after(EMPTY, OTHER, 60)

    async def stores(log: PulsarLog) -> None:
        for at in range(0, 60, 3):
            for _ in range(50):
                try:
                    await log.store(records[: at + 3])
                except (OutcomeUnknown, LogUnavailable):
                    continue
                break

    await asyncio.gather(stores(first), stores(second))
    for log in (first, second, await connect()):
        assert await all_of(log, OTHER) == records


async def test_what_another_process_writes_is_followed(connect: Connect) -> None:
    log, other = await connect(), await connect()
    grown = log.follow()
    assert await soon(grown) == {}
    records = await opened(other, count=1)
    assert await soon(grown) == {LANE: Top.of(records[-1])}
    records += await appended(other, records[-1], 2)
    assert await soon(grown) == {LANE: Top.of(records[-1])}


# -- closing


async def test_closing_ends_whatever_is_under_way_and_holds_up_nobody(connect: Connect) -> None:
    """The driver never answers a call whose client is closed meanwhile."""
    log = await connect()
    opens, longest = 0, 0.0

    async def takes(lane: int) -> None:
        nonlocal opens
        for turn in itertools.count():
            try:
                top = await log.open(lane, b"%d/%d" % (lane, turn))
                await log.append(lane, b"%d/%d" % (lane, turn), records_after(top, lane, 1))
                await log.read(lane, 0, 5)
            except (LogUnavailable, OutcomeUnknown):
                return
            opens += 1

    async def beats() -> None:
        nonlocal longest
        loop = asyncio.get_running_loop()
        while True:
            begun_s = loop.time()
            await asyncio.sleep(0.01)
            longest = max(longest, loop.time() - begun_s)

    async def at_work() -> bool:
        return opens > 16

    taking = [asyncio.ensure_future(takes(lane)) for lane in range(8)]
    assert await until(at_work, 30)
    beating = asyncio.ensure_future(beats())
    async with asyncio.timeout(20):
        await log.close()
        await asyncio.gather(*taking)
    beating.cancel()
    assert longest < 1, "others went on meanwhile"
    with pytest.raises(LogUnavailable):
        await log.open(LANE, OWNER)


# -- trimming


async def test_what_was_trimmed_stays_so_for_others_and_is_given_back_by_the_broker(
    connect: Connect, admin: Admin
) -> None:
    log = await connect()
    records = await opened(log, count=1)
    for _ in range(9):
        records += await appended(log, records[-1], 1)
    await admin.ask("PUT", f"/persistent/{admin.tenant}/dc-1/lane-{LANE}/unload")  # a new ledger begins
    for _ in range(9):
        records += await appended(log, records[-1], 1)
    await log.trim(LANE, 14)
    other = await connect()
    with pytest.raises(Trimmed) as trimmed:
        await other.read(LANE, 9, 5)
    assert trimmed.value.first == 15
    assert await other.read(LANE, 14, 9) == records[14:]

    async def ledgers() -> int:
        await admin.ask("POST", f"/persistent/{admin.tenant}/dc-1/lane-{LANE}/trim")
        return len((await admin.kept_after("dc-1", f"lane-{LANE}"))[1])

    async def given_back() -> bool:
        return await ledgers() == 1

    assert await until(given_back, 10)
    await log.trim(LANE, 1_000)
    assert await (await connect()).tops() == {LANE: Top.of(records[-1])}
    records += await appended(log, records[-1], 1)
    assert await other.read(LANE, 19, 9) == records[19:]


async def test_half_of_what_the_broker_keeps_is_all_that_a_lane_takes(
    connect: Connect, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.adapters.pulsar.PULSAR_BACKLOG_LOOK_S", 0)
    log = await connect()
    await admin.limit_backlog("dc-1", 40_000)
    records = await opened(log, count=1)

    async def takes() -> bool:
        await soon(log.follow())  # which looks at it
        more = records_after(Top.of(records[-1]), LANE, 1, "x" * 4_000)
        try:
            await log.append(LANE, OWNER, more)
        except LogUnavailable:
            return False
        records.extend(more)
        return True

    async def refused() -> bool:
        return not await takes()

    assert await until(refused, 20)
    assert 4 < len(records) < 9
    await log.trim(LANE, len(records) - 1)
    await admin.ask("PUT", f"/persistent/{admin.tenant}/dc-1/lane-{LANE}/unload")
    assert await until(takes, 20)
    assert await (await connect()).read(LANE, records[-1].seq - 1, 5) == records[-1:]


# -- a broker that dies, stands still, doubles or loses


async def in_the_end(work: Callable[[], Awaitable[T]]) -> T:
    """What it gives: a broker that was killed loads its topics one by one, and refuses for longer than it takes to be
    ready. Repeating is what the port allows."""
    found: list[T] = []

    async def tried() -> bool:
        try:
            found.append(await work())
        except (LogUnavailable, OutcomeUnknown):
            return False
        return True

    assert await until(tried, RECOVER_S_MAX)
    return found[0]


@pytest.mark.parametrize("deduplication", [False, True])
async def test_kill_9_keeps_everything_that_was_acknowledged(
    server: Pulsar, log: PulsarLog, connect: Connect, admin: Admin, deduplication: bool
) -> None:
    await deduplicated(admin, deduplication)
    acknowledged = await opened(log, count=1)
    foreign = records_after(EMPTY, OTHER, 1)
    await log.store(foreign)
    dying = asyncio.get_running_loop().call_later(0.5, server.kill)
    records: list[Record] = []
    try:
        while True:
            records = records_after(Top.of(acknowledged[-1]), LANE, 3)
            try:
                await log.append(LANE, OWNER, records)
            except (LogUnavailable, OutcomeUnknown):
                break
            acknowledged += records
    finally:
        dying.cancel()
        server.kill()
        await server.start()
    assert len(acknowledged) > 30

    async def again() -> bool:
        try:
            await log.append(LANE, OWNER, records)
        except (LogUnavailable, OutcomeUnknown):
            return False
        return True

    assert await until(again, RECOVER_S_MAX)
    records = acknowledged + records
    more = records_after(Top.of(records[-1]), LANE, 2)
    await in_the_end(lambda: log.append(LANE, OWNER, more))
    await in_the_end(lambda: log.store(records_after(EMPTY, OTHER, 2)))
    fresh = await in_the_end(connect)
    assert await in_the_end(lambda: fresh.read(LANE, 0, 100_000)) == records + more
    assert await in_the_end(lambda: all_of(fresh, OTHER)) == records_after(EMPTY, OTHER, 2)


async def test_nobody_listens() -> None:
    with pytest.raises(LogUnavailable):
        await PulsarLog.connect(f"pulsar://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}", DC)


async def test_a_broker_that_is_gone_means_that_nothing_happened(server: Pulsar, log: PulsarLog) -> None:
    records = await opened(log, count=1)
    grown = log.follow()
    await soon(grown)
    waiting = asyncio.ensure_future(anext(grown))  # type: ignore[arg-type]
    server.kill()
    try:
        with pytest.raises(LogUnavailable):
            await asyncio.wait_for(waiting, 10)

        async def refused() -> bool:
            with pytest.raises((LogUnavailable, OutcomeUnknown)) as error:
                await appended(log, records[-1], 1)
            return isinstance(error.value, LogUnavailable)

        assert await until(refused, 10)
        for call in (log.tops(), log.read(LANE, 5, 1), log.store(records_after(EMPTY, OTHER, 1))):
            with pytest.raises(LogUnavailable):
                await call
    finally:
        await server.start()

    async def recovered() -> bool:
        try:
            await log.append(LANE, OWNER, records_after(Top.of(records[0]), LANE, 1))
        except (LogUnavailable, OutcomeUnknown):
            return False
        return True

    assert await until(recovered, RECOVER_S_MAX)
    assert await all_of(log) == records_after(EMPTY, LANE, 2)
    assert set(await soon(log.follow())) == {LANE}


async def test_a_broker_that_stands_still_leaves_the_outcome_unknown_and_acts_later(
    server: Pulsar, log: PulsarLog, connect: Connect
) -> None:
    records = await opened(log, count=1)
    more = records_after(Top.of(records[-1]), LANE, 2)
    server.pause()
    try:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                await log.append(LANE, OWNER, more)
    finally:
        server.resume()

    async def lands() -> bool:
        return (await log.tops()).get(LANE) == Top.of(more[-1])

    assert await until(lands, RECOVER_S_MAX)
    await log.append(LANE, OWNER, more)
    with pytest.raises(Forked):
        await log.append(LANE, OWNER, records_after(Top.of(records[-1]), LANE, 2, "else"))
    assert await all_of(await connect()) == records + more


async def test_a_cancelled_append_is_known_later(server: Pulsar, log: PulsarLog) -> None:
    records = await opened(log, count=1)
    more = records_after(Top.of(records[-1]), LANE, 2)
    server.pause()
    try:
        call = asyncio.ensure_future(log.append(LANE, OWNER, more))
        await asyncio.wait([call], timeout=0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    finally:
        server.resume()

    async def again() -> bool:
        try:
            await log.append(LANE, OWNER, more)
        except OutcomeUnknown:
            return False
        return True

    assert await until(again, RECOVER_S_MAX)
    assert await all_of(log) == records + more


async def shared_producer(client: driver.Client, topic: str) -> driver.Producer:
    """One that knows nothing of lanes. The broker has to see first that the lane's own one is gone."""

    async def made() -> driver.Producer | None:
        try:
            return client.create_producer(topic)
        except driver.ProducerBusy:
            return None

    producer = await until(made, RECOVER_S_MAX)
    assert producer is not None
    return producer


async def test_messages_that_stand_twice_are_read_once(connect: Connect, server: Pulsar, tenant: str) -> None:
    log = await connect()
    records = await opened(log, count=1)
    for _ in range(3):
        records += await appended(log, records[-1], 2)
    await log.close()
    client = driver.Client(server.broker_url)
    producer = await shared_producer(client, f"persistent://{tenant}/dc-1/lane-{LANE}")
    for first, last in ((2, 3), (4, 5), (2, 3)):
        state = State(1, OWNER, False, Top.of(records[last - 1]))
        producer.send(encode_frame(LANE, state, records[first - 1 : last]))
    client.close()
    for log in (await connect(), await connect()):
        assert await log.tops() == {LANE: Top.of(records[-1])}
        assert await all_of(log) == records
        top = await log.open(LANE, b"owner %d" % id(log))
        records += await appended(log, records[-1], 1, b"owner %d" % id(log))
        assert top.seq + 1 == records[-1].seq
    assert await all_of(log) == records


async def test_what_a_former_owner_still_got_in_counts_for_nothing(
    connect: Connect, server: Pulsar, tenant: str
) -> None:
    """Pulsar shuts it out; if it did not, the term would."""
    log = await connect()
    records = await opened(log, count=2)
    await log.open(LANE, NEXT_OWNER)
    await log.close()
    late = records_after(Top.of(records[-1]), LANE, 2, "late")
    client = driver.Client(server.broker_url)
    producer = await shared_producer(client, f"persistent://{tenant}/dc-1/lane-{LANE}")
    producer.send(encode_frame(LANE, State(1, OWNER, False, Top.of(late[-1])), late))
    client.close()
    log = await connect()
    assert await log.tops() == {LANE: Top.of(records[-1])}
    await log.open(LANE, b"a third")
    records += await appended(log, records[-1], 1, b"a third")
    for reader in (log, await connect()):
        assert await all_of(reader) == records


async def test_a_log_that_lost_its_end_is_noticed_by_its_writer(connect: Connect, admin: Admin) -> None:
    log = await connect()
    records = await opened(log, count=3)
    path = f"/persistent/{admin.tenant}/dc-1/lane-{LANE}"
    await admin.ask("DELETE", f"{path}?force=true")
    await admin.make_topic("dc-1", f"lane-{LANE}")

    async def noticed() -> bool:
        try:
            await appended(log, records[-1], 1)
        except (LogUnavailable, OutcomeUnknown):
            return False
        except (Corrupt, LaneLost):
            return True
        raise AssertionError("it went on behind an end that is gone")

    assert await until(noticed, RECOVER_S_MAX)


async def test_an_end_that_is_gone_is_noticed_at_the_next_write(connect: Connect) -> None:
    log = await connect()
    records = await opened(log, count=3)
    log._lanes[LANE].topic.at = Place(0, 0)  # a message that the broker does not have
    with pytest.raises(Corrupt):
        await appended(log, records[-1], 1)


async def test_a_hole_in_a_topic_is_no_lane(connect: Connect, server: Pulsar, tenant: str) -> None:
    log = await connect()
    records = await opened(log, count=2)
    follower = await connect()
    assert await all_of(follower) == records
    await log.close()
    later = records_after(Top.of(records[-1]), LANE, 4)[2:]
    client = driver.Client(server.broker_url)
    producer = await shared_producer(client, f"persistent://{tenant}/dc-1/lane-{LANE}")
    producer.send(encode_frame(LANE, State(1, OWNER, False, Top.of(later[-1])), later))
    client.close()
    assert await follower.tops() == {}
    with pytest.raises(Corrupt):
        await (await connect()).read(LANE, 0, 10)


async def test_foreign_bytes_in_a_topic_stop_its_writer_and_no_other_lane(
    connect: Connect, server: Pulsar, tenant: str
) -> None:
    log = await connect()
    await opened(log, count=1)
    await log.close()
    client = driver.Client(server.broker_url)
    producer = await shared_producer(client, f"persistent://{tenant}/dc-1/lane-{LANE}")
    producer.send(b"hello")
    client.close()
    log = await connect()
    with pytest.raises(Corrupt):
        await log.open(LANE, NEXT_OWNER)
    later = Lane(DC, Lane.of(LANE).incarnation + 1, 0).number
    records = await opened(log, later, count=2)
    assert await log.tops() == {later: Top.of(records[-1])}


async def test_ids_keep_all_63_bits(log: PulsarLog, connect: Connect) -> None:
    record = replace(records_after(EMPTY, LANE, 1)[0], id=(1 << 63) - 1)
    await log.open(LANE, OWNER)
    await log.append(LANE, OWNER, [record])
    assert (await (await connect()).tops())[LANE].id == (1 << 63) - 1
