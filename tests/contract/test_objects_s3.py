"""The ObjectStore contract over a real S3 server, and what only S3 has: marks, prefixes, parts, credentials."""

import asyncio
import dataclasses
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from botocore.exceptions import ClientError

from cli.waiting import until
from core import limits
from core.errors import ConfigError, Corrupt, NotFound, StoreUnavailable
from core.system import entropy
from deploy.local.seaweedfs import SeaweedFS
from stores.adapters import s3_objects
from stores.adapters.s3_calls import S3Place
from stores.adapters.s3_objects import MARK, S3Objects
from stores.ports import ObjectStore
from tests.contract.objects import ObjectStoreContract, listed
from tests.support.s3 import BUCKET, fresh_place

pytestmark = pytest.mark.integration
PART = 5 * 1_048_576
"""The least that S3 takes for a part which is not the last."""


@pytest.fixture
def place(seaweedfs: SeaweedFS, tmp_path: Path) -> S3Place:
    return fresh_place(seaweedfs, tmp_path)


@pytest_asyncio.fixture
async def store(place: S3Place) -> AsyncIterator[S3Objects]:
    opened = await S3Objects.open(place, entropy)
    yield opened
    await opened.close()


class TestS3Objects(ObjectStoreContract):
    @pytest.fixture
    def store(self, store: S3Objects) -> ObjectStore:
        return store


def raw(seaweedfs: SeaweedFS, place: S3Place, key: str) -> dict[str, str]:
    return {"Bucket": BUCKET, "Key": f"{place.prefix}/{key}"}


# -- where objects are


async def test_another_process_sees_the_same_objects(store: S3Objects, place: S3Place) -> None:
    await store.put("a/b", b"1")
    other = await S3Objects.open(place, entropy, create=False)
    try:
        assert await other.get("a/b") == b"1"
        assert await other.put_new("a/b", b"2") is False
    finally:
        await other.close()


async def test_prefixes_of_one_bucket_do_not_see_each_other(store: S3Objects, place: S3Place) -> None:
    longer = await S3Objects.open(dataclasses.replace(place, prefix=place.prefix + "x"), entropy)
    inner = await S3Objects.open(dataclasses.replace(place, prefix=place.prefix + "/inner"), entropy)
    try:
        await store.put("k", b"mine")
        await longer.put("other", b"")
        assert await listed(store) == ["k"]
        assert await listed(longer) == ["other"]
        assert await listed(inner) == []
        with pytest.raises(NotFound):
            await longer.get("k")
    finally:
        await longer.close()
        await inner.close()


async def test_without_a_prefix_the_whole_bucket_is_meant(seaweedfs: SeaweedFS, place: S3Place) -> None:
    client = seaweedfs.client()
    client.create_bucket(Bucket="whole-bucket")
    whole = await S3Objects.open(dataclasses.replace(place, bucket="whole-bucket", prefix=""), entropy)
    try:
        await whole.put("a/k", b"1")
        assert await listed(whole) == ["a/k"]
        assert await whole.get("a/k") == b"1"
        assert client.get_object(Bucket="whole-bucket", Key="a/k")["Body"].read() == b"1"
    finally:
        await whole.close()


async def test_what_is_nobodys_key_is_not_listed(store: S3Objects, seaweedfs: SeaweedFS, place: S3Place) -> None:
    await store.put("k", b"")
    for key in ("with a blank", ".hidden", "ä"):
        seaweedfs.client().put_object(**raw(seaweedfs, place, key), Body=b"")
    assert await listed(store) == ["k"]


