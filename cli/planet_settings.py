"""What the settings file of a planet's datacenter says."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cli.planet import Site

TRIED_FOR_S = 7 * 86_400
"""Its tokens live so long, that what was pasted once works for a while."""


def tables_of(
    site: "Site", keys: Path, peers: Mapping[str, Mapping[str, Any]], public: Mapping[str, Any]
) -> dict[str, Any]:
    """All of it. What it stands on besides its own servers replaces these."""
    secrets = {
        "token_key_file": keys / "token.key",
        "sys_key_file": keys / "sys.key",
        "signing_key_file": keys / f"{site.name}.signing.key",
    }
    stores: dict[str, Any] = {
        "data_dir": site.disks / "data",
        "objects_dir": site.objects,
        "log_url": f"redis://127.0.0.1:{site.ports.log}/0",
        "hot_url": f"redis://127.0.0.1:{site.ports.hot}/0",
    }
    coordination: dict[str, Any] = {}
    if site.engines:
        stores |= site.engines.stores
        secrets |= site.engines.secrets
        coordination |= site.engines.coordination
        if "objects_url" in stores:
            del stores["objects_dir"]
    return {
        "dc": {"name": site.name, "number": site.number},
        "public": {"port": site.ports.public, "access_token_s": TRIED_FOR_S, **public},
        "sys": {"port": site.ports.sys},
        "stores": stores,
        "coordination": coordination,
        "secrets": secrets,
        "peers": peers,
    }
