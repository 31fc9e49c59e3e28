"""One connection to MySQL or MariaDB: how it is made, what is set in it, and what the server has to be like."""

import asyncio
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import asyncmy

from core import limits
from core.errors import ConfigError, StoreUnavailable
from stores.adapters.mysql_errors import Gone, driver_errors, store_errors

LOOKED_AT = (
    "innodb_flush_log_at_trx_commit", "log_bin", "sync_binlog", "max_allowed_packet", "max_connections",
    "max_user_connections", "innodb_page_size", "version",
)  # fmt: skip
OLDEST = {"MariaDB": (10, 6), "MySQL": (8, 0, 21)}
"""JSON_VALUE, and defaults of texts."""
PAGE_BYTES_MIN = 16_384
"""With smaller ones an index takes less than 3,072 bytes."""
SETTINGS = (
    # Strict: a text that is too long, or a number, is refused and not cut.
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',"
    f" time_zone = '+00:00', innodb_lock_wait_timeout = {limits.SQL_LOCK_WAIT_S},"
    f" wait_timeout = {limits.SQL_IDLE_S_MAX}",
    # docs/decisions/0015: every read is one statement, every write is guarded under its row's lock.
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
)


class MysqlPlace(NamedTuple):
    """Where the database is, and how we come in."""

    host: str
    port: int
    user: str
    database: str
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    """Who has signed the server's certificate; without it, whom this machine trusts."""
    connections: int = 8

    def __str__(self) -> str:
        """As an operator knows it."""
        return f"mysql://{self.user}@{self.host}:{self.port}/{self.database}"


async def connected(place: MysqlPlace, *, autocommit: bool) -> Any:
    """A connection, set up, to a server that is fit. ConfigError where it is not or does not let us in,
    StoreUnavailable where nobody answers; both are for an operator: they say where."""
    with store_errors(str(place)):
        try:
            async with asyncio.timeout(limits.SQL_CONNECT_S_MAX):
                with driver_errors():
                    return await _opened(place, autocommit)
        except (Gone, TimeoutError) as error:
            raise StoreUnavailable(f"{place} does not answer", private=str(error), retry_after_s=1) from error


class Looked(NamedTuple):
    """What a server says to who comes in."""

    version: str
    isolation: str
    """Of our connections."""
    rights: frozenset[str]
    """Ours on the database, in capitals."""


async def looked_at(place: MysqlPlace) -> Looked:
    """Changes nothing. Errors as of `connected`."""
    connection = await connected(place, autocommit=True)
    try:
        with store_errors(str(place)), driver_errors():
            async with connection.cursor() as cursor:
                await cursor.execute("SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')")
                isolation = {value for _, value in await cursor.fetchall()}
                await cursor.execute("SELECT @@version, @@version_comment")
                ((version, comment),) = await cursor.fetchall()
                await cursor.execute("SHOW GRANTS")
                grants = [str(row[0]) for row in await cursor.fetchall()]
    finally:
        connection.close()
    kind = "MariaDB" if "mariadb" in version.lower() else str(comment)
    return Looked(f"{kind} {version.partition('-')[0]}", min(isolation).replace("-", " "), _rights(grants, place))


def _rights(grants: Iterable[str], place: MysqlPlace) -> frozenset[str]:
    found: set[str] = set()
    for grant in grants:
        rights, _, rest = grant.partition(" ON ")
        pattern = rest.partition(" TO ")[0].replace("`", "").replace("\\_", "_").removesuffix(".*")
        prefix, joker, _ = pattern.partition("%")
        if pattern in ("*", place.database) or (joker and place.database.startswith(prefix)):
            found |= {right.strip().upper() for right in rights.removeprefix("GRANT ").split(",")}
    return frozenset(found)


async def _opened(place: MysqlPlace, autocommit: bool) -> Any:
    connection = await asyncmy.connect(
        host=place.host,
        port=place.port,
        user=place.user,
        password=_password(place.password_file),
        database=place.database,
        charset="utf8mb4",
        autocommit=autocommit,
        connect_timeout=limits.SQL_CONNECT_S_MAX,
        ssl=_tls(place),
    )
    try:
        async with connection.cursor() as cursor:
            for statement in SETTINGS:
                await cursor.execute(statement)
            await cursor.execute("SELECT " + ", ".join(f"@@{name}" for name in LOOKED_AT))
            (row,) = await cursor.fetchall()
        _refuse_unfit(place, dict(zip(LOOKED_AT, row, strict=True)))
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_unfit(place: MysqlPlace, found: dict[str, Any]) -> None:
    """ConfigError names each setting that breaks a promise of the store, and what it should be."""
    kind = "MariaDB" if "mariadb" in found["version"].lower() else "MySQL"
    version = tuple(int(part) for part in found["version"].partition("-")[0].split(".")[:3])
    flushed = (1, 3) if kind == "MariaDB" else (1,)
    takes = min(found["max_connections"], found["max_user_connections"] or found["max_connections"])
    needed = place.connections + limits.SQL_CONNECTIONS_LEFT
    wrong = []
    if version < OLDEST[kind]:
        wrong.append(f"it is {kind} {found['version']}; {'.'.join(map(str, OLDEST[kind]))} is the oldest we know")
    if found["innodb_flush_log_at_trx_commit"] not in flushed:
        wrong.append("innodb_flush_log_at_trx_commit has to be 1: what was acknowledged must be on its disk")
    if found["log_bin"] and found["sync_binlog"] != 1:
        wrong.append("sync_binlog has to be 1 while it keeps a binary log, which decides what a crash leaves")
    if found["max_allowed_packet"] < limits.SQL_PACKET_BYTES_MIN:
        wrong.append(f"max_allowed_packet has to be {limits.SQL_PACKET_BYTES_MIN} at least")
    if found["innodb_page_size"] < PAGE_BYTES_MIN:
        wrong.append(f"innodb_page_size has to be {PAGE_BYTES_MIN} at least")
    if takes < needed:
        wrong.append(
            f"it takes {takes} connections (max_connections, max_user_connections), and stores.mysql.connections ="
            f" {place.connections} of each process with {limits.SQL_CONNECTIONS_LEFT} to spare need {needed}"
        )
    if wrong:
        raise ConfigError(f"{place}: {'; '.join(wrong)}")


def _password(path: Path | None) -> str:
    """Read each time, so that it can be changed while we run."""
    if path is None:
        return ""
    try:
        return path.read_text().rstrip("\n")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _tls(place: MysqlPlace) -> ssl.SSLContext | None:
    if not place.tls:
        return None
    try:
        return ssl.create_default_context(cafile=str(place.ca_file) if place.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"stores.mysql.ca_file: {place.ca_file}: {error}") from error
