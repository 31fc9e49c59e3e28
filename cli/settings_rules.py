"""What has to fit together in the settings, beyond the form of each. All of it is said at once, each with what to write
instead."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, urlsplit

from cli.store_settings import S3, Cassandra, Mysql, Pulsar, Stores

if TYPE_CHECKING:
    from cli.coordination import CoordinationSettings
    from cli.settings import Settings


class Clash(NamedTuple):
    """Settings that are right each, and not together."""

    keys: tuple[str, ...]
    """The first is the one to look at."""
    problem: str
    advice: str


def clashes(settings: "Settings") -> Iterator[Clash]:
    """Whatever is wrong; nothing outside of the settings is looked at."""
    yield from _objects(settings.stores)
    yield from _messages(settings)
    yield from _relational(settings.stores)
    yield from _log(settings.stores)
    yield from _passwords(settings.stores)
    yield from _coordination(settings.coordination)
    yield from _series(settings)
    yield from _map(settings)


def _objects(stores: Stores) -> Iterator[Clash]:
    if (stores.objects_dir is None) == (stores.objects_url is None):
        yield Clash(
            ("stores.objects_dir", "stores.objects_url"),
            "either objects_dir or objects_url says where the objects are",
            "one of them: a folder, or s3://bucket/prefix",
        )
    elif stores.objects_dir and stores.s3 != S3():
        yield Clash(("stores.s3", "stores.objects_url"), "s3 goes with objects_url, not with objects_dir", "remove it")
    if stores.s3.kms_key_id and stores.s3.encryption != "aws:kms":
        yield Clash(
            ("stores.s3.kms_key_id", "stores.s3.encryption"),
            'kms_key_id goes with encryption = "aws:kms"',
            'stores.s3.encryption = "aws:kms"',
        )


def _messages(settings: "Settings") -> Iterator[Clash]:
    stores = settings.stores
    if stores.messages_url is None:
        if stores.cassandra != Cassandra():
            yield Clash(
                ("stores.cassandra", "stores.messages_url"),
                "cassandra goes with messages_url",
                "stores.messages_url, or remove it",
            )
        return
    if stores.cassandra.local_datacenter is None:
        yield Clash(
            ("stores.cassandra.local_datacenter",),
            "messages_url needs cassandra.local_datacenter",
            "the name in `nodetool status`, behind Datacenter:",
        )
    ports = {port for _, port in stores.message_nodes}
    if len(ports) != 1 or not 0 < ports.pop() < 65_536:
        yield Clash(
            ("stores.messages_url",), "messages_url: all nodes of a cluster have one port", "the same port for each"
        )
    if stores.cassandra.user and not settings.secrets.cassandra_password_file:
        yield Clash(
            ("secrets.cassandra_password_file", "stores.cassandra.user"),
            "stores.cassandra.user needs secrets.cassandra_password_file",
            "a file with the password, one line",
        )


def _relational(stores: Stores) -> Iterator[Clash]:
    if stores.relational_url is None and stores.mysql != Mysql():
        yield Clash(
            ("stores.mysql", "stores.relational_url"),
            "mysql goes with relational_url",
            "stores.relational_url, or remove it",
        )
    if stores.mysql.ca_file and not stores.mysql.tls:
        yield Clash(
            ("stores.mysql.ca_file", "stores.mysql.tls"), "ca_file goes with tls = true", "stores.mysql.tls = true"
        )


def _log(stores: Stores) -> Iterator[Clash]:
    if stores.on_pulsar and not stores.pulsar.admin_url:
        yield Clash(
            ("stores.pulsar.admin_url", "stores.log_url"),
            "a log_url of a Pulsar goes with pulsar.admin_url",
            'stores.pulsar.admin_url = "http://host:8080"',
        )
    if not stores.on_pulsar and stores.pulsar != Pulsar():
        yield Clash(
            ("stores.pulsar", "stores.log_url"),
            "pulsar goes with a log_url that begins with pulsar://",
            "remove it, or let log_url name a Pulsar",
        )
    if not stores.on_pulsar and stores.log_url == stores.hot_url:
        yield Clash(
            ("stores.hot_url", "stores.log_url"),
            "log and hot state are in one database: a new epoch of hot state would empty the log",
            "a server of its own for each",
        )


def _passwords(stores: Stores) -> Iterator[Clash]:
    """Settings may be shown and stand in an environment: no password is in them."""
    log_file = "pulsar_token_file" if stores.on_pulsar else "log_password_file"
    for name, file in (("log", log_file), ("hot", "hot_password_file")):
        parts = urlsplit(getattr(stores, f"{name}_url"))
        login = parts.netloc.rpartition("@")[0]
        if ":" in login or "password" in parse_qs(parts.query):
            yield Clash(
                (f"stores.{name}_url",),
                "it has a password in it, which could be shown with it",
                f"the URL without it, and the file that it is in as secrets.{file}",
            )


def _coordination(found: "CoordinationSettings") -> Iterator[Clash]:
    named = {name for name in ("etcd_user", "etcd_ca_file", "etcd_cert_file") if getattr(found, name)}
    if named and not found.etcd_endpoints:
        yield Clash(
            (f"coordination.{min(named)}", "coordination.etcd_endpoints"),
            f"{', '.join(sorted(named))} goes with etcd_endpoints",
            'coordination.etcd_endpoints = ["http://host:2379"], or remove it',
        )
    if found.etcd_endpoints and found.dir:
        yield Clash(
            ("coordination.dir", "coordination.etcd_endpoints"),
            "either etcd_endpoints or dir says where the processes meet",
            "remove one of them",
        )
    for one, other in (("etcd_user", "etcd_password_file"), ("etcd_cert_file", "etcd_key_file")):
        if (getattr(found, one) is None) != (getattr(found, other) is None):
            yield Clash(
                (f"coordination.{one}", f"coordination.{other}"), f"{one} and {other} go together", "both, or none"
            )


def _series(settings: "Settings") -> Iterator[Clash]:
    if settings.series.tdengine_url and not settings.secrets.tdengine_password_file:
        yield Clash(
            ("secrets.tdengine_password_file", "series.tdengine_url"),
            "series.tdengine_url goes with secrets.tdengine_password_file",
            "a file with the password, one line",
        )


def _map(settings: "Settings") -> Iterator[Clash]:
    """The datacenters, and where they are reached."""
    own, peers = settings.dc, settings.peers
    if own.name in peers:
        yield Clash(
            (f"peers.{own.name}", "dc.name"),
            "every datacenter of the map needs a name and a number of its own: this one is among its peers",
            "the others only",
        )
    numbers = [own.number, *(peer.number for name, peer in peers.items() if name != own.name)]
    for number in sorted(number for number, count in Counter(numbers).items() if count > 1):
        places = ["dc.number"] if number == own.number else []
        places += [f"peers.{name}.number" for name, peer in peers.items() if peer.number == number]
        yield Clash(
            (places[-1], *places[:-1]),
            f"every datacenter of the map needs a name and a number of its own: {number} is also {places[0]}",
            "the number that this datacenter has in its own settings",
        )
    for field in ("sys_url", "public_key"):
        seen: dict[str, str] = {}
        for name, peer in peers.items():
            other = seen.setdefault(getattr(peer, field).rstrip("/"), name)
            if other != name:
                yield Clash(
                    (f"peers.{name}.{field}", f"peers.{other}.{field}"),
                    f"{other} has the same",
                    f"that of {name}",
                )
    public, sys = settings.public, settings.sys
    if public.port == sys.port and (public.host == sys.host or {"0.0.0.0", "::"} & {public.host, sys.host}):
        yield Clash(
            ("sys.port", "public.port"), f"both listeners have port {sys.port} of {sys.host}", "another port for one"
        )
