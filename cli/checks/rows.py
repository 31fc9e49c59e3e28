"""Where rows are: SQLite files, MySQL or MariaDB, Cassandra or ScyllaDB; and where measurements are."""

from pathlib import Path

from cli import series as measurements
from cli import stores
from cli.checks.notes import Notes, in_thread
from cli.settings import Settings
from cli.units import size
from core.errors import ConfigError, PlanBError, StoreUnavailable
from core.system import steady_clock_ms
from stores.adapters import sqlite_dialect, sqlite_message_sql, sqlite_series
from stores.adapters.sqlite_file import header_of

_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX", "DROP")
_START = "start it; until then what needs it is answered 503"


async def relational(settings: Settings, notes: Notes) -> None:
    if settings.stores.relational_url is None:
        await _file(settings.stores.relational_file, sqlite_dialect.VERSION, notes)
        return
    place = stores.mysql_place(settings)
    from stores.adapters import mysql_migrations as migrations
    from stores.adapters.mysql_session import looked_at

    began = steady_clock_ms()
    try:
        found = await looked_at(place)
        version = await migrations.version(place)
    except PlanBError as error:
        notes.failed(error, _mysql_fix(error))
        return
    took_ms = steady_clock_ms() - began
    notes.ok(f"{found.version} at {place}, {found.isolation}, answered in {took_ms} ms")
    missing = [] if "ALL PRIVILEGES" in found.rights else [right for right in _RIGHTS if right not in found.rights]
    if missing:
        notes.wrong(
            f"{place.user} lacks {', '.join(missing)} on {place.database}",
            f"GRANT {', '.join(missing)} ON {place.database}.* TO {place.user}@'…'",
        )
    if version is None:
        notes.ok("no tables yet: they are made by the first start")
    elif version not in migrations.KNOWN:
        notes.wrong(f"schema {version}; this program knows {migrations.NEWEST}", "a newer program")
    elif version != migrations.NEWEST:
        notes.ok(f"schema {version}: the next start brings it to {migrations.NEWEST}")
    else:
        notes.ok(f"schema {version}, the newest")


def _mysql_fix(error: PlanBError) -> str:
    if isinstance(error, StoreUnavailable):
        return _START
    said = error.detail.lower() + error.private.lower()
    if "denied" in said:
        return "secrets.mysql_password_file, or the user's rights: GRANT ALL ON database.* TO user@'host'"
    if "unknown database" in said:
        return "CREATE DATABASE with that name, or another one in stores.relational_url"
    return "set it in the server's configuration, and SET GLOBAL until it is started again"


async def messages(settings: Settings, notes: Notes) -> None:
    if settings.stores.messages_url is None:
        await _file(settings.stores.messages_file, sqlite_message_sql.VERSION, notes)
        return
    try:
        from stores.adapters import cassandra_schema as schema
        from stores.adapters.cassandra_messages import loses
        from stores.adapters.cassandra_session import CassandraSession
    except ModuleNotFoundError as error:
        raise ConfigError(f'stores.messages_url needs {error.name}: install "planb[engines]"') from error

    place = stores.cassandra_place(settings)
    began = steady_clock_ms()
    try:
        session = await CassandraSession.open(place)
    except PlanBError as error:
        _cassandra_failed(error, notes)
        return
    try:
        ((version,),) = await session.run("SELECT release_version FROM system.local")
        nodes = 1 + len(await session.run("SELECT peer FROM system.peers"))
        rows = await session.run(
            f"SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = '{place.keyspace}'"
        )
        took_ms = steady_clock_ms() - began
        notes.ok(f"Cassandra {version}, {nodes} node{'s' if nodes > 1 else ''}, {place}, answered in {took_ms} ms")
        _copies(dict(rows[0][0]), place.local_datacenter, place.consistency, place.keyspace, notes)
        found = await schema.schema_version(session)
        if found == schema.VERSION:
            notes.ok(f"schema {found}, the newest")
        else:
            notes.ok(f"schema {found or 'none'}: the next start brings it to {schema.VERSION}, with all nodes up")
        if await loses(session):
            notes.warning(
                "commitlog_sync is periodic: what a node acknowledged last is lost when it is killed",
                "commitlog_sync: group in every node's cassandra.yaml",
            )
    finally:
        await session.close()


def _copies(replication: dict[str, str], here: str, consistency: str, keyspace: str, notes: Notes) -> None:
    kind = replication.get("class", "").rpartition(".")[2]
    copies = replication.get(here) or (replication.get("replication_factor") if kind == "SimpleStrategy" else None)
    alter = f"ALTER KEYSPACE {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', '{here}': 3}}"
    if not copies or not copies.isdecimal() or int(copies) == 0:
        notes.wrong(f"{keyspace} keeps no copies in {here}", alter)
        return
    fact = f"{copies} cop{'ies' if int(copies) > 1 else 'y'} in {here}, {consistency}"
    if consistency == "LOCAL_ONE" and int(copies) > 1:
        notes.wrong(
            f"{fact}: what one node acknowledged, another may not have", 'stores.cassandra.consistency = "LOCAL_QUORUM"'
        )
    elif int(copies) < 3:
        notes.warning(f"{fact}: no node may be down", f"{alter}, then nodetool repair")
    else:
        notes.ok(fact)


def _cassandra_failed(error: PlanBError, notes: Notes) -> None:
    fact, _, statement = error.detail.partition(". Make it once: ")
    if statement:
        notes.wrong(fact, statement)
    elif isinstance(error, StoreUnavailable):
        notes.failed(error, "start its nodes; stores.messages_url names some of them, port and all")
    elif "refuses the user" in error.detail:
        notes.failed(error, "secrets.cassandra_password_file and stores.cassandra.user")
    else:
        notes.failed(error, "stores.cassandra.local_datacenter: one of those")


async def series(settings: Settings, notes: Notes) -> None:
    if not settings.series.enabled:
        notes.ok("nothing is measured (series.enabled is false)")
        return
    if settings.series.tdengine_url is None:
        await _file(Path(measurements.where(settings)), sqlite_series.VERSION, notes)
        return
    store = measurements.opened(settings)
    assert store is not None
    began = steady_clock_ms()
    try:
        held = await store.held()
    except PlanBError as error:
        if "9750" in f"{error.detail} {error.private}":
            notes.ok(f"{measurements.where(settings)}: no database yet, it is made by the first write")
        else:
            notes.failed(error, "start TDengine and its taosAdapter; who we are: series.tdengine_user and its password")
        return
    finally:
        await store.close()
    notes.ok(f"TDengine at {measurements.where(settings)}: {len(held)} series, {steady_clock_ms() - began} ms")


async def _file(path: Path, version: int, notes: Notes) -> None:
    """Only its first bytes are read: whoever opens it also writes."""
    try:
        found = await in_thread(lambda: header_of(path))
    except OSError as error:
        notes.down(f"{path}: {error.strerror}", "let this user read it")
        return
    if found is None:
        notes.ok(f"{path.name} is not there yet: it is made by the first start")
    elif not found.sound:
        notes.down(
            f"{path} is no SQLite file, or is damaged",
            "planb restore on empty disks (docs/operations.md, A DC burnt down)",
        )
    elif found.version > version:
        notes.wrong(f"{path.name} has schema {found.version}; this program knows {version}", "a newer program")
    else:
        schema = f", schema {found.version}" if found.version else ""  # a young file has it in its WAL only
        notes.ok(f"{path.name}, {size(found.bytes)}{schema}")
