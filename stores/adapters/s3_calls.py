"""How S3 is called: a client for any endpoint, tried again with jitter until a deadline, bounded in every direction.

All of it is synchronous, for a thread. The driver's own retries are off: whoever writes conditionally has to know of
each try whether it may have taken effect. Back-off after Brooker ("Exponential Backoff And Jitter", 2015).
"""

import configparser
import functools
import hashlib
import io
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import boto3
import botocore.session
import urllib3.exceptions
from botocore import exceptions as driver
from botocore.config import Config
from botocore.parsers import ResponseParserError

from core import limits
from core.errors import ConfigError, StoreUnavailable
from core.system import Entropy

T = TypeVar("T")

BLOCK_BYTES = 65_536
REASON_CHARS_MAX = 300
PROFILE = "default"

# On DEBUG it logs the headers of its requests, session tokens among them.
logging.getLogger("botocore").setLevel(logging.INFO)


@dataclass(frozen=True)
class S3Place:
    """A bucket, and where in it."""

    bucket: str
    prefix: str = ""
    """Without a "/" at either end."""
    endpoint_url: str | None = None
    """None: AWS."""
    region: str | None = None
    addressing: str = "auto"
    """How the bucket is named in the URL: auto, path or virtual."""
    encryption: str | None = None
    """At the server: AES256 or aws:kms; None: as the bucket says."""
    kms_key_id: str | None = None
    credentials_file: Path | None = field(default=None, repr=False)
    """As AWS's tools write it, profile `default`; None: what the environment and the machine give (boto3's chain)."""

    def __post_init__(self) -> None:
        """ConfigError for an endpoint that names a user: errors quote endpoints."""
        _check_endpoint(self.endpoint_url)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"

    def named(self, key: str) -> dict[str, str]:
        """How a request names an object."""
        return {"Bucket": self.bucket, "Key": f"{self.prefix}/{key}" if self.prefix else key}

    @property
    def encryption_options(self) -> dict[str, str]:
        """What each write says of it."""
        options = {"ServerSideEncryption": self.encryption, "SSEKMSKeyId": self.kms_key_id}
        return {name: value for name, value in options.items() if value}


class TooSlow(Exception):
    """The deadline passed in the midst of a body."""


class Damaged(Exception):
    """A body arrived that is not what was put."""


_TRANSPORT = (
    driver.ConnectionError,  # nobody is there
    driver.HTTPClientError,  # cut, timed out
    driver.ResponseStreamingError,
    ResponseParserError,
    urllib3.exceptions.HTTPError,
    OSError,
    TooSlow,
    Damaged,
)
"""After these a request may have taken effect or not."""

