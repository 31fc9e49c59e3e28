"""The settings of one datacenter: a TOML file, with environment variables (`PLANB_…`) over it.

Secrets are named by file, so that they never stand in the settings or in an environment.
"""

import base64
import os
import tomllib
from pathlib import Path
from typing import Literal, Self

import pydantic
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cli.coordination import CoordinationSettings
from core import limits
from core.errors import ConfigError
from stores.adapters.object_keys import is_key

PUBLIC_KEY_BYTES = 32
OBJECTS_PREFIX_CHARS_MAX = 256
"""With the longest key still less than S3's 1,024."""


_MYSQL_URL = r"^mysql://[A-Za-z0-9._-]{1,32}@([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?/[A-Za-z0-9_-]{1,58}$"


class Listen(pydantic.BaseModel):
    """A listener."""

    model_config = pydantic.ConfigDict(extra="forbid")
    host: str = "127.0.0.1"
    port: int = pydantic.Field(ge=1, le=65535)


class Public(Listen):
    """The listener for clients."""

    proxies: list[pydantic.IPvAnyAddress] = []
    """Load balancers in front of it: the client's address is what they say in X-Forwarded-For."""


class Dc(pydantic.BaseModel):
    """Who this datacenter is."""

    model_config = pydantic.ConfigDict(extra="forbid")
    name: str = pydantic.Field(pattern=r"^[a-z][a-z0-9-]{0,15}$")
    number: int = pydantic.Field(ge=0, le=limits.DC_MAX)
    """Never reused by another datacenter."""


class PeerPulsar(pydantic.BaseModel):
    """Another datacenter's Pulsar, as our brokers reach it: for `planb dc add`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    cluster: str = pydantic.Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """Its name, as its brokers call themselves."""
    broker_url: str = pydantic.Field(pattern=r"^pulsar(\+ssl)?://[^\s/@]+$")
    admin_url: str = pydantic.Field(pattern=r"^https?://[^\s/@?#]+/?$")


class Peer(pydantic.BaseModel):
    """Another datacenter of the map."""

    model_config = pydantic.ConfigDict(extra="forbid")
    number: int = pydantic.Field(ge=0, le=limits.DC_MAX)
    sys_url: str = pydantic.Field(pattern=r"^https?://[^\s/]+")
    """Where its internal listener is reached from here."""
    public_key: str
    """Its Ed25519 public key, base64."""
    pulsar: PeerPulsar | None = None

    @pydantic.field_validator("public_key")
    @classmethod
    def _is_a_key(cls, text: str) -> str:
        try:
            size = len(base64.b64decode(text, validate=True))
        except ValueError:
            size = 0
        if size != PUBLIC_KEY_BYTES:
            raise ValueError(f"must be {PUBLIC_KEY_BYTES} bytes in base64")
        return text


class S3(pydantic.BaseModel):
    """How S3 is reached and what is asked of it. Credentials: `secrets.s3_credentials_file`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    endpoint_url: str | None = pydantic.Field(None, pattern=r"^https?://[^\s/@?#]+/?$")
    """Without it, AWS."""
    region: str | None = pydantic.Field(None, pattern=r"^[a-z0-9-]+$")
    addressing: Literal["path", "virtual"] | None = None
    """How a URL names the bucket: in its path (what most servers but AWS want, the default with `endpoint_url`), or in
    its host."""
    encryption: Literal["AES256", "aws:kms"] | None = None
    """By the server, of each object; without it, as the bucket says."""
    kms_key_id: str | None = None

    @pydantic.model_validator(mode="after")
    def _key_of_kms(self) -> Self:
        if self.kms_key_id and self.encryption != "aws:kms":
            raise ValueError('kms_key_id goes with encryption = "aws:kms"')
        return self


