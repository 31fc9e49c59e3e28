"""How each server is started by its name."""

from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.local.etcd import Etcd
from deploy.local.seaweedfs import SeaweedFS
from deploy.local.starting import Process

STARTERS: Mapping[str, Callable[[Path], Process]] = {
    "etcd": Etcd,
    "seaweedfs": SeaweedFS,
}
"""What `run` knows; each is given its folder."""
