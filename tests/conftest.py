"""Fixtures that more than one folder of tests uses. Keep it small: what one suite needs stays with that suite."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.servers import needs, started
from tests.support.shared import CassandraNode, PulsarCluster, folder_of, shared
from tests.support.valkey import ValkeyFactory, binary, servers
from tests.support.valkey_cluster import CALM_NODE_TIMEOUT_MS, ValkeyCluster, cluster

pytest_plugins = ("tests.support.driver_crash",)

if TYPE_CHECKING:
    from deploy.local.etcd import Etcd
    from deploy.local.mariadb import MariaDB
    from deploy.local.seaweedfs import SeaweedFS
    from tests.support.mysql import Databases


@pytest.fixture(scope="module")
def server_program(request: pytest.FixtureRequest) -> str:
    """What `valkey_server` starts. Suites that run on every kind of server are parametrised by it."""
    return binary(getattr(request, "param", "valkey"))


@pytest.fixture
def valkey_server(tmp_path: Path, server_program: str) -> Iterator[ValkeyFactory]:
    """`valkey_server(appendfsync="always")` starts a private server; `None` (the default) is one without a log.

    Further arguments are the server's own options, e.g. `valkey_server(None, "--maxmemory", "3mb")`.
    """
    with servers(tmp_path, server_program) as make:
        yield make


@pytest.fixture(scope="module")
def shared_valkey_server(tmp_path_factory: pytest.TempPathFactory, server_program: str) -> Iterator[ValkeyFactory]:
    """The same for a whole module: use a key prefix of your own per test, and leave the server running."""
    with servers(tmp_path_factory.mktemp("valkey"), server_program) as make:
        yield make


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SeaweedFS"]:
    """An S3 server with a bucket, for a whole module: give each test a prefix of its own (`fresh_place`)."""
    from tests.support.s3 import seaweedfs_at  # boto3 is slow to import, and few tests need it

    with seaweedfs_at(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Etcd"]:
    """An etcd for all tests of this worker: use a key prefix of your own per test, and leave it running. Who kills it
    starts one of his own with `tests.support.etcd.etcd_at`."""
    from tests.support.etcd import etcd_at

    with etcd_at(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator["MariaDB"]:
    """A MariaDB for all tests of this worker: make a database of your own per test, and leave it running. Who kills it
    starts one of his own with `tests.support.servers.started`."""
    from deploy.local.mariadb import MariaDB

    needs("mariadb")
    with started(MariaDB(tmp_path_factory.mktemp("mariadb"))) as server:
        yield server


@pytest.fixture(scope="session")
def mysql_databases(mariadb: "MariaDB", tmp_path_factory: pytest.TempPathFactory) -> Iterator["Databases"]:
    """Its databases, emptied for each who asks."""
    from tests.support.mysql import shared_databases

    with shared_databases(mariadb, tmp_path_factory.mktemp("mysql")) as made:
        yield made


# The servers that take long to start are shared by all tests of a run: names of your own, and leave them running.


@pytest.fixture(scope="session")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraNode]:
    """One node: make a keyspace of your own."""
    with shared("cassandra", folder_of(tmp_path_factory)) as found:
        yield CassandraNode(**found)


@pytest.fixture(scope="session")
def cassandra_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[CassandraNode]]:
    """Two nodes of one cluster, each in a datacenter of its own: make a keyspace of your own."""
    with shared("cassandra-pair", folder_of(tmp_path_factory)) as found:
        yield [CassandraNode(**node) for node in found["nodes"]]


@pytest.fixture(scope="session")
def pulsar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulsarCluster]:
    """One cluster: make a namespace of your own in the tenant `public`, or a tenant of your own."""
    with shared("pulsar", folder_of(tmp_path_factory)) as found:
        yield PulsarCluster(**found)


@pytest.fixture(scope="session")
def pulsar_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PulsarCluster]]:
    """Two clusters that know each other: make a tenant of your own on both."""
    with shared("pulsar-pair", folder_of(tmp_path_factory)) as found:
        yield [PulsarCluster(**cluster) for cluster in found.values()]


@pytest.fixture(scope="module")
def shared_valkey_cluster(tmp_path_factory: pytest.TempPathFactory, server_program: str) -> Iterator[ValkeyCluster]:
    """Three primaries for a whole module: leave them running, and the slots where they are."""
    with cluster(tmp_path_factory.mktemp("cluster"), server_program, CALM_NODE_TIMEOUT_MS) as made:
        yield made


@pytest.fixture
def valkey_cluster(tmp_path: Path, server_program: str) -> Iterator[ValkeyCluster]:
    """Three primaries, to be killed, moved and added to."""
    with cluster(tmp_path, server_program) as made:
        yield made