class Cassandra(pydantic.BaseModel):
    """How the cluster of `stores.messages_url` is used. Its password: `secrets.cassandra_password_file`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    local_datacenter: str | None = pydantic.Field(None, pattern=r"^[A-Za-z0-9_.-]+$")
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

    @pydantic.model_validator(mode="after")
    def _ca_of_tls(self) -> Self:
        if self.ca_file and not self.tls:
            raise ValueError("ca_file goes with tls = true")
        return self


class Pulsar(pydantic.BaseModel):
    """The cluster that the event log is on. A token: `secrets.pulsar_token_file`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    admin_url: str | None = pydantic.Field(None, pattern=r"^https?://[^\s/@?#]+/?$")
    tenant: str = pydantic.Field("planb", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    backlog_bytes_max: int = pydantic.Field(10 << 30, ge=1 << 20)
    """What one lane may keep in its topic: records that are not trimmed, or not replicated yet. At half of it its
    writes are refused."""


class Stores(pydantic.BaseModel):
    """Where state lives. The log's Valkey runs with `appendfsync always`, the hot one without persistence."""

    model_config = pydantic.ConfigDict(extra="forbid")
    data_dir: Path
    """SQLite files."""
    objects_dir: Path | None = None
    """Archive and snapshots; survives the loss of `data_dir`. Either this or `objects_url`."""
    objects_url: str | None = pydantic.Field(
        None, pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._/-]+)?$"
    )
    """The same in S3: s3://bucket, or s3://bucket/prefix."""
    s3: S3 = S3()
    messages_url: str | None = pydantic.Field(
        None, pattern=r"^cassandra://[A-Za-z0-9.-]+:\d{1,5}(,[A-Za-z0-9.-]+:\d{1,5})*/[a-z][a-z0-9_]{0,47}$"
    )
    """Message rows in Cassandra or ScyllaDB: cassandra://host:port,host:port/keyspace, some of the local nodes. Without
    it in a SQLite file."""
    cassandra: Cassandra = Cassandra()
    relational_url: str | None = pydantic.Field(None, pattern=_MYSQL_URL)
    """mysql://user@host:port/database: the relational rows in a server instead of a file in `data_dir`."""
    mysql: Mysql = Mysql()
    log_url: str = pydantic.Field(pattern=r"^(redis|rediss|unix|pulsar|pulsar\+ssl)://")
    pulsar: Pulsar = Pulsar()
    hot_url: str = pydantic.Field(pattern=r"^(redis|unix|redis\+cluster)://")
    """One server, or redis+cluster://host:port,host:port: some nodes of a cluster, which name the others."""

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

    @pydantic.model_validator(mode="after")
    def _one_place_for_objects(self) -> Self:
        if (self.objects_dir is None) == (self.objects_url is None):
            raise ValueError("either objects_dir or objects_url says where the objects are")
        if self.objects_dir and self.s3 != S3():
            raise ValueError("s3 goes with objects_url, not with objects_dir")
        return self

    @pydantic.model_validator(mode="after")
    def _a_cluster(self) -> Self:
        if self.messages_url is None:
            if self.cassandra != Cassandra():
                raise ValueError("cassandra goes with messages_url")
            return self
        if self.cassandra.local_datacenter is None:
            raise ValueError("messages_url needs cassandra.local_datacenter")
        ports = {port for _, port in self.message_nodes}
        if len(ports) != 1 or not 0 < ports.pop() < 65_536:
            raise ValueError("messages_url: all nodes of a cluster have one port")
        return self

    @property
    def message_nodes(self) -> list[tuple[str, int]]:
        """(host, port) of those that `messages_url` names."""
        nodes = (self.messages_url or "").removeprefix("cassandra://").partition("/")[0]
        return [(host, int(port)) for host, _, port in (node.partition(":") for node in nodes.split(",") if node)]

    @pydantic.model_validator(mode="after")
    def _mysql_of_a_url(self) -> Self:
        if self.relational_url is None and self.mysql != Mysql():
            raise ValueError("mysql goes with relational_url")
        return self

    @pydantic.model_validator(mode="after")
    def _administered(self) -> Self:
        if self.on_pulsar and not self.pulsar.admin_url:
            raise ValueError("a log_url of a Pulsar goes with pulsar.admin_url")
        if not self.on_pulsar and self.pulsar != Pulsar():
            raise ValueError("pulsar goes with a log_url that begins with pulsar://")
        return self

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
        there = next(path for path in (self.data_dir, *self.data_dir.absolute().parents) if os.path.lexists(path))
        disk = os.statvfs(there)
        if not there.is_dir():
            reason = f"{there} is a file"
        elif disk.f_flag & os.ST_RDONLY:
            reason = f"{there} is on a disk that is mounted read-only"
        elif not os.access(there, os.W_OK | os.X_OK):
            reason = f"this user may not write in {there}"
        elif not disk.f_blocks:
            reason = f"{there} is on no disk"
        else:
            return
        raise ConfigError(f"stores.data_dir: {self.data_dir} is not usable: {reason}")


