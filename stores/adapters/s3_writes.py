"""How an object is written to S3: at once, or in parts; and how the outcome of a write is known for sure.

A conditional put whose answer was lost is tried again, and then finds what it wrote itself. So each write carries a
token of its own in the object's metadata, by which it knows it again. A put whose time was over may still land later:
under one key there should only ever be the same bytes, or conditional puts.
"""

import base64
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from core import limits
from core.errors import StoreUnavailable
from core.system import Entropy
from stores.adapters.s3_calls import Body, Deadline, S3Calls, code_of, maybe_done, md5, status_of

_log = logging.getLogger(__name__)

TOKEN = "planb-token"
MD5 = "planb-md5"
"""Metadata of an object: who wrote it, and what its bytes were."""
AT_ONCE_BYTES_MAX = 1_048_576
"""For a body that is more than bytes the driver asks the server first whether it may be sent: another round trip."""


@dataclass
class Write:
    """One put, over all its tries."""

    key: str
    data: bytes
    token: str
    new: bool
    """Only where nothing is."""
    unknown: bool = False
    """A try of it may have taken effect."""

    @property
    def condition(self) -> dict[str, str]:
        return {"IfNoneMatch": "*"} if self.new else {}

    @property
    def metadata(self) -> dict[str, str]:
        return {TOKEN: self.token, MD5: md5(self.data).hex()}

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Around each request that may take effect."""
        try:
            yield
        except Exception as error:
            self.unknown = self.unknown or maybe_done(error)
            raise


class S3Writes:
    """Synchronous, for a thread."""

    def __init__(self, calls: S3Calls, entropy: Entropy) -> None:
        self._calls = calls
        self._place = calls.place
        self._entropy = entropy

    def put(self, key: str, data: bytes, new: bool) -> bool:
        """Whether it was written: always, unless it is to be `new` and something is there."""
        write = Write(key, data, self._entropy(16).hex(), new)
        if len(data) > limits.S3_WHOLE_BYTES_MAX and not new:
            self._put_parts(write)
            return True

        def attempt(client: Any, deadline: Deadline) -> bool:
            with write.trying():
                try:
                    client.put_object(
                        **self._place.named(key),
                        **self._described(write),
                        **write.condition,
                        Body=_body(data, deadline),
                        ContentMD5=_in_base64(data),
                    )
                except ClientError as error:
                    if not new or status_of(error) != 412:
                        raise
                    return write.unknown and self._is_ours(client, write)
            return True

        return self._calls.ask(f"object {key}", attempt, size=len(data))

    def _put_parts(self, write: Write) -> None:
        """Never conditionally: SeaweedFS 4.48 lets two conditional completions of one key win."""
        name = self._place.named(write.key)

        def begin(client: Any, _: Deadline) -> str:
            return str(client.create_multipart_upload(**name, **self._described(write))["UploadId"])

        upload = self._calls.ask(f"object {write.key}", begin)
        try:
            parts = []
            for number, at in enumerate(range(0, len(write.data), limits.S3_PART_BYTES), 1):
                part = write.data[at : at + limits.S3_PART_BYTES]
                parts.append({"PartNumber": number, "ETag": self._put_part(write.key, upload, number, part)})
            self._complete(write, upload, parts)
        except BaseException:
            self._abort(write.key, upload)
            raise

    def _put_part(self, key: str, upload: str, number: int, part: bytes) -> str:
        def attempt(client: Any, deadline: Deadline) -> str:
            answer = client.upload_part(
                **self._place.named(key),
                UploadId=upload,
                PartNumber=number,
                Body=_body(part, deadline),
                ContentMD5=_in_base64(part),
            )
            return str(answer["ETag"])

        return self._calls.ask(f"object {key}", attempt, size=len(part))

    def _complete(self, write: Write, upload: str, parts: list[dict[str, Any]]) -> None:
        def attempt(client: Any, _: Deadline) -> None:
            with write.trying():
                try:
                    client.complete_multipart_upload(
                        **self._place.named(write.key), UploadId=upload, MultipartUpload={"Parts": parts}
                    )
                except ClientError as error:
                    completed = code_of(error) == "NoSuchUpload" and write.unknown and self._is_ours(client, write)
                    if not completed:
                        raise

        self._calls.ask(f"object {write.key}", attempt)

    def _abort(self, key: str, upload: str) -> None:
        """Once. What stays is removed by the bucket's own rule for unfinished uploads (docs/operations.md)."""
        try:
            self._calls.run(
                f"object {key}",
                lambda client, _: client.abort_multipart_upload(**self._place.named(key), UploadId=upload),
                patience_s=0,
            )
        except (ClientError, StoreUnavailable) as error:
            _log.warning("an unfinished upload of %s stays in %s: %s", key, self._place, error)

    def _is_ours(self, client: Any, write: Write) -> bool:
        """Whether what is there was made by this very write. What is gone again is not ours."""
        try:
            found = client.head_object(**self._place.named(write.key))
        except ClientError as error:
            if status_of(error) != 404:
                raise
            return False
        return bool(found["Metadata"].get(TOKEN) == write.token)

    def _described(self, write: Write) -> dict[str, Any]:
        return {
            "Metadata": write.metadata,
            "ContentType": "application/octet-stream",
            **self._place.encryption_options,
        }


def _body(data: bytes, deadline: Deadline) -> bytes | Body:
    return data if len(data) <= AT_ONCE_BYTES_MAX else Body(data, deadline)


def _in_base64(data: bytes) -> str:
    return base64.b64encode(md5(data)).decode()
