"""Where message rows are is said once, and what it is said with makes sense."""

from pathlib import Path

import pytest

from cli import stores
from core.errors import ConfigError
from stores.adapters.cassandra_session import CassandraPlace
from tests.unit.test_settings_objects import loaded

OBJECTS = 'objects_dir = "/objects"'
URL = 'messages_url = "cassandra://10.0.1.7:9042,10.0.1.8:9042/planb_fra"'
LOCAL = 'cassandra.local_datacenter = "fra1"'


def test_a_keyspace_of_a_cluster(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("pa ss\n")
    settings = loaded(
        tmp_path, OBJECTS, URL, LOCAL, 'cassandra.consistency = "QUORUM"', 'cassandra.user = "planb"',
        more=f'cassandra_password_file = "{secret}"\n',
    )  # fmt: skip
    place = stores.cassandra_place(settings)
    assert place == CassandraPlace(
        ("10.0.1.7", "10.0.1.8"), 9042, "planb_fra", "fra1", "QUORUM", user="planb", password="pa ss"
    )
    assert "pa ss" not in repr(place), "it is never logged"
    assert str(place) == "cassandra://10.0.1.7:9042,10.0.1.8:9042/planb_fra"


def test_the_default_is_a_quorum_of_the_local_datacenter(tmp_path: Path) -> None:
    assert stores.cassandra_place(loaded(tmp_path, OBJECTS, URL, LOCAL)).consistency == "LOCAL_QUORUM"


def test_a_user_needs_a_password_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cassandra_password_file"):
        loaded(tmp_path, OBJECTS, URL, LOCAL, 'cassandra.user = "planb"')


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([URL], "messages_url needs cassandra.local_datacenter"),
        ([LOCAL], "cassandra goes with messages_url"),
        ([URL, LOCAL, 'cassandra.consistency = "ANY"'], "stores.cassandra.consistency"),
        (['messages_url = "cassandra://a:1,b:2/k"', LOCAL], "all nodes of a cluster have one port"),
        (['messages_url = "cassandra://a:70000/k"', LOCAL], "all nodes of a cluster have one port"),
        (['messages_url = "cassandra://a:1/k-b"', LOCAL], "stores.messages_url"),
        (['messages_url = "cassandra://a/k"', LOCAL], "stores.messages_url"),
        (['messages_url = "mysql://a:1/k"', LOCAL], "stores.messages_url"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, lines: list[str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        loaded(tmp_path, OBJECTS, *lines)