async def test_a_listing_has_many_pages(store: S3Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [f"{folder}/{n:02d}" for folder in ("n", "n-1", "n.2") for n in range(9)]
    await asyncio.gather(*(store.put(key, b"") for key in wanted))
    monkeypatch.setattr(s3_objects, "_LIST_PAGE", 4)
    assert await listed(store, "n") == sorted(wanted)
    assert await listed(store, "n/") == wanted[:9]


async def test_a_place_without_a_mark_is_not_an_empty_store(place: S3Place) -> None:
    with pytest.raises(ConfigError, match=f"no objects in s3://{BUCKET}/{place.prefix}"):
        await S3Objects.open(place, entropy, create=False)
    await (await S3Objects.open(place, entropy)).close()
    await (await S3Objects.open(place, entropy, create=False)).close()


@pytest.mark.parametrize("create", [True, False])
async def test_a_bucket_that_is_not_there_is_named_and_not_made(
    seaweedfs: SeaweedFS, place: S3Place, create: bool
) -> None:
    absent = dataclasses.replace(place, bucket="absent-bucket")
    with pytest.raises(ConfigError, match="no bucket absent-bucket"):
        await S3Objects.open(absent, entropy, create=create)
    with pytest.raises(ClientError, match="404"):
        seaweedfs.client().head_bucket(Bucket="absent-bucket")


async def test_objects_that_vanished_are_not_an_empty_store(
    store: S3Objects, seaweedfs: SeaweedFS, place: S3Place
) -> None:
    await store.put("a/k", b"x")
    for key in ("a/k", MARK):
        seaweedfs.client().delete_object(**raw(seaweedfs, place, key))
    for use in (store.get("a/k"), store.exists("a/k"), listed(store), listed(store, "a/")):
        with pytest.raises(StoreUnavailable, match=f"in s3://{BUCKET}/{place.prefix} have vanished"):
            await use
    seaweedfs.client().put_object(**raw(seaweedfs, place, MARK), Body=b"")
    assert await listed(store) == []


async def test_a_bucket_that_vanished_is_not_an_empty_store(seaweedfs: SeaweedFS, place: S3Place) -> None:
    client = seaweedfs.client()
    client.create_bucket(Bucket="mayfly")
    store = await S3Objects.open(dataclasses.replace(place, bucket="mayfly"), entropy)
    try:
        await store.put("k", b"")
        for key in ("k", MARK):
            client.delete_object(Bucket="mayfly", Key=f"{place.prefix}/{key}")
        client.delete_bucket(Bucket="mayfly")

        async def gone() -> bool:
            try:
                await store.put("k", b"")
            except StoreUnavailable as error:
                return "object k in s3://mayfly" in str(error) and "NoSuchBucket" in str(error)
            return False

        assert await until(gone, 10.0), "it keeps a bucket in mind for a moment"
        for use in (store.get("k"), store.exists("k"), store.delete("k"), listed(store)):
            with pytest.raises(StoreUnavailable):
                await use
    finally:
        await store.close()


# -- what is in them


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "S3_WHOLE_BYTES_MAX", PART)
    monkeypatch.setattr(limits, "S3_PART_BYTES", PART)


@pytest.mark.usefixtures("small_parts")
async def test_a_big_object_is_sent_in_parts(store: S3Objects, seaweedfs: SeaweedFS, place: S3Place) -> None:
    data = entropy(PART + 1)
    other = entropy(2 * PART)
    await store.put("big", data)
    assert await store.get("big") == data
    assert seaweedfs.client().head_object(**raw(seaweedfs, place, "big"))["ETag"].endswith('-2"')
    assert await store.put_new("big", other) is False
    assert await store.get("big") == data
    assert await store.put_new("new", other) is True
    assert await store.get("new") == other
    assert not seaweedfs.client().head_object(**raw(seaweedfs, place, "new"))["ETag"].endswith('-2"')
    await store.put("big", other)
    assert await store.get("big") == other
    assert await listed(store) == ["big", "new"]
    unfinished = seaweedfs.client().list_multipart_uploads(Bucket=BUCKET, Prefix=place.prefix)
    assert unfinished.get("Uploads", []) == []


@pytest.mark.usefixtures("small_parts")
async def test_of_many_who_put_a_big_one_new_at_once_one_wins(store: S3Objects) -> None:
    """In parts, SeaweedFS would let two of them win."""
    bodies = [bytes([n]) * (PART + 1) for n in range(4)]
    wrote = await asyncio.gather(*(store.put_new("race/big", body) for body in bodies))
    assert sorted(wrote) == [False] * 3 + [True]
    assert await store.get("race/big") == bodies[wrote.index(True)]


