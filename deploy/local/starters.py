"""How each server is started by its name."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from deploy.local.cassandra import Cassandra, CassandraPair
from deploy.local.etcd import Etcd
from deploy.local.mariadb import MariaDB
from deploy.local.pulsar import Pulsar, PulsarPair
from deploy.local.redis import Redis, RedisCluster
from deploy.local.seaweedfs import SeaweedFS
from deploy.local.starting import Startable

STARTERS: Mapping[str, Callable[[Path], Startable]] = {
    "etcd": Etcd,
    "seaweedfs": SeaweedFS,
    "redis": Redis,
    "redis-cluster": RedisCluster,
    "valkey-cluster": partial(RedisCluster, name="valkey", kind="valkey"),
    "mariadb": MariaDB,
    "cassandra": Cassandra,
    "cassandra-pair": CassandraPair,
    "pulsar": Pulsar,
    "pulsar-pair": PulsarPair,
}
"""What `run` knows; each is given its folder."""
NEEDS: Mapping[str, tuple[str, ...]] = {
    "redis-cluster": ("redis",),
    "valkey-cluster": (),
    "cassandra": ("cassandra", "java"),
    "cassandra-pair": ("cassandra", "java"),
    "pulsar": ("pulsar", "java"),
    "pulsar-pair": ("pulsar", "java"),
}
"""Which servers have to be installed for it, where it is not the one of this name."""
