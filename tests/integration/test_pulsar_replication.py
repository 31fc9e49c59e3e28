"""Two Pulsar clusters whose geo-replication brings lanes from one datacenter's log towards the other's."""

import asyncio
import base64
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import pulsar as driver
import pytest

from cli.waiting import until
from core.errors import LogUnavailable
from core.ids import Lane
from deploy.local.pulsar import Pulsar, PulsarPair
from events.adapters import pulsar_clusters as clusters
from events.adapters.pulsar import PulsarLog
from events.adapters.pulsar_admin import Admin
from events.adapters.pulsar_clusters import Cluster
from events.adapters.pulsar_feed import PulsarFeed
from events.adapters.pulsar_frame import State, encode_frame
from events.ports import Top
from events.record import Record
from events.signing import Signer, Verifier
from replicator.intake import Intake
from tests.support.bad_days import planb
from tests.support.pulsar import fresh_tenant
from tests.support.servers import needs
from tests.support.signed_lanes import EMPTY, SEED, groups

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]
ARRIVES_S_MAX = 60.0
GAVE_UP_S_MAX = 120.0
"""A replicator waits for up to a minute before it connects again."""
OWNER = b"process"
VERIFIER = Verifier({number: Signer(SEED).public for number in (1, 2)})


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulsarPair]:
    needs("java", "pulsar")
    pair = PulsarPair(tmp_path_factory.mktemp("pulsars"))
    try:
        asyncio.run(pair.start())
        yield pair
    finally:
        pair.kill()


class Side(NamedTuple):
    """One datacenter: its cluster, its log, and what comes in."""

    number: int
    server: Pulsar
    admin: Admin
    log: PulsarLog
    feed: PulsarFeed
    intake: Intake

    @property
    def cluster(self) -> Cluster:
        return Cluster(self.server.name, self.server.broker_url, self.server.admin_url)

    def lane(self, worker: int = 0) -> int:
        return Lane(self.number, 0, worker).number


@pytest.fixture
async def sides(pair: PulsarPair) -> AsyncIterator[list[Side]]:
    tenant = fresh_tenant()
    async with contextlib.AsyncExitStack() as stack:
        yield [await side(stack, number, server, tenant) for number, server in enumerate(pair.members, 1)]


async def side(stack: contextlib.AsyncExitStack, number: int, server: Pulsar, tenant: str) -> Side:
    """Closed with the stack."""
    log = await PulsarLog.connect(server.broker_url, server.admin_url, number, tenant=tenant)
    stack.push_async_callback(log.close)
    feed = PulsarFeed(server.broker_url, server.admin_url, {"other": 3 - number}, tenant=tenant)
    stack.push_async_callback(feed.close)
    admin = Admin(server.admin_url, tenant)
    stack.push_async_callback(admin.close)
    live = frozenset(Lane(number, 0, worker).number for worker in range(9))
    return Side(number, server, admin, log, feed, Intake(log, VERIFIER, lambda: live))


async def connect(one: Side, other: Side) -> None:
    for here, there in ((one, other), (other, one)):
        await clusters.add(here.admin, here.number, there.number, there.cluster)


@contextlib.asynccontextmanager
async def feeding(*sides: Side) -> AsyncIterator[None]:
    for side in sides:
        await side.intake.load()
    tasks = [asyncio.create_task(side.feed.run(side.intake.take)) for side in sides]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def written(side: Side, after: Top, count: int, worker: int = 0) -> list[Record]:
    """Groups of two, appended to a lane that is open."""
    lane = side.lane(worker)
    records = groups([2] * count, after=after, lane=lane)
    for at in range(0, 2 * count, 2):
        await side.log.append(lane, OWNER, records[at : at + 2])
    return records


async def arrived(side: Side, records: list[Record]) -> None:
    """All of this lane is durably in the side's own log, byte by byte."""
    lane = records[0].lane

    async def there() -> bool:
        return (await side.log.tops()).get(lane) == Top.of(records[-1])

    assert await until(there, ARRIVES_S_MAX), f"{await side.log.tops()} {side.feed.error} {side.intake.lanes()}"
    assert await side.log.read(lane, 0, 100_000) == records


