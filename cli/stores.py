"""Where a datacenter's rows are, by its settings: each of the two stores in a SQLite file under `data_dir`.

Who opens a store makes it when it is missing; `…_if_there` makes nothing.
"""

from cli.settings import Settings
from core.system import wall_clock_ms
from stores.adapters.sqlite_messages import SqliteMessageStore
from stores.adapters.sqlite_relational import SqliteRelationalStore
from stores.ports import MessageStore, RelationalStore


def make_ready(settings: Settings) -> None:
    """Makes the folder of the files. ConfigError if it is not usable."""
    settings.stores.make_data_dir()


def check(settings: Settings) -> None:
    """Whether `make_ready` would succeed; makes nothing."""
    settings.stores.check_data_dir()


async def relational(settings: Settings) -> RelationalStore:
    """After `make_ready`. ConfigError for what a newer program wrote, Corrupt for what is damaged, StoreUnavailable."""
    return await SqliteRelationalStore.open(settings.stores.relational_file, clock=wall_clock_ms)


async def messages(settings: Settings) -> MessageStore:
    """As `relational`."""
    return await SqliteMessageStore.open(settings.stores.messages_file)


async def remembers(settings: Settings) -> bool:
    """Whether there is a relational store, which holds what this datacenter remembers of its life."""
    return settings.stores.relational_file.exists()


async def relational_if_there(settings: Settings) -> RelationalStore | None:
    """None where nothing was written yet, or all was lost."""
    return await relational(settings) if await remembers(settings) else None


async def messages_if_there(settings: Settings) -> MessageStore | None:
    """As `relational_if_there`."""
    return await messages(settings) if settings.stores.messages_file.exists() else None
