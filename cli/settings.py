"""The settings of one datacenter: a TOML file, with environment variables (`PLANB_…`) over it.

Secrets are named by file, so that they never stand in the settings or in an environment.

    store_settings.py     [stores]
    settings_rules.py     what has to fit together
    settings_sources.py   file and environment, what is wrong with them, and where each value is from
"""

import base64
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import pydantic
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cli.coordination import CoordinationSettings
from cli.store_settings import Stores
from core import limits
from core.errors import ConfigError

PUBLIC_KEY_BYTES = 32
KEY_BYTES_MIN = 32
NAME = r"^[a-z][a-z0-9-]{0,15}$"
ORIGIN = r"^[a-z][a-z0-9+.-]{0,31}://[a-z0-9.:\[\]_-]{1,256}$"


class Listen(pydantic.BaseModel):
    """A listener."""

    model_config = pydantic.ConfigDict(extra="forbid")
    host: str = "127.0.0.1"
    port: int = pydantic.Field(ge=1, le=65535, examples=[8080])


class Rates(pydantic.BaseModel):
    """How often one user may ask for one route, a second, of one process; 0: as often as he likes."""

    model_config = pydantic.ConfigDict(extra="forbid")
    messages: int = pydantic.Field(limits.MESSAGES_PER_S, ge=0)
    """Messages sent, one by one and in batches."""
    writes: int = pydantic.Field(limits.WRITES_PER_S, ge=0)
    """Any other write."""
    reads: int = pydantic.Field(limits.READS_PER_S, ge=0)


class Public(Listen):
    """The listener for clients."""

    proxies: list[pydantic.IPvAnyAddress] = []
    """Load balancers in front of it: the client's address is what they say in X-Forwarded-For."""
    cors_origins: list[Annotated[str, pydantic.Field(pattern=ORIGIN)]] = pydantic.Field(
        [], max_length=limits.CORS_ORIGINS_MAX, examples=[["https://chat.example.com"]]
    )
    """Whose web pages may call from a browser, as it writes their origins."""
    rates: Rates = Rates()
    access_token_s: int = pydantic.Field(limits.ACCESS_TOKEN_S, ge=60, le=limits.REFRESH_DAYS * 86_400)
    """How long an access token lives."""
    token_issuer: str = pydantic.Field("planb", pattern=r"^[!-~]{1,64}$")
    """`iss` of tokens, the same in all datacenters: those of another issuer are refused."""


class Broker(pydantic.BaseModel):
    """The listener of `planb serve broker`: websockets, where they are a process of their own."""

    model_config = pydantic.ConfigDict(extra="forbid")
    host: str = "127.0.0.1"
    port: int | None = pydantic.Field(None, ge=1, le=65535)


class Dc(pydantic.BaseModel):
    """Who this datacenter is."""

    model_config = pydantic.ConfigDict(extra="forbid")
    name: str = pydantic.Field(pattern=NAME, examples=["fra"])
    number: int = pydantic.Field(ge=0, le=limits.DC_MAX, examples=[1])
    """Never reused by another datacenter."""


class PeerPulsar(pydantic.BaseModel):
    """Another datacenter's Pulsar, as our brokers reach it: for `planb dc add`."""

    model_config = pydantic.ConfigDict(extra="forbid")
    cluster: str = pydantic.Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["iad"])
    """Its name, as its brokers call themselves."""
    broker_url: str = pydantic.Field(pattern=r"^pulsar(\+ssl)?://[^\s/@]+$", examples=["pulsar://10.0.2.5:6650"])
    admin_url: str = pydantic.Field(pattern=r"^https?://[^\s/@?#]+/?$", examples=["http://10.0.2.5:8080"])
    listener: str = pydantic.Field("", pattern=r"^[A-Za-z0-9_-]{0,64}$", examples=["fra"])
    """Of its brokers' advertisedListeners: the one whose addresses ours reach. "": they advertise one for all."""


class Peer(pydantic.BaseModel):
    """Another datacenter of the map."""

    model_config = pydantic.ConfigDict(extra="forbid")
    number: int = pydantic.Field(ge=0, le=limits.DC_MAX, examples=[1])
    sys_url: str = pydantic.Field(pattern=r"^https?://[^\s/@?#]+(/[^\s?#]*)?$", examples=["http://10.0.2.5:8081"])
    """Where its internal listener is reached from here."""
    public_key: str = pydantic.Field(examples=["A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="])
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
    token_key_file: Path = pydantic.Field(examples=["/etc/planb/token.key"])
    """Shared by all datacenters: signs cursors, links, clocks; without `jwt_keys_file` tokens. At least 32 bytes."""
    jwt_keys_file: Path | None = None
    """Shared by all datacenters: keys of tokens, one a line, of which the first signs (`planb token-keys`)."""
    sys_key_file: Path = pydantic.Field(examples=["/etc/planb/sys.key"])
    """Shared by all datacenters: authenticates the internal listener. At least 32 bytes."""
    signing_key_file: Path = pydantic.Field(examples=["/etc/planb/fra.key"])
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
    log_password_file: Path | None = None
    """Of the log's Valkey, one line; a user's name stands in `stores.log_url`."""
    hot_password_file: Path | None = None
    """The same of hot state's."""


class Settings(BaseSettings):
    """All settings of one datacenter."""

    model_config = SettingsConfigDict(
        env_prefix="PLANB_", env_nested_delimiter="__", extra="forbid", hide_input_in_errors=True
    )
    dc: Dc
    public: Public
    broker: Broker = Broker()
    sys: Listen
    stores: Stores
    secrets: Secrets
    series: Series = Series()
    coordination: CoordinationSettings = CoordinationSettings()
    peers: dict[Annotated[str, pydantic.Field(pattern=NAME)], Peer] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment is laid over the file before (settings_sources.py), variable by variable."""
        return (init_settings,)

    @property
    def names(self) -> dict[int, str]:
        """DC number -> name, of the whole map."""
        return {self.dc.number: self.dc.name} | {peer.number: name for name, peer in self.peers.items()}

    def public_keys(self) -> dict[int, bytes]:
        """DC number -> public key, of the peers."""
        return {peer.number: base64.b64decode(peer.public_key) for peer in self.peers.values()}


def load(path: Path) -> Settings:
    """Reads and checks a settings file, and the environment over it. ConfigError names all that is wrong, field by
    field; its member `wrong` says what to write, as `planb config check` does."""
    from cli.settings_sources import read  # it knows this module

    found = read(path)
    if found.settings is None or found.wrong:
        wrong = [one._asdict() for one in found.wrong]
        raise ConfigError(f"{path}: {'; '.join(map(str, found.wrong))}", wrong=wrong)
    return found.settings


def secret(path: Path, size_min: int = KEY_BYTES_MIN) -> bytes:
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


def with_password(url: str, file: Path | None) -> str:
    """A Valkey's URL with the password from its file, for its driver alone: never to be shown."""
    if file is None:
        return url
    scheme, _, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    login, _, hosts = place.rpartition("@")
    return f"{scheme}://{login}:{quote(password(file), safe='')}@{hosts}{slash}{path}"