async def test_lanes_arrive_both_ways_also_new_ones_and_what_was_there_before(sides: list[Side]) -> None:
    a, b = sides
    await a.log.open(a.lane(), OWNER)
    before = await written(a, EMPTY, 20)
    await connect(a, b)
    async with feeding(a, b):
        await b.log.open(b.lane(), OWNER)
        theirs = await written(b, EMPTY, 20)
        ours = before + await written(a, Top.of(before[-1]), 20)
        await arrived(b, ours)
        await arrived(a, theirs)
        await a.log.open(a.lane(1), OWNER)
        await arrived(b, await written(a, EMPTY, 5, worker=1))
        # A new owner is shut out by nobody, and shuts out no replicator.
        await a.log.open(a.lane(), b"next")
        more = groups([3], after=Top.of(ours[-1]), lane=a.lane())
        await a.log.append(a.lane(), b"next", more)
        await arrived(b, ours + more)
    assert await clusters.incoming(b.admin, a.number) == [] == await clusters.outgoing(a.admin, a.number, "b")


async def test_a_cluster_that_is_gone_costs_the_other_nothing_and_gets_all_when_it_is_back(sides: list[Side]) -> None:
    a, b = sides
    await connect(a, b)
    async with feeding(a, b):
        await a.log.open(a.lane(), OWNER)
        records = await written(a, EMPTY, 3)
        await arrived(b, records)
        b.server.pause()
        try:
            records += await written(a, Top.of(records[-1]), 30)
            assert (await clusters.outgoing(a.admin, a.number, "b"))[0].messages >= 1
        finally:
            b.server.resume()
        await arrived(b, records)
        b.server.kill()
        try:
            records += await written(a, Top.of(records[-1]), 30)
        finally:
            await b.server.start()
        await arrived(b, records)


async def test_what_a_replicator_drops_doubles_and_forges_is_seen_and_mended(sides: list[Side]) -> None:
    a, b = sides
    await connect(a, b)
    records = groups([2] * 10, lane=a.lane())
    forged = groups([2] * 10, lane=a.lane(), tag="forged", seed=b"x" * 32)
    client = driver.Client(b.server.broker_url)
    try:
        producer = client.create_producer(f"persistent://{b.admin.tenant}/dc-1/lane-{a.lane()}")

        def sent(of: list[Record], *numbers: int) -> None:
            for number in numbers:
                group = of[2 * number : 2 * number + 2]
                producer.send(encode_frame(a.lane(), State(1, OWNER, False, Top.of(group[-1])), group))

        async with feeding(b):
            sent(forged, 0, 1)
            sent(records, 0, 1, 1, 0)
            producer.send(b"none of ours")
            sent(records, 2, 5, 7, 6, 2)
            await arrived(b, records[:6])

            async def waits() -> bool:
                return b.intake.waiting >= 6

            assert await until(waits, ARRIVES_S_MAX)
            await b.intake.take(records[6:10])  # the hole, from wherever it was found
            await arrived(b, records[:16])
            assert b.intake.forked(a.lane()) == ""
            sent(records, 8, 9)
            await arrived(b, records)
    finally:
        client.close()


async def test_what_could_not_be_stored_comes_again(sides: list[Side]) -> None:
    a, b = sides
    await connect(a, b)
    await a.log.open(a.lane(), OWNER)
    records = await written(a, EMPTY, 3)
    await b.intake.load()
    refused = 0

    async def take(found: list[Record]) -> object:
        nonlocal refused
        if refused < 2:
            refused += 1
            raise LogUnavailable
        return await b.intake.take(found)

    feeding = asyncio.create_task(b.feed.run(take))  # type: ignore[arg-type]
    try:
        await arrived(b, records)
        assert refused == 2
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)


async def test_a_cluster_that_lost_everything_gets_lanes_again_when_it_is_added_again(sides: list[Side]) -> None:
    a, b = sides
    await connect(a, b)
    await a.log.open(a.lane(), OWNER)
    async with feeding(b):
        records = await written(a, EMPTY, 3)
        await arrived(b, records)
    b.server.kill()
    records += await written(a, Top.of(records[-1]), 3)
    shutil.rmtree(b.server.folder)
    await b.server.start()

    async def gave_up() -> bool:
        """Its replicator met a cluster without the namespace; it tries no more."""
        return b"Closed producer because get an error that does not support to retry" in a.server.said()

    assert await until(gave_up, GAVE_UP_S_MAX)
    async with contextlib.AsyncExitStack() as stack:
        new = await side(stack, b.number, b.server, a.admin.tenant)
        await clusters.add(new.admin, new.number, a.number, a.cluster)
        await clusters.add(a.admin, a.number, new.number, new.cluster)
        await stack.enter_async_context(feeding(new))
        await arrived(new, records)
        records += await written(a, Top.of(records[-1]), 3)
        await arrived(new, records)


