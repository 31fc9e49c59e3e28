"""A datacenter's event log, by its settings: in a Valkey of its own, or on Pulsar."""

from typing import TYPE_CHECKING

from cli import settings as configuration
from cli.settings import Settings
from core.errors import ConfigError
from events.adapters.valkey import ValkeyLog
from events.ports import EventLog

if TYPE_CHECKING:
    from events.adapters.pulsar_feed import PulsarFeed


async def opened(settings: Settings) -> EventLog:
    """Raises LogUnavailable, and ConfigError for a log that could lose what it answered."""
    stores = settings.stores
    if not stores.on_pulsar:
        return await ValkeyLog.connect(configuration.with_password(stores.log_url, settings.secrets.log_password_file))
    try:
        from events.adapters.pulsar import PulsarLog  # its driver takes its time, and most need it not
    except ModuleNotFoundError as error:
        raise ConfigError("stores.log_url names a Pulsar, whose driver is not installed: planb[engines]") from error
    assert stores.pulsar.admin_url is not None
    return await PulsarLog.connect(
        stores.log_url,
        stores.pulsar.admin_url,
        settings.dc.number,
        tenant=stores.pulsar.tenant,
        token=token(settings),
        backlog_bytes=stores.pulsar.backlog_bytes_max,
    )


def feed(settings: Settings) -> "PulsarFeed | None":
    """What else brings other datacenters' records here; None where nothing does."""
    stores = settings.stores
    if not stores.on_pulsar or not settings.peers:
        return None
    from events.adapters.pulsar_feed import PulsarFeed

    assert stores.pulsar.admin_url is not None
    others = {name: peer.number for name, peer in settings.peers.items()}
    return PulsarFeed(
        stores.log_url, stores.pulsar.admin_url, others, tenant=stores.pulsar.tenant, token=token(settings)
    )


def token(settings: Settings) -> str:
    """For broker and admin API; "" without authentication."""
    file = settings.secrets.pulsar_token_file
    return configuration.secret(file, 1).decode().strip() if file else ""
