"""Where the processes of a datacenter meet is said once, and what it is said with makes sense; maps are compared."""

from pathlib import Path

import pytest

from cli import coordination
from cli import settings as configuration
from cli.membership import differences
from core import limits
from core.errors import ConfigError
from stores.adapters.etcd_coordination import EtcdCoordination
from stores.adapters.file_coordination import FileCoordination
from stores.coordination import Datacenter
from tests.unit.test_settings_objects import loaded

ETCD = 'etcd_endpoints = ["https://etcd-1:2379", "https://etcd-2:2379"]'
FRA, IAD, NRT = (
    Datacenter(number, name, f"http://{name}:81", f"key of {name}")
    for number, name in enumerate(("fra", "iad", "nrt"), 1)
)


def coordinated(folder: Path, *lines: str) -> configuration.Settings:
    return loaded(folder, 'objects_dir = "/objects"', more="\n".join(("", "[coordination]", *lines)))


def test_without_any_setting_it_is_a_folder_under_data_dir(tmp_path: Path) -> None:
    settings = loaded(tmp_path, 'objects_dir = "/objects"')
    assert settings.coordination.folder(Path("/data")) == Path("/data/coordination")
    assert settings.coordination.lease_ms == 10_000
    assert settings.coordination.shown(Path("/data")) == "folder /data/coordination"
    assert isinstance(coordination.opened(settings.coordination, "fra", Path("/data")), FileCoordination)


async def test_etcd_is_named_by_its_endpoints(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    lines = (ETCD, 'etcd_user = "planb"', f'etcd_password_file = "{password}"', "lease_s = 4.5")
    settings = coordinated(tmp_path, *lines).coordination
    assert settings.shown(Path("/data")) == "etcd https://etcd-1:2379, https://etcd-2:2379"
    assert settings.lease_ms == 4_500
    made = coordination.opened(settings, "fra", Path("/data"))
    assert isinstance(made, EtcdCoordination)
    assert "secret" not in repr(made._etcd.place)
    await made.close()


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (('etcd_endpoints = ["etcd:2379"]',), "coordination.etcd_endpoints.0"),
        (('etcd_endpoints = ["http://user:password@etcd:2379"]',), "coordination.etcd_endpoints.0"),
        ((ETCD, 'dir = "/locks"'), "either etcd_endpoints or dir"),
        (('etcd_user = "planb"', 'etcd_password_file = "p"'), "etcd_user goes with etcd_endpoints"),
        ((ETCD, 'etcd_user = "planb"'), "etcd_user and etcd_password_file go together"),
        ((ETCD, 'etcd_key_file = "k"'), "etcd_cert_file and etcd_key_file go together"),
        ((ETCD, 'etcd_prefix = "/planb"'), "coordination.etcd_prefix"),
        ((ETCD, f"lease_s = {limits.LEASE_MS_MIN / 1_000 - 0.1}"), "coordination.lease_s"),
        ((ETCD, f"lease_s = {limits.LEASE_MS_MAX / 1_000 + 0.1}"), "coordination.lease_s"),
        ((ETCD, "lease_s = nan"), "coordination.lease_s"),
    ],
)
def test_what_makes_no_sense_is_named_and_no_password_is_repeated(
    tmp_path: Path, lines: tuple[str, ...], why: str
) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        coordinated(tmp_path, *lines)
    assert "password@" not in str(refused.value)


@pytest.mark.parametrize("lines", [
    ('etcd_user = "planb"', 'etcd_password_file = "/nowhere/password"'),
    ('etcd_ca_file = "/nowhere/password"',),
])  # fmt: skip
def test_a_file_that_is_not_there_is_named(tmp_path: Path, lines: tuple[str, ...]) -> None:
    settings = coordinated(tmp_path, ETCD, *lines).coordination
    with pytest.raises(ConfigError, match=r"/nowhere/password.*No such file"):
        coordination.opened(settings, "fra", Path("/data"))


@pytest.mark.parametrize(
    ("there", "ours", "found"),
    [
        ([FRA, IAD], [FRA, IAD], []),
        ([], [FRA, IAD], []),
        ([FRA], [FRA, IAD], []),
        ([FRA._replace(sys_url="http://elsewhere:81")], [FRA], []),
        ([FRA, IAD], [FRA], ["it has iad (2), the settings do not"]),
        ([NRT._replace(number=2)], [IAD], ["number 2 is nrt there, iad in the settings"]),
        ([IAD._replace(public_key="k")], [IAD], ["iad (2) has the public key k there, key of iad in the settings"]),
        (
            [FRA, IAD],
            [FRA, IAD._replace(number=3)],
            ["it has iad (2), the settings do not"],
        ),
    ],
)
def test_maps_differ_in_what_a_datacenter_is_and_not_in_where_it_is_reached(
    there: list[Datacenter], ours: list[Datacenter], found: list[str]
) -> None:
    assert list(differences({one.number: one for one in there}, {one.number: one for one in ours})) == found