def settings_of(side: Side, other: Side, folder: Path) -> str:
    """A file of this datacenter's."""
    names = {1: "fra", 2: "iad"}
    key = base64.b64encode(bytes(32)).decode()
    path = folder / f"{names[side.number]}.toml"
    path.write_text(
        f"""
[dc]
name = "{names[side.number]}"
number = {side.number}
[public]
port = 1
[sys]
port = 2
[stores]
data_dir = "{folder}"
objects_dir = "{folder}"
log_url = "{side.server.broker_url}"
hot_url = "redis://127.0.0.1:1/0"
pulsar = {{ admin_url = "{side.server.admin_url}", tenant = "{side.admin.tenant}" }}
[secrets]
token_key_file = "{folder}/none"
sys_key_file = "{folder}/none"
signing_key_file = "{folder}/none"
[peers.{names[other.number]}]
number = {other.number}
sys_url = "http://127.0.0.1:3"
public_key = "{key}"
[peers.{names[other.number]}.pulsar]
cluster = "{other.server.name}"
broker_url = "{other.server.broker_url}"
admin_url = "{other.server.admin_url}"
"""
    )
    return str(path)


async def test_an_operator_adds_a_datacenter_and_removes_it_when_nothing_is_left_behind(
    sides: list[Side], tmp_path: Path
) -> None:
    a, b = sides
    fra, iad = settings_of(a, b, tmp_path), settings_of(b, a, tmp_path)
    for _ in range(2):
        added = await planb("dc", "add", "iad", "--config", fra, "--json")
        assert (added.code, added.json["lanes_are_in"]) == (0, ["a", "b"]), added
    added = await planb("dc", "add", "fra", "--config", iad, "--json")
    assert (added.code, added.json["lanes_are_in"]) == (0, ["a", "b"]), added
    assert (await planb("dc", "add", "nrt", "--config", fra)).code == 4
    await a.log.open(a.lane(), OWNER)
    async with feeding(b):
        records = await written(a, EMPTY, 2)
        await arrived(b, records)
        b.server.pause()
        try:
            records += await written(a, Top.of(records[-1]), 3)
            refused = await planb("dc", "remove", "iad", "--config", fra, "--json")
        finally:
            b.server.resume()
        assert refused.code == 5, refused
        assert "iad has not got 3 groups of fra/0.0" in refused.json["detail"]
        await arrived(b, records)

    async def removed() -> bool:
        return (await planb("dc", "remove", "iad", "--config", fra, "--json")).code == 0

    assert await until(removed, ARRIVES_S_MAX)
    assert await clusters.replicated(a.admin, a.number) == ["a"]
    assert await clusters.replicated(b.admin, b.number) == ["a", "b"]


async def test_what_came_and_was_not_taken_is_named_before_a_datacenter_is_removed(
    sides: list[Side], tmp_path: Path
) -> None:
    a, b = sides
    await connect(a, b)
    await a.log.open(a.lane(), OWNER)
    async with feeding(b):
        records = await written(a, EMPTY, 2)
        await arrived(b, records)
    await written(a, Top.of(records[-1]), 2)

    async def here() -> bool:
        return [(one.lane, one.messages) for one in await clusters.incoming(b.admin, a.number)] == [(a.lane(), 2)]

    assert await until(here, ARRIVES_S_MAX), await clusters.incoming(b.admin, a.number)
    iad = settings_of(b, a, tmp_path)
    refused = await planb("dc", "remove", "fra", "--config", iad, "--json")
    assert refused.code == 5, refused
    assert "2 groups of fra/0.0 are here and not taken yet" in refused.json["detail"]
    assert (await planb("dc", "remove", "fra", "--config", iad, "--json", "--lose")).code == 0
