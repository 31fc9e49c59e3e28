"""SeaweedFS: one private S3 server on loopback, all of it in one process.

End it with `kill` and start the next one on a fresh folder: an orderly stop takes seconds, and so does a restart on
the same folder until its parts have found each other again.
"""

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from cli.servers import Child, free_ports
from deploy.local import install
from deploy.local.starting import Process

READY_S_MAX = 60.0
"""It takes 5 s on an idle machine."""
REGION = "us-east-1"
BUCKET = "planb"
VOLUME_MB_MAX = 64
VOLUMES_MAX = 100
"""Each bucket takes 7 volumes: files that grow up to their size, not made so long beforehand."""
_PARTS = ("master", "volume", "filer", "s3")
_EXISTS = ("BucketAlreadyExists", "BucketAlreadyOwnedByYou")


class Credentials(NamedTuple):
    access_key: str
    secret_key: str


class SeaweedFS(Process):
    """`start`, then it answers at `url` to its credentials only. A bucket that was not made is not there."""

    def __init__(self, folder: Path, name: str = "seaweedfs") -> None:
        """NotFound, saying what to do, if it is not installed. `start` makes `folder`: a fresh one."""
        self.credentials = Credentials("planb", secrets.token_hex(16))
        self._folder = folder
        self._bucket = BUCKET
        options = [f"{part}.{port}" for part in _PARTS for port in ("port", "port.grpc")]
        ports = dict(zip(options, free_ports(len(options)), strict=True))
        self.port = ports["s3.port"]
        self._identities = folder / "identities.json"
        command = [
            str(install.program("seaweedfs", "weed")), "-logtostderr=true", "server", "-s3",
            f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
            f"-master.volumeSizeLimitMB={VOLUME_MB_MAX}", f"-volume.max={VOLUMES_MAX}",
            f"-s3.config={self._identities}", "-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
            *(f"-{option}={port}" for option, port in ports.items()),
        ]  # fmt: skip
        # It looks for settings in the home folder, too. With the key it can encrypt (SSE-S3).
        env = {"HOME": str(folder), "WEED_S3_SSE_KEK": secrets.token_hex(32)}
        super().__init__(Child(name, command, folder / "server.log", env))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, bucket: str = BUCKET) -> None:
        """Returns when this bucket is there and takes objects: its S3 side answers before its volumes have found
        their master, and a bucket's first object waits for its volumes to be made. Unavailable with its last words if
        it ends before, or is too slow."""
        self._folder.mkdir(parents=True, exist_ok=True)
        identity = {
            "name": "planb",
            "credentials": [
                {"accessKey": self.credentials.access_key, "secretKey": self.credentials.secret_key},
            ],
            "actions": ["Admin"],
        }
        self._bucket = bucket
        self._identities.touch(mode=0o600)
        self._identities.write_text(json.dumps({"identities": [identity]}))
        await self._begin(self._look, READY_S_MAX)

    @property
    def found(self) -> dict[str, str]:
        return {
            "objects_url": f"s3://{self._bucket}",
            "endpoint_url": self.url,
            "region": REGION,
            "aws_access_key_id": self.credentials.access_key,
            "aws_secret_access_key": self.credentials.secret_key,
        }

    def client(self) -> Any:
        """A boto3 client, for whoever looks at what is really there. It tries once."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    async def _look(self) -> str:
        try:
            await asyncio.to_thread(self._make)
        except (BotoCoreError, ClientError) as error:
            return str(error)
        return ""

    def _make(self) -> None:
        client, bucket = self.client(), self._bucket
        try:
            client.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _EXISTS:
                raise
        client.put_object(Bucket=bucket, Key=_PROBE, Body=b"x")
        client.delete_object(Bucket=bucket, Key=_PROBE)


_PROBE = ".probe"
