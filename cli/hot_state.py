"""A datacenter's hot state, by its settings: one Valkey, or a cluster."""

from cli.settings import Settings, with_password
from stores.adapters.cluster_hot import ClusterHot
from stores.adapters.hot_url import hot_at
from stores.adapters.valkey_hot import ValkeyHot


def opened(settings: Settings) -> ValkeyHot | ClusterHot:
    """Reaches for nothing yet. ConfigError for a password file that can't be read, or an address that is none."""
    return hot_at(with_password(settings.stores.hot_url, settings.secrets.hot_password_file))