async def test_an_object_that_is_too_long_is_none_of_ours(
    store: S3Objects, seaweedfs: SeaweedFS, place: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    seaweedfs.client().put_object(**raw(seaweedfs, place, "k"), Body=b"123456789")
    monkeypatch.setattr(limits, "OBJECT_BYTES_MAX", 8)
    with pytest.raises(Corrupt, match="object k has 9 bytes"):
        await store.get("k")


async def test_what_other_tools_put_or_damaged_is_given_to_its_reader(
    store: S3Objects, seaweedfs: SeaweedFS, place: S3Place
) -> None:
    client = seaweedfs.client()
    client.put_object(**raw(seaweedfs, place, "copied"), Body=b"x")
    assert await store.get("copied") == b"x"
    await store.put("k", b"whole")
    metadata = client.head_object(**raw(seaweedfs, place, "k"))["Metadata"]
    client.put_object(**raw(seaweedfs, place, "k"), Body=b"whale", Metadata=metadata)
    assert await store.get("k") == b"whale"


async def test_objects_are_encrypted_where_it_is_asked_for(
    seaweedfs: SeaweedFS, place: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "S3_WHOLE_BYTES_MAX", PART)
    monkeypatch.setattr(limits, "S3_PART_BYTES", PART)
    store = await S3Objects.open(dataclasses.replace(place, encryption="AES256"), entropy)
    try:
        for key, data in (("k", entropy(1_000)), ("big", entropy(PART + 1))):
            await store.put(key, data)
            assert await store.get(key) == data
            assert seaweedfs.client().head_object(**raw(seaweedfs, place, key))["ServerSideEncryption"] == "AES256"
    finally:
        await store.close()


# -- who may


async def test_wrong_credentials_are_a_matter_of_settings(place: S3Place, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    for key, secret in (("planb", "wrong-secret"), ("nobody", "wrong-secret")):
        wrong.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        with pytest.raises(ConfigError, match="does not let us in") as raised:
            await S3Objects.open(dataclasses.replace(place, credentials_file=wrong), entropy)
        assert secret not in str(raised.value) + raised.value.private


@pytest.mark.parametrize("text", ["", "no ini", "[default]\naws_access_key_id = a-key\n", "[other]\nk = v\n", "\0\xff"])
async def test_a_file_without_credentials_is_named(place: S3Place, tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=str(path)) as raised:
        await S3Objects.open(dataclasses.replace(place, credentials_file=path), entropy)
    assert "a-key" not in str(raised.value)
    with pytest.raises(ConfigError, match="absent: No such file"):
        await S3Objects.open(dataclasses.replace(place, credentials_file=tmp_path / "absent"), entropy)


def alone(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Nothing of this machine's own says who we are."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


async def test_credentials_come_from_the_environment_where_no_file_is_named(
    seaweedfs: SeaweedFS, place: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone(monkeypatch, tmp_path)
    place = dataclasses.replace(place, credentials_file=None)
    with pytest.raises(ConfigError, match=r"does not let us in: .*credentials"):
        await S3Objects.open(place, entropy)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.credentials.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.credentials.secret_key)
    store = await S3Objects.open(place, entropy)
    try:
        assert await store.put_new("k", b"1") is True
    finally:
        await store.close()


async def test_no_secret_is_logged(
    seaweedfs: SeaweedFS, place: S3Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "with a token"
    key, secret = seaweedfs.credentials
    lines = (f"aws_access_key_id={key}", f"aws_secret_access_key={secret}", "aws_session_token=token-of-a-session")
    path.write_text("\n".join(("[default]", *lines)))
    with pytest.raises(ConfigError):
        await S3Objects.open(dataclasses.replace(place, credentials_file=path), entropy)
    store = await S3Objects.open(place, entropy)
    try:
        await store.put("k", b"")
    finally:
        await store.close()
    assert secret not in caplog.text
    assert "token-of-a-session" not in caplog.text
    assert secret not in repr(place)