class Series(pydantic.BaseModel):
    """What a datacenter measures of itself over time, for `planb series`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    enabled: bool = True
    retention_days: int = pydantic.Field(7, ge=1, le=3_650)
    """Of SQLite, which loses its oldest points earlier when its file is full (SERIES_BYTES_MAX), and of a database that
    is made in TDengine."""
    tdengine_url: str | None = pydantic.Field(None, pattern=r"^https?://[^\s/@?#]+/?$")
    """Of its REST interface. Without it, a SQLite file in `stores.data_dir`."""
    tdengine_user: str = pydantic.Field("planb", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """Its password: `secrets.tdengine_password_file`."""
    tdengine_database: str = pydantic.Field("planb", pattern=r"^[a-z][a-z0-9_]{0,31}$")
    """Datacenters may share one."""


class Secrets(pydantic.BaseModel):
    """Files that hold keys."""

    model_config = pydantic.ConfigDict(extra="forbid")
    token_key_file: Path
    """Shared by all datacenters: signs tokens, cursors and clocks. At least 32 bytes."""
    sys_key_file: Path
    """Shared by all datacenters: authenticates the internal listener. At least 32 bytes."""
    signing_key_file: Path
    """This datacenter's own Ed25519 private key, 32 raw bytes."""
    cassandra_password_file: Path | None = None
    """Of `stores.cassandra.user`: the file's only line."""
    s3_credentials_file: Path | None = None
    """As AWS's tools write it, its profile `default`. Without it, what AWS's tools would find: environment, ~/.aws, the
    machine's own role."""
    tdengine_password_file: Path | None = None
    """One line."""
    mysql_password_file: Path | None = None
    """The password of the user in `stores.relational_url`, one line. Read at each new connection."""
    pulsar_token_file: Path | None = None
    """A token for broker and admin API; without it, no authentication."""


class Settings(BaseSettings):
    """All settings of one datacenter."""

    model_config = SettingsConfigDict(
        env_prefix="PLANB_", env_nested_delimiter="__", extra="forbid", hide_input_in_errors=True
    )
    dc: Dc
    public: Public
    sys: Listen
    stores: Stores
    secrets: Secrets
    series: Series = Series()
    coordination: CoordinationSettings = CoordinationSettings()
    peers: dict[str, Peer] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file."""
        return (env_settings, init_settings)

    @property
    def names(self) -> dict[int, str]:
        """DC number -> name, of the whole map."""
        return {self.dc.number: self.dc.name} | {peer.number: name for name, peer in self.peers.items()}

    def public_keys(self) -> dict[int, bytes]:
        """DC number -> public key, of the peers."""
        return {peer.number: base64.b64decode(peer.public_key) for peer in self.peers.values()}


def load(path: Path) -> Settings:
    """Reads and checks a settings file. ConfigError names what is wrong, field by field."""
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    try:
        settings = Settings(**data)
    except pydantic.ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {problems}") from error
    if settings.series.tdengine_url and not settings.secrets.tdengine_password_file:
        raise ConfigError(f"{path}: series.tdengine_url goes with secrets.tdengine_password_file")
    numbers = [settings.dc.number, *(peer.number for peer in settings.peers.values())]
    if len(set(numbers)) != len(numbers) or settings.dc.name in settings.peers:
        raise ConfigError(f"{path}: every datacenter of the map needs a name and a number of its own")
    return settings


def secret(path: Path, size_min: int = 32) -> bytes:
    """A key from its file."""
    try:
        key = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(key) < size_min:
        raise ConfigError(f"{path}: a key of at least {size_min} bytes is needed")
    return key


def password(path: Path) -> str:
    """One line of text from its file."""
    try:
        lines = secret(path, 1).decode().splitlines()
    except UnicodeDecodeError:
        lines = []
    if len(lines) != 1 or not lines[0]:
        raise ConfigError(f"{path}: one line of text is needed")
    return lines[0]
