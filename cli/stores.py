"""Where a datacenter's rows are, by its settings: in SQLite files under `data_dir`, or in servers: relational rows in
MySQL or MariaDB, message rows in Cassandra.

Who opens a store makes it when it is missing (in Cassandra the tables, never the keyspace); `…_if_there` makes nothing.
"""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cli.settings import Settings, secret
from core.errors import ConfigError
from core.system import entropy, wall_clock_ms
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore
from stores.ports import MessageStore, RelationalStore

if TYPE_CHECKING:
    from stores.adapters.cassandra_session import CassandraPlace
    from stores.adapters.mysql_session import MysqlPlace

MYSQL_PORT = 3306


def make_ready(settings: Settings) -> None:
    """Makes the folder of the files. ConfigError if it is not usable."""
    settings.stores.make_data_dir()


def check(settings: Settings) -> None:
    """Whether `make_ready` would succeed; makes nothing."""
    settings.stores.check_data_dir()


async def relational(settings: Settings) -> RelationalStore:
    """After `make_ready`. ConfigError for what a newer program wrote, Corrupt for what is damaged, StoreUnavailable."""
    if settings.stores.relational_url is None:
        return await SqliteRelationalStore.open(settings.stores.relational_file, clock=wall_clock_ms)
    place = mysql_place(settings)
    from stores.adapters.mysql_relational import MysqlRelationalStore  # an extra: most need it not

    return await MysqlRelationalStore.open(place, clock=wall_clock_ms)


async def messages(settings: Settings) -> MessageStore:
    """As `relational`."""
    if settings.stores.messages_url:
        from stores.adapters.cassandra_messages import CassandraMessageStore  # few need its driver

        return await CassandraMessageStore.open(cassandra_place(settings), entropy)
    return await SqliteMessageStore.open(settings.stores.messages_file)


async def remembers(settings: Settings) -> bool:
    """Whether there is a relational store, which holds what this datacenter remembers of its life. StoreUnavailable
    where that can not be known, ConfigError where we are not let in."""
    if settings.stores.relational_url is None:
        return settings.stores.relational_file.exists()
    place = mysql_place(settings)
    from stores.adapters.mysql_relational import MysqlRelationalStore

    return await MysqlRelationalStore.is_there(place)


async def relational_if_there(settings: Settings) -> RelationalStore | None:
    """None where nothing was written yet, or all was lost."""
    return await relational(settings) if await remembers(settings) else None


async def messages_if_there(settings: Settings) -> MessageStore | None:
    """As `relational_if_there`."""
    if settings.stores.messages_url:
        from stores.adapters.cassandra_messages import CassandraMessageStore

        there = await CassandraMessageStore.is_there(cassandra_place(settings))
    else:
        there = settings.stores.messages_file.exists()
    return await messages(settings) if there else None


def cassandra_place(settings: Settings) -> "CassandraPlace":
    """What `messages_url` names. ConfigError if the password is not to be had."""
    from stores.adapters.cassandra_session import CassandraPlace

    stores = settings.stores
    nodes = stores.message_nodes
    return CassandraPlace(
        tuple(host for host, _ in nodes),
        nodes[0][1],
        str(stores.messages_url).rpartition("/")[2],
        str(stores.cassandra.local_datacenter),
        stores.cassandra.consistency,
        user=stores.cassandra.user or "",
        password=_password(settings) if stores.cassandra.user else "",
    )


def _password(settings: Settings) -> str:
    path = settings.secrets.cassandra_password_file
    assert path is not None, "settings_rules.py asks for it"
    return secret(path, size_min=1).decode().strip()


def mysql_place(settings: Settings) -> "MysqlPlace":
    """What `relational_url` names. ConfigError where the drivers are not installed."""
    try:
        from stores.adapters.mysql_session import MysqlPlace
    except ModuleNotFoundError as error:
        raise ConfigError(f'stores.relational_url needs {error.name}: install "planb[engines]"') from error

    url = urlsplit(settings.stores.relational_url or "")
    mysql = settings.stores.mysql
    return MysqlPlace(
        url.hostname or "",
        url.port or MYSQL_PORT,
        url.username or "",
        url.path.lstrip("/"),
        settings.secrets.mysql_password_file,
        mysql.tls,
        mysql.ca_file,
        mysql.connections,
    )
