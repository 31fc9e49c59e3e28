"""`planb doctor` on real servers: MariaDB, Cassandra, Pulsar, etcd, SeaweedFS, and the double of TDengine."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncmy
import pytest

from cli import objects
from cli.checks import storage
from cli.checks.notes import Notes
from cli.settings import Settings
from core.errors import ConfigError, Unavailable
from core.system import entropy, wall_clock_ms
from deploy.local.mariadb import USER, MariaDB
from events.adapters.pulsar_admin import Admin
from stores.adapters import mysql_migrations
from stores.adapters.etcd_gateway import EtcdGateway, EtcdPlace, beyond, encoded
from stores.adapters.memory_objects import MemoryObjects
from stores.adapters.mysql_relational import MysqlRelationalStore
from stores.adapters.mysql_session import MysqlPlace, _rights
from stores.adapters.s3_objects import S3Objects
from tests.support import cassandra as keyspaces
from tests.support.etcd import Etcd, etcd_at
from tests.support.examined import all_ok, found, settings_of, silent, worst
from tests.support.mysql import Databases
from tests.support.pulsar import fresh_tenant
from tests.support.s3 import BUCKET, Proxy, credentials_of
from tests.support.servers import needs, started
from tests.support.shared import CassandraNode, PulsarCluster
from tests.support.tdengine import PASSWORD, TDengine
from tests.support.tdengine import USER as TDENGINE_USER

pytestmark = pytest.mark.integration


def secret(folder: Path, text: str) -> str:
    path = folder / f"secret-{uuid.uuid4().hex}"
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)


# -- MariaDB


async def test_mariadb_from_no_tables_to_the_newest_and_a_newer_program(
    tmp_path: Path, mysql_databases: Databases
) -> None:
    server, name = mysql_databases.server, await mysql_databases.created()
    settings = settings_of(
        tmp_path,
        stores__relational_url=f"mysql://{USER}@127.0.0.1:{server.port}/{name}",
        secrets__mysql_password_file=secret(tmp_path, server.password),
    )
    before = await found(settings, "relational")
    assert all_ok(before)
    assert "MariaDB 10." in before[0].fact and "READ COMMITTED" in before[0].fact
    assert before[1].fact == "no tables yet: they are made by the first start"
    await (await MysqlRelationalStore.open(mysql_databases.place(name), clock=wall_clock_ms)).close()
    assert (await found(settings, "relational"))[1].fact == f"schema {mysql_migrations.NEWEST}, the newest"
    connection = await asyncmy.connect(
        host="127.0.0.1", port=server.port, user=USER, password=server.password, database=name, autocommit=True
    )
    async with connection.cursor() as cursor:
        await cursor.execute(f"UPDATE {mysql_migrations.VERSION_TABLE} SET version_num = '9999'")
        await connection.ensure_closed()
    newer = worst(await found(settings, "relational"))
    assert newer.exit_code == ConfigError.exit_code and "schema 9999" in newer.fact


@pytest.mark.parametrize(
    ("database", "password", "said"),
    [("planb", "wrong", "secrets.mysql_password_file"), ("planb_nowhere", "", "CREATE DATABASE")],
)
async def test_mariadb_that_does_not_let_us_in(
    tmp_path: Path, mariadb: MariaDB, database: str, password: str, said: str
) -> None:
    one = worst(await found(settings_of(
        tmp_path,
        stores__relational_url=f"mysql://{USER}@127.0.0.1:{mariadb.port}/{database}",
        secrets__mysql_password_file=secret(tmp_path, password or mariadb.password),
    ), "relational"))  # fmt: skip
    assert one.exit_code == ConfigError.exit_code and said in one.fix, one
    assert mariadb.password not in one.fact


@pytest.fixture
def careless_mariadb(tmp_path: Path) -> Iterator[MariaDB]:
    needs("mariadb")
    with started(MariaDB(tmp_path / "server", options=("--innodb-flush-log-at-trx-commit=2",))) as server:
        yield server


async def test_mariadb_that_could_lose_something_and_one_that_is_stopped(
    tmp_path: Path, careless_mariadb: MariaDB
) -> None:
    server = careless_mariadb
    settings = settings_of(
        tmp_path,
        stores__relational_url=f"mysql://{USER}@127.0.0.1:{server.port}/planb",
        secrets__mysql_password_file=secret(tmp_path, server.password),
    )
    unfit = worst(await found(settings, "relational"))
    assert unfit.exit_code == ConfigError.exit_code and "innodb_flush_log_at_trx_commit has to be 1" in unfit.fact
    server.pause()
    down = worst(await found(settings, "relational"))
    server.resume()
    assert down.exit_code == Unavailable.exit_code and "does not answer" in down.fact


def test_rights_are_read_from_grants() -> None:
    place = MysqlPlace("h", 1, "planb", "planb_fra")
    grants = (
        "GRANT USAGE ON *.* TO `planb`@`%` IDENTIFIED BY PASSWORD '*X'",
        r"GRANT SELECT, INSERT ON `planb\_fra`.* TO `planb`@`%`",
        "GRANT DROP ON `planb%`.* TO `planb`@`%`",
        "GRANT ALL PRIVILEGES ON `other`.* TO `planb`@`%`",
    )
    assert _rights(grants, place) == {"USAGE", "SELECT", "INSERT", "DROP"}


# -- Cassandra


def on_cassandra(folder: Path, node: CassandraNode, keyspace: str, **more: Any) -> Settings:
    return settings_of(
        folder,
        stores__messages_url=f"cassandra://{node.host}:{node.port}/{keyspace}",
        stores__cassandra__local_datacenter=more.pop("datacenter", node.datacenter),
        **more,
    )


async def test_cassandra_its_copies_and_its_schema(tmp_path: Path, cassandra: CassandraNode) -> None:
    keyspaces.use(cassandra)
    place = keyspaces.place_of(f"doctor_{uuid.uuid4().hex[:12]}")
    settings = on_cassandra(tmp_path, cassandra, place.keyspace)
    missing = worst(await found(settings, "messages"))
    assert missing.exit_code == ConfigError.exit_code and f"CREATE KEYSPACE {place.keyspace}" in missing.fix
    await keyspaces.make_keyspace(place)
    findings = await found(settings, "messages")
    assert [one.state for one in findings] == ["ok", "warning", "ok"], findings
    assert findings[0].fact.startswith("Cassandra 5.0")
    assert "1 copy in dc1, LOCAL_QUORUM: no node may be down" in findings[1].fact
    assert "ALTER KEYSPACE" in findings[1].fix
    assert "schema none" in findings[2].fact
    elsewhere = worst(await found(on_cassandra(tmp_path, cassandra, place.keyspace, datacenter="dc9"), "messages"))
    assert elsewhere.exit_code == ConfigError.exit_code and "has no 'dc9', but dc1" in elsewhere.fact
    async with keyspaces.asked(place) as session:
        await session.run(
            f"ALTER KEYSPACE {place.keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', 'dc1': 3}}"
        )
    three = await found(settings, "messages")
    assert three[1].state == "ok" and three[1].fact == "3 copies in dc1, LOCAL_QUORUM"
    weak = worst(await found(
        on_cassandra(tmp_path, cassandra, place.keyspace, stores__cassandra__consistency="LOCAL_ONE"), "messages"
    ))  # fmt: skip
    assert weak.exit_code == ConfigError.exit_code and "LOCAL_QUORUM" in weak.fix


# -- Pulsar


async def test_pulsar_before_and_after_the_first_start_and_with_what_expires(
    tmp_path: Path, pulsar: PulsarCluster
) -> None:
    tenant = fresh_tenant()
    settings = settings_of(
        tmp_path,
        stores__log_url=pulsar.broker_url,
        stores__pulsar={"admin_url": pulsar.admin_url, "tenant": tenant},
    )
    before = await found(settings, "log")
    assert all_ok(before), before
    assert before[0].fact.startswith("Pulsar 4.0")
    assert any("let us in" in one.fact for one in before)
    assert sum("the first start makes it" in one.fact for one in before) == 2
    admin = Admin(pulsar.admin_url, tenant)
    try:
        cluster = await admin.cluster()
        assert await admin.topics("dc-1") == [], "nothing was made"
        for namespace in ("dc-1", "copies-1"):
            await admin.make_namespace(namespace, [cluster])
        after = await found(settings, "log")
        assert all_ok(after) and f"{tenant}/dc-1: nothing expires, 0 lanes" in [one.fact for one in after]
        assert await admin.topics("dc-1") == [], "asking about a topic makes none"
        await admin.ask("POST", f"/namespaces/{tenant}/dc-1/messageTTL", 60)
        one = worst(await found(settings, "log"))
        assert one.exit_code == ConfigError.exit_code and "messages expire after 60 s" in one.fact
        assert one.fix == f"pulsar-admin namespaces set-message-ttl {tenant}/dc-1 -ttl 0"
    finally:
        await admin.close()


async def test_who_takes_connections_and_says_nothing_is_down(tmp_path: Path) -> None:
    """As the kernel of a process that was stopped does."""
    async with silent() as port:
        settings = settings_of(
            tmp_path,
            stores__log_url=f"pulsar://127.0.0.1:{port}",
            stores__pulsar={"admin_url": f"http://127.0.0.1:{port}"},
            stores__messages_url=f"cassandra://127.0.0.1:{port}/planb",
            stores__cassandra__local_datacenter="dc1",
        )
        both = await asyncio.gather(found(settings, "log"), found(settings, "messages"))
    for findings in both:
        assert {one.exit_code for one in findings if one.state == "problem"} == {Unavailable.exit_code}, findings


# -- etcd


async def test_etcd_its_lease_and_who_is_there(tmp_path: Path, etcd: Etcd) -> None:
    prefix = f"doctor-{uuid.uuid4().hex}"
    settings = settings_of(tmp_path, coordination={"etcd_endpoints": [etcd.url], "etcd_prefix": prefix})
    findings = await found(settings, "processes")
    assert all_ok(findings)
    assert findings[0].fact.startswith("etcd 3.5")
    assert "a lease of 10 s is granted for 10 s and renewed" in findings[1].fact
    assert findings[2].fact == f"{prefix}/fra/: nobody runs it"
    gateway = EtcdGateway(EtcdPlace([etcd.url]))
    left = await gateway.call("/v3/kv/range", {"key": encoded(prefix), "range_end": beyond(prefix)})
    await gateway.close()
    assert "kvs" not in left, "the probe went with its lease"
    user = {"etcd_user": "nobody", "etcd_password_file": secret(tmp_path, "x")}
    refused = worst(await found(
        settings_of(tmp_path, coordination={"etcd_endpoints": [etcd.url], **user}), "processes"
    ))  # fmt: skip
    assert refused.exit_code == ConfigError.exit_code and "coordination.etcd_user" in refused.fix


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[Etcd]:
    with etcd_at(tmp_path / "etcd") as server:
        yield server


async def test_etcd_that_is_stopped(tmp_path: Path, own_etcd: Etcd) -> None:
    settings = settings_of(tmp_path, coordination={"etcd_endpoints": [own_etcd.url]})
    own_etcd.pause()
    one = worst(await found(settings, "processes"))
    own_etcd.resume()
    assert one.exit_code == Unavailable.exit_code and own_etcd.url in one.fact
    assert all_ok(await found(settings, "processes"))


# -- S3


def on_s3(folder: Path, server: Any, url: str = "", bucket: str = BUCKET, credentials: str = "") -> Settings:
    return settings_of(
        folder,
        stores__objects_dir=None,
        stores__objects_url=f"s3://{bucket}/doctor-{uuid.uuid4().hex}",
        stores__s3={"endpoint_url": url or server.url, "region": "us-east-1"},
        secrets__s3_credentials_file=credentials or str(credentials_of(server, folder)),
    )


async def test_s3_takes_a_probe_and_what_is_missing_or_refused_is_named(tmp_path: Path, seaweedfs: Any) -> None:
    settings = on_s3(tmp_path, seaweedfs)
    findings = await found(settings, "objects")
    assert all_ok(findings), findings
    assert "made by the first start" in findings[0].fact
    assert "a probe was put, once only, read and deleted again" in findings[1].fact
    store = S3Objects(objects.s3_place(settings), entropy)
    await store.check(create=True)
    (marked,) = await found(settings, "objects")
    assert marked.state == "ok" and "read, listed and deleted again" in marked.fact
    assert [key async for key in store.list("")] == []
    await store.close()
    absent = worst(await found(on_s3(tmp_path, seaweedfs, bucket="nobodys"), "objects"))
    assert absent.exit_code == ConfigError.exit_code and "create-bucket" in absent.fix
    bad = secret(tmp_path, "[default]\naws_access_key_id = planb\naws_secret_access_key = wr0ng\n")
    refused = worst(await found(on_s3(tmp_path, seaweedfs, credentials=bad), "objects"))
    assert refused.exit_code == ConfigError.exit_code and "secrets.s3_credentials_file" in refused.fix
    assert "wr0ng" not in refused.fact


async def test_s3_that_may_only_be_read_and_one_that_is_gone(tmp_path: Path, seaweedfs: Any) -> None:
    proxy = Proxy(seaweedfs.url)
    await proxy.open()
    try:
        settings = on_s3(tmp_path, seaweedfs, proxy.url)
        proxy.on("PUT", "probe-", status=403, code="AccessDenied", times=100)
        one = worst(await found(settings, "objects"))
        assert one.state == "problem" and "AccessDenied" in one.fact and "s3_credentials_file" in one.fix
    finally:
        await proxy.close()
    gone = worst(await found(settings, "objects"))
    assert gone.exit_code == Unavailable.exit_code and "start it" in gone.fix


async def test_storage_that_ignores_conditions_is_found_out() -> None:
    class Overwriting(MemoryObjects):
        async def put_new(self, key: str, data: bytes) -> bool:
            fresh = not await self.exists(key)
            await self.put(key, data)
            return fresh

    class Promising(MemoryObjects):
        async def put_new(self, key: str, data: bytes) -> bool:
            await super().put_new(key, data)
            return True

    for store in (Overwriting(), Promising()):
        notes = Notes("objects")
        await storage._tried(store, "s3://x", True, notes)
        (one,) = notes.found
        assert one.exit_code == ConfigError.exit_code and "ignores conditional puts" in one.fact


# -- TDengine


async def test_tdengine_and_its_password(tmp_path: Path) -> None:
    server = TDengine()
    await server.open()
    try:
        told = {"tdengine_url": server.url, "tdengine_user": TDENGINE_USER}
        good, bad = secret(tmp_path, PASSWORD), secret(tmp_path, "wr0ng")
        (one,) = await found(settings_of(tmp_path, series=told, secrets__tdengine_password_file=good), "series")
        assert one.state == "ok" and server.url in one.fact
        refused = worst(await found(settings_of(tmp_path, series=told, secrets__tdengine_password_file=bad), "series"))
        assert refused.state == "problem" and "wr0ng" not in refused.fact
    finally:
        await server.close()
    gone = worst(await found(settings_of(tmp_path, series=told, secrets__tdengine_password_file=good), "series"))
    assert gone.exit_code == Unavailable.exit_code
