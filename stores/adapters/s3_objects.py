"""An ObjectStore in S3, at any endpoint that speaks it: for datacenters whose objects are to outlive their disks.

An object's S3 key is the place's prefix and its own key. `.planb` beside them, which can be nobody's key, is the mark
that objects are kept there: a bucket that was lost, or a wrong setting, never passes for an empty store.
How it is called: s3_calls.py; how it is written: s3_writes.py.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from botocore.exceptions import ClientError

from core import limits
from core.errors import ConfigError, Corrupt, NotFound, Overloaded, StoreUnavailable
from core.system import Entropy
from stores.adapters.object_keys import KEY_ALPHABET, checked, checked_size, is_key
from stores.adapters.s3_calls import (
    Damaged,
    Deadline,
    S3Calls,
    S3Place,
    code_of,
    denied,
    md5,
    reason_of,
    received,
    status_of,
)
from stores.adapters.s3_writes import MD5, S3Writes

T = TypeVar("T")

MARK = ".planb"
_LIST_PAGE = 1_000


class S3Objects:
    """Objects in `place`. Calls run on a few threads and are tried again until S3_CALL_S_MAX; then StoreUnavailable,
    and Overloaded beyond the calls that may wait. Several processes may share it. Nothing is asked before the first
    call: `check` first, or accept that one of the others says what is wrong."""

    def __init__(self, place: S3Place, entropy: Entropy) -> None:
        self._place = place
        self._calls = S3Calls(place, entropy)
        self._writes = S3Writes(self._calls, entropy)
        self._pool = ThreadPoolExecutor(limits.S3_THREADS, thread_name_prefix="s3")
        self._waiting = 0

    @classmethod
    async def open(cls, place: S3Place, entropy: Entropy, *, create: bool = True) -> Self:
        """Checked. `create`: puts the mark where there is none, for whoever is the first to write there; without it
        that is a ConfigError. The bucket itself is never made."""
        store = cls(place, entropy)
        try:
            await store.check(create=create)
        except BaseException:
            await store.close()
            raise
        return store

    async def check(self, *, create: bool = False) -> None:
        """ConfigError where there is no bucket, no mark (unless `create`), or we are not let in; StoreUnavailable
        where S3 does not answer within S3_ASK_S_MAX."""
        if await self.is_marked():
            return
        if not create:
            raise ConfigError(f"there are no objects in {self._place} (no {MARK}): is the setting right?")
        await self._run(self._writes.put, MARK, b"", True)

    async def is_marked(self) -> bool:
        """`check`, but a missing mark is no error."""
        try:
            async with asyncio.timeout(limits.S3_ASK_S_MAX):
                return await self._run(self._look_for_mark)
        except TimeoutError:
            raise StoreUnavailable(f"{self._place} does not answer within {limits.S3_ASK_S_MAX} s") from None

    async def put(self, key: str, data: bytes) -> None:
        await self._run(self._writes.put, checked(key), checked_size(key, data), False)

    async def put_new(self, key: str, data: bytes) -> bool:
        return await self._run(self._writes.put, checked(key), checked_size(key, data), True)

    async def get(self, key: str) -> bytes:
        return await self._run(self._get, checked(key))

    async def exists(self, key: str) -> bool:
        return await self._run(self._exists, checked(key))

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """All pages are fetched before the first key is given: not every S3 lists in the order of the characters."""
        folder = prefix.rpartition("/")[0]
        odd = prefix.startswith("/") or not KEY_ALPHABET.issuperset(prefix)
        if odd or (folder and not is_key(folder)):
            return  # no key begins like this, and SeaweedFS would take "//" for "/"
        await self._run(self._check_mark, f"objects {prefix}*")
        keys: list[str] = []
        token: str | None = None
        while True:
            page, token = await self._run(self._page, prefix, token)
            keys += page
            if token is None:
                break
        for key in sorted(keys):
            yield key

    async def delete(self, key: str) -> None:
        await self._run(self._delete, checked(key))

    async def close(self) -> None:
        """Nothing is tried again; what runs ends within S3_SILENT_S_MAX. Safe to repeat."""
        self._calls.ended.set()
        self._pool.shutdown(wait=False)
        await asyncio.to_thread(self._calls.close)

    async def _run(self, work: Callable[..., T], *args: Any) -> T:
        if self._calls.ended.is_set():
            raise StoreUnavailable(f"{self._place} is closed")
        if self._waiting >= limits.STORE_QUEUE_MAX:
            raise Overloaded(private=f"{self._place}: {self._waiting} calls wait", retry_after_s=1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        finally:
            self._waiting -= 1

    # -- on a thread

    def _get(self, key: str) -> bytes:
        seen: bytes | None = None

        def attempt(client: Any, deadline: Deadline) -> bytes:
            nonlocal seen
            try:
                answer = client.get_object(**self._place.named(key))
            except ClientError as error:
                if status_of(error) != 404:
                    raise
                raise NotFound(f"there is no object {key}") from None
            if answer["ContentLength"] > limits.OBJECT_BYTES_MAX:
                answer["Body"].close()
                raise Corrupt(f"object {key} has {answer['ContentLength']} bytes; it is none of ours", object=key)
            data = received(answer, deadline)
            wanted = answer["Metadata"].get(MD5)
            if wanted is None or wanted == md5(data).hex() or data == seen:
                return data  # twice the same: it was not damaged on the way, and its reader will say so
            seen = data
            raise Damaged(f"the {len(data)} bytes that came are not those that were put")

        try:
            return self._calls.ask(f"object {key}", attempt)
        except NotFound:
            self._check_mark(f"object {key}")
            raise

    def _exists(self, key: str) -> bool:
        if self._calls.ask(f"object {key}", lambda client, _: self._head(client, key)):
            return True
        self._check_mark(f"object {key}")
        return False

    def _delete(self, key: str) -> None:
        def attempt(client: Any, _: Deadline) -> None:
            try:
                client.delete_object(**self._place.named(key))
            except ClientError as error:
                if code_of(error) != "NoSuchKey":  # S3 itself does not mind; others do
                    raise

        self._calls.ask(f"object {key}", attempt)

    def _page(self, prefix: str, token: str | None) -> tuple[Sequence[str], str | None]:
        root = self._place.named("")["Key"]

        def attempt(client: Any, _: Deadline) -> Any:
            more = {"ContinuationToken": token} if token else {}
            return client.list_objects_v2(Bucket=self._place.bucket, Prefix=root + prefix, MaxKeys=_LIST_PAGE, **more)

        answer = self._calls.ask(f"objects {prefix}*", attempt)
        keys = [found["Key"].removeprefix(root) for found in answer.get("Contents", ())]
        token = answer["NextContinuationToken"] if answer["IsTruncated"] else None
        return [key for key in keys if is_key(key)], token

    def _look_for_mark(self) -> bool:
        """ConfigError without the bucket, or where we are not let in."""
        patience_s = limits.S3_ASK_S_MAX
        try:
            if self._calls.run("its mark", lambda client, _: self._head(client, MARK), patience_s=patience_s):
                return True
            bucket = {"Bucket": self._place.bucket}
            self._calls.run("its bucket", lambda client, _: client.head_bucket(**bucket), patience_s=patience_s)
        except ClientError as error:
            if status_of(error) == 404:
                raise ConfigError(f"there is no bucket {self._place.bucket}: is the setting right?") from error
            if denied(error):
                raise self._not_let_in(error) from error
            raise self._calls.unavailable("its mark", error) from error
        except StoreUnavailable as error:
            if denied(error.__cause__):
                raise self._not_let_in(error.__cause__) from error
            raise
        return False

    def _not_let_in(self, error: BaseException | None) -> ConfigError:
        return ConfigError(f"{self._place} does not let us in: {reason_of(error)}")

    def _check_mark(self, what: str) -> None:
        if not self._calls.ask(what, lambda client, _: self._head(client, MARK)):
            raise StoreUnavailable(f"{what}: the objects in {self._place} have vanished (there is no {MARK})")

    def _head(self, client: Any, key: str) -> bool:
        """False also where there is no bucket: a HEAD does not tell."""
        try:
            client.head_object(**self._place.named(key))
        except ClientError as error:
            if status_of(error) != 404:
                raise
            return False
        return True
