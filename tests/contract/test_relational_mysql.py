"""What is MySQL's and MariaDB's own in the relational store: migrations, deadlocks, a server that is down or unfit."""

import asyncio
import contextlib
import datetime
import ipaddress
import random
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cli.waiting import until
from core import limits
from core.errors import ConfigError, Overloaded, StoreUnavailable, Undecodable
from core.tables import TABLES
from deploy.local.mariadb import MariaDB
from stores.adapters import mysql_migrations as migrations
from stores.adapters import sql_statements as sql
from stores.adapters.cells import STORED
from stores.adapters.mysql_dialect import MYSQL
from stores.adapters.mysql_engine import MysqlEngine
from stores.adapters.mysql_engine import opened as connection_to
from stores.adapters.mysql_relational import MysqlRelationalStore
from stores.adapters.mysql_session import MysqlPlace
from stores.adapters.sql_relational import Step
from stores.adapters.sql_tables import METADATA
from stores.ports import Mark
from tests.support.mysql import Databases, created, raw
from tests.support.servers import needs
from tests.support.store_writer import LANE, effects_of
from tests.support.stores import NOW_MS, batch, dumped, id_at, reference, write

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


async def opened(place: MysqlPlace) -> MysqlRelationalStore:
    return await MysqlRelationalStore.open(place, clock=lambda: NOW_MS)


@pytest.fixture
async def place(mysql_databases: Databases) -> AsyncIterator[MysqlPlace]:
    async with mysql_databases.fresh() as found:
        yield found


@pytest.fixture
async def store(place: MysqlPlace) -> AsyncIterator[MysqlRelationalStore]:
    store = await opened(place)
    yield store
    await store.close()


# -- migrations


async def test_the_migrations_make_the_tables_that_are_described(mysql_databases: Databases) -> None:
    migrated = mysql_databases.place(await mysql_databases.created())
    described = mysql_databases.place(await mysql_databases.created())
    await (await opened(migrated)).close()
    async with raw(described) as cursor:
        for table in METADATA.sorted_tables:
            for statement in created(table):
                await cursor.execute(statement)

    async def shown(place: MysqlPlace) -> dict[str, set[str]]:
        found = {}
        async with raw(place) as cursor:
            for table in METADATA.sorted_tables:
                await cursor.execute(f"SHOW CREATE TABLE {table.name}")
                ((_, text),) = await cursor.fetchall()
                found[table.name] = {line.strip().rstrip(",") for line in text.splitlines()}
        return found

    assert await shown(migrated) == await shown(described)


async def test_processes_that_start_together_migrate_once(mysql_databases: Databases) -> None:
    place = mysql_databases.place(await mysql_databases.created())
    assert not await MysqlRelationalStore.is_there(place)
    stores = await asyncio.gather(*(opened(place) for _ in range(4)))
    assert await MysqlRelationalStore.is_there(place)
    await asyncio.gather(
        *(store.apply(batch([write(n, "users", f"U{n}", {"name": "a"})])) for n, store in enumerate(stores, 1))
    )
    assert len(await dumped(stores[0], "users")) == 4
    for store in stores:
        await store.close()


async def test_a_migration_that_died_in_the_middle_is_done_again(mysql_databases: Databases) -> None:
    place = mysql_databases.place(await mysql_databases.created())
    await (await opened(place)).close()
    async with raw(place) as cursor:
        await cursor.execute(f"DELETE FROM {migrations.VERSION_TABLE}")
        await cursor.execute("DROP TABLE users")
    store = await opened(place)
    await store.apply(batch([write(5, "users", "Ua", {"name": "a"})]))
    await store.close()
    assert await migrations.version(place) == migrations.NEWEST


async def test_a_database_of_a_newer_program_is_refused_by_its_number(mysql_databases: Databases) -> None:
    place = mysql_databases.place(await mysql_databases.created())
    await (await opened(place)).close()
    async with raw(place) as cursor:
        await cursor.execute(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '0999'")
    with pytest.raises(ConfigError, match=f"schema 0999; this program knows {migrations.NEWEST}"):
        await opened(place)


# -- the server


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("innodb_flush_log_at_trx_commit = 2", "innodb_flush_log_at_trx_commit has to be 1"),
        ("max_connections = 10", "connections = 8 of each process"),
        ("max_allowed_packet = 1048576", "max_allowed_packet has to be 16777216"),
    ],
)
async def test_a_server_that_breaks_a_promise_is_refused_by_name(tmp_path: Path, setting: str, named: str) -> None:
    name, _, value = setting.partition(" = ")
    option = f"--{name.replace('_', '-')}={value}"
    async with own_server(tmp_path, option) as (_, place):
        with pytest.raises(ConfigError, match=named) as refused:
            await opened(place._replace(connections=8))
        assert refused.value.exit_code == 8


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A key and a certificate that it has signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin.replace(year=2100))
    signed = made.add_extension(address, critical=False).sign(key, hashes.SHA256())
    files = folder / "server.key", folder / "server.pem"
    plain = serialization.NoEncryption()
    files[0].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    files[1].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return files


