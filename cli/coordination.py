"""Where the processes of a datacenter find each other: its settings, and the adapter that they name."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pydantic

from core import limits
from stores.coordination import Coordination
from stores.lease import LEASE_MS_DEFAULT

if TYPE_CHECKING:
    from stores.adapters.etcd_gateway import EtcdPlace

FOLDER = "coordination"
"""In data_dir, where the settings name no etcd."""


class CoordinationSettings(pydantic.BaseModel):
    """etcd, or a folder of this machine."""

    model_config = pydantic.ConfigDict(extra="forbid")
    etcd_endpoints: list[Annotated[str, pydantic.Field(pattern=r"^https?://[^\s/@?#]+/?$")]] = []
    """Of this datacenter's own etcd. Without any: a folder."""
    etcd_prefix: str = pydantic.Field("planb", pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")
    """What the keys begin with; the datacenter's name follows."""
    etcd_user: str | None = pydantic.Field(None, min_length=1)
    etcd_password_file: Path | None = None
    etcd_ca_file: Path | None = None
    """Who signs etcd's certificates. Without it, whom this machine trusts."""
    etcd_cert_file: Path | None = None
    """Our own certificate, where etcd asks for one, and its key."""
    etcd_key_file: Path | None = None
    dir: Path | None = None
    """The folder. Without it, `coordination` in data_dir."""
    lease_s: float = pydantic.Field(
        LEASE_MS_DEFAULT / 1_000, ge=limits.LEASE_MS_MIN / 1_000, le=limits.LEASE_MS_MAX / 1_000
    )
    """After so long without a word a process counts as dead. A folder knows at once who is."""

    @property
    def lease_ms(self) -> int:
        return math.ceil(self.lease_s * 1_000)

    def shown(self, data_dir: Path) -> str:
        """Where that is, in a word or two."""
        return f"etcd {', '.join(self.etcd_endpoints)}" if self.etcd_endpoints else f"folder {self.folder(data_dir)}"

    def folder(self, data_dir: Path) -> Path:
        return self.dir or data_dir / FOLDER


def opened(settings: CoordinationSettings, dc: str, data_dir: Path) -> Coordination:
    """Reaches nothing yet. ConfigError for files that are not usable."""
    if not settings.etcd_endpoints:
        from stores.adapters.file_coordination import FileCoordination

        return FileCoordination(settings.folder(data_dir))
    from stores.adapters.etcd_coordination import EtcdCoordination
    from stores.adapters.etcd_gateway import EtcdGateway

    return EtcdCoordination(EtcdGateway(etcd_place(settings)), f"{settings.etcd_prefix}/{dc}")


def etcd_place(settings: CoordinationSettings) -> "EtcdPlace":
    from stores.adapters.etcd_gateway import EtcdPlace

    return EtcdPlace(
        settings.etcd_endpoints,
        settings.etcd_user,
        settings.etcd_password_file,
        settings.etcd_ca_file,
        settings.etcd_cert_file,
        settings.etcd_key_file,
    )
