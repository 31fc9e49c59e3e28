"""The schema of the relational store in MySQL and MariaDB: numbered migrations, run by alembic when a store is opened.

A migration is a file `versions/mNNNN_….py` with `revision = "NNNN"`, and never changes once it was released; what it
makes is held against `sql_tables` by a test. MySQL commits each statement that defines something, so a process that
dies in the middle leaves half of a migration: each statement has to be repeatable.
"""

from pathlib import Path
from typing import Any

from core import limits
from core.errors import ConfigError, StoreUnavailable
from stores.adapters.mysql_engine import opened
from stores.adapters.mysql_errors import NO_SUCH_TABLE, OURS, number
from stores.adapters.mysql_session import MysqlPlace, connected

HERE = Path(__file__).parent
VERSION_TABLE = "planb_schema"
KNOWN = tuple(sorted(path.name[1:5] for path in (HERE / "versions").glob("m[0-9]*.py")))
NEWEST = KNOWN[-1]


async def version(place: MysqlPlace) -> str | None:
    """That of the schema; None where there is none yet. ConfigError for a server that is not fit or does not let us
    in, StoreUnavailable for one that does not answer."""
    async with opened(place) as connection:
        return await _version(connection)


async def bring_up(place: MysqlPlace) -> None:
    """Brings the schema up to date, one process at a time. ConfigError for what a newer program has made."""
    if await _refuse_newer(place) == NEWEST:
        return
    # The lock is the connection's: it goes with whoever dies.
    async with opened(place) as connection:
        if await _one(connection, "SELECT GET_LOCK(%s, %s)", (_lock(place), limits.SQL_MIGRATE_S_MAX)) != 1:
            raise StoreUnavailable(f"{place}: another process migrates it and does not end", retry_after_s=1)
        if await _refuse_newer(place) != NEWEST:
            # Alembic would name its key, of which the server warns.
            await _run(connection, f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (version_num VARCHAR(32) PRIMARY KEY)")
            await _migrate(place)


def _lock(place: MysqlPlace) -> str:
    """Locks are the server's, not the database's. 64 characters at most, and so is a database's name."""
    return f"planb:{place.database}"[:64]


async def _refuse_newer(place: MysqlPlace) -> str | None:
    found = await version(place)
    if found is not None and found not in KNOWN:
        raise ConfigError(f"{place} has schema {found}; this program knows {NEWEST}")
    return found


async def _version(connection: Any) -> str | None:
    try:
        found = await _one(connection, f"SELECT version_num FROM {VERSION_TABLE}")
    except OURS as error:
        if number(error) == NO_SUCH_TABLE:
            return None
        raise
    return None if found is None else str(found)


async def _one(connection: Any, sql: str, values: tuple[Any, ...] = ()) -> Any:
    """The first value of its answer."""
    async with connection.cursor() as cursor:
        await cursor.execute(sql, values)
        row = await cursor.fetchone()
        return None if row is None else row[0]


async def _run(connection: Any, sql: str) -> None:
    async with connection.cursor() as cursor:
        await cursor.execute(sql)


async def _migrate(place: MysqlPlace) -> None:
    # Only who migrates imports them: half a second.
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    engine = create_async_engine(
        "mysql+asyncmy://", async_creator=lambda: connected(place, autocommit=False), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Any) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(HERE), version_locations=[str(HERE / "versions")])

    def steps(revision: Any, _: Any) -> Any:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, version_table=VERSION_TABLE)
        environment.run_migrations()