_AGAIN = frozenset(
    ["BadDigest", "ConditionalRequestConflict", "IncompleteBody", "OperationAborted", "RequestTimeout", "SlowDown",
     "Throttling", "ThrottlingException", "XAmzContentSHA256Mismatch"]
)  # fmt: skip
_DENIED = frozenset(["401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])


def code_of(error: driver.ClientError) -> str:
    """S3's own name for it, or the status where it gave none (it answers a HEAD without a body)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: driver.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def maybe_done(error: BaseException) -> bool:
    """Whether a request that ended so may have taken effect: it was not refused in so many words."""
    return not isinstance(error, driver.ClientError) or status_of(error) >= 500


def denied(error: BaseException | None) -> bool:
    """Whether S3 does not accept who we are, or does not allow it; then trying again is of no use."""
    if isinstance(error, driver.ClientError):
        return code_of(error) in _DENIED
    return isinstance(
        error, driver.NoCredentialsError | driver.CredentialRetrievalError | driver.PartialCredentialsError
    )


def reason_of(error: BaseException | None) -> str:
    """What went wrong, in S3's words or the transport's; none of them holds a secret."""
    if isinstance(error, driver.ClientError):
        reason = f"{code_of(error)} {error.response.get('Error', {}).get('Message', '')}".strip()
    else:
        reason = str(error) or type(error).__name__
    return reason[:REASON_CHARS_MAX]


def md5(data: bytes) -> bytes:
    """S3's own checksum. Against damage, not against anybody."""
    return hashlib.md5(data, usedforsecurity=False).digest()


class Deadline:
    """When whoever asked has waited long enough. Grows with what there is to carry."""

    def __init__(self, ended: threading.Event, patience_s: float, size: int = 0) -> None:
        self._ended = ended
        self._at = time.monotonic() + patience_s + size / limits.S3_BYTES_PER_S_MIN

    def left_s(self) -> float:
        return self._at - time.monotonic()

    def grow(self, size: int) -> None:
        self._at += size / limits.S3_BYTES_PER_S_MIN

    def check(self) -> None:
        """TooSlow when it is over, or the store is closed."""
        if self._ended.is_set() or self.left_s() < 0:
            raise TooSlow("it takes too long")


class Body(io.BytesIO):
    """What is sent; a peer that takes it drop by drop does not hold the thread for ever."""

    def __init__(self, data: bytes, deadline: Deadline) -> None:
        super().__init__(data)
        self._deadline = deadline

    def read(self, size: int | None = -1, /) -> bytes:
        self._deadline.check()
        return super().read(size)


def received(answer: Any, deadline: Deadline) -> bytes:
    """The body of an answer whose length was found bearable. What is short raises, as the transport does."""
    size = int(answer["ContentLength"])
    deadline.grow(size)
    # The driver's `read` waits until all it was asked for is there; this one returns what came, so that it is bounded.
    stream = answer["Body"]._raw_stream
    data = bytearray()
    try:
        while block := stream.read1(BLOCK_BYTES):
            data += block
            deadline.check()
    finally:
        answer["Body"].close()
    if len(data) != size:
        raise Damaged(f"{len(data)} of {size} bytes came")
    return bytes(data)


class S3Calls:
    """One client, shared by the threads of a store; made by the first call, which may have to look for credentials."""

    def __init__(self, place: S3Place, entropy: Entropy) -> None:
        self.place = place
        self._entropy = entropy
        self._lock = threading.Lock()
        self._client: Any = None
        self.ended = threading.Event()
        """The store is closed: nothing is tried again."""

    def run(
        self, what: str, attempt: Callable[[Any, Deadline], T], *, size: int = 0, patience_s: float | None = None
    ) -> T:
        """What `attempt(client, deadline)` returns, tried again after a failure that may pass. A refusal that will not
        pass is the driver's ClientError; StoreUnavailable, naming `what`, when the time is over, or for any other."""
        patience_s = limits.S3_CALL_S_MAX if patience_s is None else patience_s
        deadline = Deadline(self.ended, patience_s, size)
        tries = 0
        while True:
            if self.ended.is_set():
                raise StoreUnavailable(f"{what} in {self.place}: it is closed")
            try:
                return attempt(self._made(), deadline)
            except driver.ClientError as error:
                if status_of(error) < 500 and status_of(error) != 429 and code_of(error) not in _AGAIN:
                    raise
                cause: Exception = error
            except _TRANSPORT as error:
                cause = error
            except driver.BotoCoreError as error:
                raise self.unavailable(what, error) from error
            wait_s = self._wait_s(tries)
            tries += 1
            if wait_s >= deadline.left_s() or self.ended.wait(wait_s):
                raise self.unavailable(what, cause, tries) from cause

    def ask(self, what: str, attempt: Callable[[Any, Deadline], T], *, size: int = 0) -> T:
        """`run`, but a refusal, too, is StoreUnavailable: attempts see to those that mean something."""
        try:
            return self.run(what, attempt, size=size)
        except driver.ClientError as error:
            raise self.unavailable(what, error) from error

    def unavailable(self, what: str, error: BaseException, tries: int = 1) -> StoreUnavailable:
        again = f" (tried {tries} times)" if tries > 1 else ""
        return StoreUnavailable(f"{what} in {self.place}: {reason_of(error)}{again}", private=repr(error))

    def close(self) -> None:
        """What runs ends at its next step; connections that are idle are closed."""
        self.ended.set()
        with self._lock:
            if self._client is not None:
                self._client.close()

    def _wait_s(self, tries: int) -> float:
        ceiling_ms = min(limits.BACKOFF_MS_MAX, limits.BACKOFF_MS_FIRST << min(tries, 20))
        part = int.from_bytes(self._entropy(2)) / 65_536
        return max(limits.BACKOFF_MS_FIRST / 2, ceiling_ms * part) / 1_000

    def _made(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _client(self.place)
            return self._client


def _client(place: S3Place) -> Any:
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=limits.S3_CONNECT_S_MAX,
        read_timeout=limits.S3_SILENT_S_MAX,
        max_pool_connections=limits.S3_THREADS,
        tcp_keepalive=True,
        # Newer checksums are not known everywhere; Content-MD5, which we send, is.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": place.addressing},
        user_agent_extra="planb",
    )
    keys = _keys(place.credentials_file) if place.credentials_file else {}
    session = botocore.session.get_session()
    session.register_component("data_loader", _descriptions())
    client = boto3.session.Session(botocore_session=session).client(
        "s3", endpoint_url=place.endpoint_url, region_name=place.region, config=config, **keys
    )
    _check_endpoint(client.meta.endpoint_url)  # it may come from the environment, or a file of AWS's tools
    return client


def _check_endpoint(url: str | None) -> None:
    if "@" in (url or ""):
        raise ConfigError(
            "the endpoint of S3 names a user in its URL: credentials belong into secrets.s3_credentials_file"
        )


@functools.cache
def _descriptions() -> Any:
    """AWS's description of S3, which takes half a second to read, once per process."""
    return botocore.session.get_session().get_component("data_loader")


def _keys(path: Path) -> dict[str, str | None]:
    """From a file as AWS's tools write it. ConfigError names the file, never what is in it."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text())
        keys = dict(parser[PROFILE]) if PROFILE in parser else {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError):
        raise ConfigError(f"{path} is not a file of AWS credentials") from None
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    if not keys.get(names[0]) or not keys.get(names[1]):
        raise ConfigError(f"{path}: [{PROFILE}] has no {names[0]} and {names[1]}")
    return {name: keys.get(name) for name in names}
