"""What the settings say of where state lives: `[stores]`. What has to fit together: settings_rules.py."""

from pathlib import Path
from typing import Literal

import pydantic

from cli.folders import why_unusable
from core import limits
from core.errors import ConfigError
from stores.adapters.object_keys import is_key

OBJECTS_PREFIX_CHARS_MAX = 256
"""With the longest key still less than S3's 1,024."""
_MYSQL_URL = r"^mysql://[A-Za-z0-9._-]{1,32}@([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?/[A-Za-z0-9_-]{1,58}$"


class S3(pydantic.BaseModel):
    """How S3 is reached and what is asked of it. Credentials: `secrets.s3_credentials_file`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    endpoint_url: str | None = pydantic.Field(
        None, pattern=r"^https?://[^\s/@?#]+/?$", examples=["https://s3.example.com"]
    )
    """Without it, AWS."""
    region: str | None = pydantic.Field(None, pattern=r"^[a-z0-9-]+$", examples=["eu-central-1"])
    addressing: Literal["path", "virtual"] | None = None
    """How a URL names the bucket: in its path (what most servers but AWS want, the default with `endpoint_url`), or in
    its host."""
    encryption: Literal["AES256", "aws:kms"] | None = None
    """By the server, of each object; without it, as the bucket says."""
    kms_key_id: str | None = None


class Cassandra(pydantic.BaseModel):
    """How the cluster of `stores.messages_url` is used. Its password: `secrets.cassandra_password_file`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    local_datacenter: str | None = pydantic.Field(None, pattern=r"^[A-Za-z0-9_.-]+$", examples=["dc1"])
    """As the cluster calls the datacenter that it has here: its nodes alone are asked."""
    consistency: Literal["LOCAL_QUORUM", "QUORUM", "LOCAL_ONE"] = "LOCAL_QUORUM"
    """Of every read and write. LOCAL_ONE is right with one copy only."""
    user: str | None = None


class Mysql(pydantic.BaseModel):
    """How MySQL or MariaDB is reached. Its password: `secrets.mysql_password_file`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    connections: int = pydantic.Field(8, ge=limits.SQL_CONNECTIONS_MIN, le=100)
    """Of each process: one writes, the others read."""
    tls: bool = False
    """Also checks that the server's certificate is of the host that the URL names."""
    ca_file: Path | None = None
    """Who has to have signed it (PEM); without it, one whom this machine trusts."""


class Pulsar(pydantic.BaseModel):
    """The cluster that the event log is on. A token: `secrets.pulsar_token_file`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    admin_url: str | None = pydantic.Field(None, pattern=r"^https?://[^\s/@?#]+/?$", examples=["http://127.0.0.1:8080"])
    tenant: str = pydantic.Field("planb", pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["planb"])
    backlog_bytes_max: int = pydantic.Field(10 << 30, ge=1 << 20)
    """What one lane may keep in its topic: records that are not trimmed, or not replicated yet. At half of it its
    writes are refused."""


class Stores(pydantic.BaseModel):
    """Where state lives. The log's Valkey runs with `appendfsync always`, the hot one without persistence."""

    model_config = pydantic.ConfigDict(extra="forbid")
    data_dir: Path = pydantic.Field(examples=["/var/lib/planb"])
    """SQLite files."""
    objects_dir: Path | None = pydantic.Field(None, examples=["/mnt/objects/fra"])
    """Archive and snapshots; survives the loss of `data_dir`. Either this or `objects_url`."""
    objects_url: str | None = pydantic.Field(
        None,
        pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]+)?$",
        examples=["s3://planb-fra/objects"],
    )
    """The same in S3: s3://bucket, or s3://bucket/prefix."""
    s3: S3 = S3()
    messages_url: str | None = pydantic.Field(
        None,
        pattern=r"^cassandra://[A-Za-z0-9.-]+:\d{1,5}(,[A-Za-z0-9.-]+:\d{1,5})*/[a-z][a-z0-9_]{0,47}$",
        examples=["cassandra://10.0.1.7:9042,10.0.1.8:9042/planb_fra"],
    )
    """Message rows in Cassandra or ScyllaDB: cassandra://host:port,host:port/keyspace, some of the local nodes. Without
    it in a SQLite file."""
    cassandra: Cassandra = Cassandra()
    relational_url: str | None = pydantic.Field(
        None, pattern=_MYSQL_URL, examples=["mysql://planb@10.0.1.9:3306/planb"]
    )
    """mysql://user@host:port/database: the relational rows in a server instead of a file in `data_dir`."""
    mysql: Mysql = Mysql()
    log_url: str = pydantic.Field(
        pattern=r"^(redis|rediss|unix|pulsar|pulsar\+ssl)://", examples=["redis://127.0.0.1:6379/0"]
    )
    """A password: `secrets.log_password_file`, or of a Pulsar `secrets.pulsar_token_file`."""
    pulsar: Pulsar = Pulsar()
    hot_url: str = pydantic.Field(pattern=r"^(redis|unix|redis\+cluster)://", examples=["redis://127.0.0.1:6380/0"])
    """One server, or redis+cluster://host:port,host:port: some nodes of a cluster, which name the others. A
    password: `secrets.hot_password_file`."""

    @pydantic.field_validator("objects_url")
    @classmethod
    def _is_a_place(cls, url: str | None) -> str | None:
        prefix = (url or "").removeprefix("s3://").partition("/")[2]
        if prefix and not (is_key(prefix) and len(prefix) <= OBJECTS_PREFIX_CHARS_MAX):
            raise ValueError(
                f"the prefix is parts of [A-Za-z0-9._-] that do not begin with a dot, joined by '/',"
                f" {OBJECTS_PREFIX_CHARS_MAX} characters at most"
            )
        return url

    @property
    def message_nodes(self) -> list[tuple[str, int]]:
        """(host, port) of those that `messages_url` names."""
        nodes = (self.messages_url or "").removeprefix("cassandra://").partition("/")[0]
        return [(host, int(port)) for host, _, port in (node.partition(":") for node in nodes.split(",") if node)]

    @property
    def on_pulsar(self) -> bool:
        """Is the event log on Pulsar?"""
        return self.log_url.startswith("pulsar")

    @property
    def relational_file(self) -> Path:
        return self.data_dir / "relational.db"

    @property
    def messages_file(self) -> Path:
        return self.data_dir / "messages.db"

    def make_data_dir(self) -> None:
        """Creates the folder of the SQLite files when it is missing. ConfigError if that can't be, or it can't be
        written to."""
        self.check_data_dir()
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"stores.data_dir: {self.data_dir} is not usable: {error.strerror}") from error

    def check_data_dir(self) -> None:
        """Whether it is a folder that can be written to, or could be made; makes nothing. ConfigError says what is
        wrong with it."""
        if reason := why_unusable(self.data_dir):
            raise ConfigError(f"stores.data_dir: {self.data_dir} is not usable: {reason}")