async def test_tls_is_spoken_to_the_host_that_was_named_alone(tmp_path: Path) -> None:
    key, pem = certificate(tmp_path, "127.0.0.1")
    async with own_server(tmp_path, f"--ssl-key={key}", f"--ssl-cert={pem}") as (_, place):
        async with connection_to(place._replace(tls=True, ca_file=pem)) as connection, connection.cursor() as cursor:
            await cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            assert (await cursor.fetchone())[1]
        with pytest.raises(StoreUnavailable):
            await opened(place._replace(tls=True))  # nobody whom this machine trusts has signed it
        (tmp_path / "other").mkdir()
        _, other = certificate(tmp_path / "other", "127.0.0.1")
        with pytest.raises(StoreUnavailable):
            await opened(place._replace(tls=True, ca_file=other))
        with pytest.raises(ConfigError, match="ca_file"):
            await opened(place._replace(tls=True, ca_file=tmp_path / "none"))
        store = await opened(place._replace(tls=True, ca_file=pem))
        await store.apply(batch([write(5, "users", "Ua", {"name": "a"})]))
        assert len(await dumped(store, "users")) == 1
        await store.close()


async def test_a_wrong_password_and_an_absent_database_are_for_the_operator(
    mysql_databases: Databases, place: MysqlPlace, tmp_path: Path
) -> None:
    (tmp_path / "wrong").write_text("wrong\n")
    with pytest.raises(ConfigError, match="Access denied"):
        await opened(place._replace(password_file=tmp_path / "wrong"))
    with pytest.raises(ConfigError, match="planb_absent"):
        await opened(mysql_databases.place("planb_absent"))
    with pytest.raises(ConfigError, match="No such file"):
        await opened(place._replace(password_file=tmp_path / "none"))


async def test_nobody_at_the_port_is_a_store_that_does_not_answer(place: MysqlPlace) -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await opened(place._replace(port=1))


@contextlib.asynccontextmanager
async def own_server(folder: Path, *options: str) -> AsyncIterator[tuple[MariaDB, MysqlPlace]]:
    """One that the test may kill."""
    needs("mariadb")
    server = MariaDB(folder / "server", options=options)
    try:
        await server.start()
        yield server, Databases(server, folder).place("planb")
    finally:
        server.kill()


async def test_a_server_that_was_killed_and_started_is_used_again(mysql_databases: Databases, tmp_path: Path) -> None:
    async with own_server(tmp_path) as (server, place):
        store = await opened(place)
        await store.apply(batch([write(5, "users", "Ua", {"name": "a"})], {7: Mark(1, 5)}))
        await asyncio.gather(*(store.frontier() for _ in range(9)))
        server.kill()
        later = batch([write(6, "users", "Ua", {"name": "b"})], {7: Mark(2, 6)})
        for call in (store.apply(later), store.frontier(), store.conflicts(), store.meta("x")):
            with pytest.raises(StoreUnavailable) as failed:
                await call
        assert "127.0.0.1" not in failed.value.detail
        await server.start()
        # Each of its connections is dead, and no call is lost to that.
        assert await asyncio.gather(*(store.frontier() for _ in range(9))) == [{7: Mark(1, 5)}] * 9
        await store.apply(later)
        assert await store.frontier() == {7: Mark(2, 6)}
        await store.close()


