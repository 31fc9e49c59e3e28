"""Where a datacenter's objects are, by its settings: in a folder, or in S3."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cli.settings import Settings
from core.system import entropy
from stores.adapters.directory_objects import DirectoryObjects
from stores.ports import ObjectStore

if TYPE_CHECKING:
    from stores.adapters.s3_calls import S3Place

Closer = Callable[[], Awaitable[None]]


def where(settings: Settings) -> str:
    """As an operator knows it: the folder, or the URL."""
    return str(settings.stores.objects_dir or settings.stores.objects_url)


def setting(settings: Settings) -> str:
    """The one that says where."""
    return "objects_dir" if settings.stores.objects_dir else "objects_url"


async def are_missing(settings: Settings) -> str:
    """What is not there, where nothing is; "" where something is. Makes nothing. StoreUnavailable where S3 does not
    answer, ConfigError where it does not let us in."""
    folder = settings.stores.objects_dir
    if folder:
        return "" if folder.exists() else f"there is no object folder {folder}"
    from stores.adapters.s3_objects import MARK, S3Objects

    store = S3Objects(s3_place(settings), entropy)
    try:
        return "" if await store.is_marked() else f"there are no objects in {where(settings)} (no {MARK})"
    finally:
        await store.close()


async def opened(settings: Settings, *, create: bool, unchecked: bool = False) -> tuple[ObjectStore, Closer]:
    """The store, and what closes it. `create`: whoever is the first to write there makes it (a folder, or the mark in
    a bucket; never a bucket). Else a missing one is a ConfigError. `unchecked`: S3 is known to be down; what is wrong
    with it is said by each call."""
    folder = settings.stores.objects_dir
    if folder:
        return DirectoryObjects(folder, create=create), _nothing
    from stores.adapters.s3_objects import S3Objects  # boto3 takes its time, and most need it not

    place = s3_place(settings)
    store = S3Objects(place, entropy) if unchecked else await S3Objects.open(place, entropy, create=create)
    return store, store.close


@asynccontextmanager
async def there(settings: Settings) -> AsyncIterator[ObjectStore]:
    """What has to be there: an empty one in its place would only say that there is nothing."""
    store, close = await opened(settings, create=False)
    try:
        yield store
    finally:
        await close()


def s3_place(settings: Settings) -> "S3Place":
    from stores.adapters.s3_calls import S3Place

    bucket, _, prefix = (settings.stores.objects_url or "").removeprefix("s3://").partition("/")
    s3 = settings.stores.s3
    return S3Place(
        bucket,
        prefix,
        endpoint_url=s3.endpoint_url,
        region=s3.region,
        addressing=s3.addressing or ("path" if s3.endpoint_url else "auto"),
        encryption=s3.encryption,
        kms_key_id=s3.kms_key_id,
        credentials_file=settings.secrets.s3_credentials_file,
    )


async def _nothing() -> None:
    """A folder needs no closing."""
