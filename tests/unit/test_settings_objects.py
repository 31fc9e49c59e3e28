"""Where objects are is said once, and what it is said with makes sense."""

import os
from pathlib import Path

import pytest

from cli import objects
from cli import settings as configuration
from core.errors import ConfigError
from stores.adapters.s3_calls import S3Place
from stores.adapters.s3_objects import S3Objects

REST = """
data_dir = "/data"
log_url = "redis://127.0.0.1:1/0"
hot_url = "redis://127.0.0.1:2/0"
[dc]
name = "fra"
number = 1
[public]
port = 1
[sys]
port = 2
[secrets]
token_key_file = "t"
sys_key_file = "s"
signing_key_file = "k"
"""


def loaded(folder: Path, *lines: str, more: str = "") -> configuration.Settings:
    path = folder / "fra.toml"
    path.write_text("\n".join(("[stores]", *lines)) + REST + more)
    return configuration.load(path)


def test_a_bucket_and_a_prefix(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        'objects_url = "s3://planb-fra/some/where"',
        's3.endpoint_url = "http://127.0.0.1:8333"',
        's3.region = "eu-central-1"',
        's3.encryption = "aws:kms"',
        's3.kms_key_id = "a-key"',
        more='s3_credentials_file = "/etc/planb/s3"\n',
    )
    assert objects.where(settings) == "s3://planb-fra/some/where"
    assert objects.setting(settings) == "objects_url"
    assert objects.s3_place(settings) == S3Place(
        "planb-fra",
        "some/where",
        endpoint_url="http://127.0.0.1:8333",
        region="eu-central-1",
        addressing="path",
        encryption="aws:kms",
        kms_key_id="a-key",
        credentials_file=Path("/etc/planb/s3"),
    )


def test_a_bucket_at_aws(tmp_path: Path) -> None:
    assert objects.s3_place(loaded(tmp_path, 'objects_url = "s3://planb-fra"')) == S3Place("planb-fra")


def test_the_environment_says_it_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANB_STORES__S3__REGION", "eu-west-1")
    settings = loaded(tmp_path, 'objects_url = "s3://planb-fra"', 's3.region = "eu-central-1"')
    assert objects.s3_place(settings).region == "eu-west-1"


def test_a_folder(tmp_path: Path) -> None:
    settings = loaded(tmp_path, 'objects_dir = "/mnt/objects"')
    assert (objects.where(settings), objects.setting(settings)) == ("/mnt/objects", "objects_dir")


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ([], "either objects_dir or objects_url"),
        (['objects_dir = "/o"', 'objects_url = "s3://planb-fra"'], "either objects_dir or objects_url"),
        (['objects_dir = "/o"', 's3.region = "r"'], "s3 goes with objects_url"),
        (['objects_url = "https://planb-fra"'], "stores.objects_url"),
        (['objects_url = "s3://x"'], "stores.objects_url"),
        (['objects_url = "s3://planb-fra/.hidden"'], "stores.objects_url"),
        (['objects_url = "s3://planb-fra/a//b"'], "stores.objects_url"),
        (['objects_url = "s3://planb-fra/a/"'], "stores.objects_url"),
        (['objects_url = "s3://planb-fra/a b"'], "stores.objects_url"),
        ([f'objects_url = "s3://planb-fra/{"/".join(["x" * 128] * 2)}"'], "256 characters at most"),
        (['objects_url = "s3://planb-fra"', 's3.endpoint_url = "http://user:secret@host"'], "stores.s3.endpoint_url"),
        (['objects_url = "s3://planb-fra"', 's3.encryption = "rot13"'], "stores.s3.encryption"),
        (['objects_url = "s3://planb-fra"', 's3.kms_key_id = "k"'], "kms_key_id goes with"),
        (['objects_url = "s3://planb-fra"', 's3.secret_key = "k"'], "stores.s3.secret_key"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, lines: list[str], named: str) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, *lines)
    assert named in str(raised.value)
    assert "user:secret" not in str(raised.value) + str(raised.value.__cause__)


def test_an_endpoint_that_names_a_user_is_refused_and_not_quoted() -> None:
    with pytest.raises(ConfigError, match="names a user in its URL") as raised:
        S3Place("planb-fra", endpoint_url="http://user:secret@127.0.0.1:9")
    assert "secret@" not in repr(raised.value) + raised.value.private


async def test_nor_is_one_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://user:secret@127.0.0.1:9")
    keys = tmp_path / "keys"
    keys.write_text("[default]\naws_access_key_id=A\naws_secret_access_key=S\n")
    store = S3Objects(S3Place("planb-fra", region="eu-west-1", credentials_file=keys), os.urandom)
    with pytest.raises(ConfigError, match="names a user in its URL") as raised:
        await store.check()
    await store.close()
    assert "secret@" not in repr(raised.value) + raised.value.private
