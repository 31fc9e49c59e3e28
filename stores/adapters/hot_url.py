"""Which hot store a URL means."""

from stores.adapters.cluster_hot import ClusterHot
from stores.adapters.valkey_hot import ValkeyHot


def hot_at(url: str) -> ValkeyHot | ClusterHot:
    """`redis+cluster://` is a cluster, `redis://` and `unix://` one server. ConfigError for what is neither."""
    return ClusterHot(url) if url.startswith("redis+cluster:") else ValkeyHot(url)