async def test_a_server_that_stands_still_is_given_up(
    mysql_databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with own_server(tmp_path) as (server, place):
        store = await opened(place)
        monkeypatch.setattr(limits, "SQL_ANSWER_S_MAX", 0.5)
        monkeypatch.setattr(limits, "SQL_CONNECT_S_MAX", 0.5)
        await store.frontier()
        server.pause()
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.frontier()
            with pytest.raises(StoreUnavailable):
                await store.apply(batch([], {7: Mark(1, 5)}))
        server.resume()
        monkeypatch.undo()
        await store.apply(batch([], {7: Mark(1, 5)}))
        assert await store.frontier() == {7: Mark(1, 5)}
        await store.close()


async def test_calls_beyond_the_bound_are_refused(store: MysqlRelationalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STORE_QUEUE_MAX", 3)
    calls = [*(store.frontier() for _ in range(5)), store.apply(batch([], {7: Mark(1, 5)}))]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results[:5]] == [dict, dict, dict, Overloaded, Overloaded]
    assert results[5] is None, "readers keep no batch from being applied"


async def test_a_closed_store_is_unavailable(place: MysqlPlace) -> None:
    store = await opened(place)
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.frontier()


async def test_a_server_killed_in_the_midst_of_commits_has_exactly_what_its_frontier_covers(tmp_path: Path) -> None:
    rng = random.Random(5)
    async with own_server(tmp_path) as (server, place):
        store = await opened(place)
        n = 0
        for _ in range(4):
            kill = asyncio.create_task(_killed(server, rng.uniform(0.05, 0.6)))
            while True:
                n += 1
                try:
                    await store.apply(batch(effects_of(5, n), {LANE: Mark(n, id_at(n))}))
                except StoreUnavailable:
                    break
            await kill
            await server.start()
            there = (await store.frontier()).get(LANE, Mark(0, 0)).seq
            assert there in (n - 1, n), "what was acknowledged is there, and at most what was not answered"
            effects = [effect for at in range(1, there + 1) for effect in effects_of(5, at)]
            assert {name: await dumped(store, name) for name in TABLES} == reference(effects)
            n = there - 1 if there else 0  # the log gives the last one again
        await store.close()


async def _killed(server: MariaDB, after_s: float) -> None:
    await asyncio.sleep(after_s)  # the moment of death
    server.kill()


# -- transactions


async def test_a_deadlock_is_done_again_as_a_whole(store: MysqlRelationalStore, place: MysqlPlace) -> None:
    await store.apply(batch([write(1, "users", name, {"name": "a"}) for name in ("Ua", "Ub")]))
    async with raw(place) as cursor, asyncio.timeout(30):
        await cursor.execute("SET innodb_lock_wait_timeout = 20")
        await cursor.execute("BEGIN")
        # More work done than ours: the server chooses the other one.
        await cursor.execute("INSERT INTO parked VALUES " + ", ".join(f"({n}, 1, 1, '')" for n in range(500)))
        await cursor.execute("UPDATE users SET about = 'x' WHERE user = 'Ub'")
        ours = asyncio.create_task(
            store.apply(batch([write(2, "users", name, {"name": "b"}) for name in ("Ua", "Ub")], {7: Mark(1, 2)}))
        )
        await _until_somebody_waits(place)
        await cursor.execute("UPDATE users SET about = 'x' WHERE user = 'Ua'")  # closes the circle
        await cursor.execute("COMMIT")
        await ours
        await cursor.execute("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
        assert int((await cursor.fetchall())[0][1]) > 0
    found = await dumped(store, "users")
    assert [(row["name"], row["name_at"]) for row in found] == [("b", 2)] * 2
    assert await store.frontier() == {7: Mark(1, 2)}


async def _until_somebody_waits(place: MysqlPlace) -> None:
    async def waits() -> bool:
        async with raw(place) as cursor:
            await cursor.execute(
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST"
                " WHERE DB = DATABASE() AND INFO LIKE 'INSERT INTO users%' AND TIME_MS > 300"
            )
            return bool((await cursor.fetchall())[0][0])

    assert await until(waits, 20)


async def test_a_lock_that_is_never_given_back_is_an_unavailable_store(
    store: MysqlRelationalStore, place: MysqlPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.apply(batch([write(1, "users", "Ua", {"name": "a"})]))
    monkeypatch.setattr(limits, "SQL_TRIES_MAX", 2)
    change = batch([write(2, "users", "Ua", {"name": "b"}), write(2, "users", "Ub", {"name": "b"})], {7: Mark(1, 2)})
    async with raw(place) as cursor:
        await cursor.execute("BEGIN")
        await cursor.execute("UPDATE users SET about = 'x' WHERE user = 'Ua'")
        with pytest.raises(StoreUnavailable) as failed:
            await store.apply(change)
        assert "1205" in failed.value.private
        assert await store.frontier() == {}
        await cursor.execute("ROLLBACK")
    await store.apply(change)
    assert await store.frontier() == {7: Mark(1, 2)}


async def test_two_processes_write_the_same_rows_and_the_laws_hold(place: MysqlPlace) -> None:
    stores = [await opened(place) for _ in range(2)]

    async def writes(store: MysqlRelationalStore, first: int) -> None:
        for n in range(first, 80, 2):
            names = [f"U{at}" for at in range(12)]
            await store.apply(
                batch(
                    [write(n, "users", name, {"name": f"n{n}"}) for name in (names if first else names[::-1])]
                    + [write(n, "read_marks", (name, "D1", 7), {"mark": n}) for name in names],
                    {7 + first: Mark(n + 1, n)},
                )
            )

    await asyncio.gather(writes(stores[0], 0), writes(stores[1], 1))
    assert {(row["name"], row["name_at"]) for row in await dumped(stores[0], "users")} == {("n79", 79)}
    assert {row["mark"] for row in await dumped(stores[1], "read_marks")} == {79}
    assert await stores[0].frontier() == {7: Mark(79, 78), 8: Mark(80, 79)}
    for store in stores:
        await store.close()


async def test_a_failed_statement_leaves_nothing_of_its_transaction(place: MysqlPlace) -> None:
    engine = MysqlEngine(place)
    store = await opened(place)
    put = sql.local(MYSQL).put_meta
    with pytest.raises(Exception, match="nowhere"):
        await engine.write([Step(put, [("a", "1")]), Step("DELETE FROM nowhere", [()])])
    assert await store.meta("a") is None
    await engine.write([Step(put, [("a", "2")])])
    assert await store.meta("a") == "2"
    await engine.close()
    await store.close()


async def test_what_does_not_fit_is_refused_and_not_cut(place: MysqlPlace) -> None:
    store, engine = await opened(place), MysqlEngine(place)
    put = sql.local(MYSQL).put_meta
    for name, value in (("n" * (limits.ROW_KEY_BYTES_MAX + 1), "1"), ("n", "v" * (1 << 24))):
        with pytest.raises(Undecodable):
            await engine.write([Step(put, [("fits", "1")]), Step(put, [(name, value)])])
    assert await store.meta("fits") is None
    await engine.close()
    await store.close()


# -- what a read costs


async def test_reads_meet_what_they_give(store: MysqlRelationalStore, place: MysqlPlace) -> None:
    """By the server's own count of rows that it looked at; the optimizer decides by what is in the table."""
    for chat in range(3):
        effects = [write(n, "members", (f"G{chat}", f"U{n}"), {"role": "m" if n % 10 else "a"}) for n in range(1, 601)]
        await store.apply(batch(effects))
    engine = MysqlEngine(place._replace(connections=2))
    await engine.write([Step("ANALYZE TABLE members", [()])])

    async def looked_at() -> int:
        counts = await engine.read("SHOW SESSION STATUS LIKE 'Handler_read%%'", (), tuple)
        return sum(int(count) for _, count in counts)

    async def met(statement: str, *values: object) -> int:
        itself = -(await looked_at() - await looked_at())
        before = await looked_at()
        assert await engine.read(statement, values, tuple)
        return await looked_at() - before - itself

    names = sql.page_bounds(MYSQL, "members")
    after = [("G1", "U300")[part] for part in names]
    assert await met(sql.select_page(MYSQL, "members", False), *after, 10) <= 30
    assert await met(sql.select_where(MYSQL, "members", ("chat", "user"), ()), "G1", "U7") <= 3
    assert await met(sql.select_where(MYSQL, "members", ("user",), ()), "U7") <= 12
    assert await met(sql.select_some(MYSQL, "members", ("chat",), "user"), "G1", ("U5", "U7")) <= 8
    scan = sql.select_scan(MYSQL, "members", ("chat", "role"), (), sql.Shape("user", True, False, False, False))
    assert await met(scan, "G1", "a", "U1", 5) <= 12
    newest = sql.select_scan(MYSQL, "members", ("chat", "role"), (), sql.Shape("user", False, False, False, True))
    assert await met(newest, "G1", "a", 5) <= 12
    await engine.close()


async def test_no_page_is_sorted(store: MysqlRelationalStore, place: MysqlPlace) -> None:
    async with raw(place) as cursor:
        for name, table in STORED.items():
            key = tuple(table.key)
            orders = [(key[:at], key[at]) for at in range(1, len(key))]
            orders += [(order[:-1], order[-1]) for order in table.pages]
            for where, by in orders:
                for newest_first, below in product((True, False), repeat=2):
                    shape = sql.Shape(by, not below, below, False, newest_first)
                    empty = tuple(one for one in where if one in ("revoked", "ended", "done", "gone"))
                    statement = sql.select_scan(MYSQL, name, where, empty, shape)
                    values = ("x",) * (len(where) - len(empty)) + (1, 5)
                    await cursor.execute(f"EXPLAIN {statement}", values)
                    for row in await cursor.fetchall():
                        assert "filesort" not in str(row) and row[3] != "ALL", (name, where, shape, row)
