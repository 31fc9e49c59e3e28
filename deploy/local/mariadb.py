"""MariaDB: one private server on loopback, with a database and a user."""

import asyncio
import getpass
import os
import secrets
import shutil
import subprocess
from pathlib import Path

from cli.servers import Child, free_ports
from core.errors import Unavailable
from deploy.local import install
from deploy.local.starting import HOST, Process, asked, private

READY_S_MAX = 60.0
"""It takes 0.3 s on an idle machine, after 2 s in which its folder is made."""
DATABASE = "planb"
USER = "planb"
CONNECTIONS_MAX = 100
_MEMORY = ("--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--key-buffer-size=1M")
_GREETING = 10
"""First byte of its first packet, after the packet's head of 4."""


class MariaDB(Process):
    """`start`, then it answers at `port` to USER with `password`, who may do everything in DATABASE and in databases
    whose names begin with it. It keeps port and folder over `kill` and `start`."""

    def __init__(self, folder: Path, name: str = "mariadb", options: tuple[str, ...] = ()) -> None:
        """NotFound, saying what to do, if it is not installed. `options` are the server's own."""
        self._folder = folder
        self._data = folder / "data"
        self._users = folder / "users.sql"
        self._program = install.program("mariadb", "mariadbd")
        (self.port,) = free_ports(1)
        self.password = secrets.token_hex(16)
        command = [
            str(self._program), *self._own(), f"--port={self.port}", f"--bind-address={HOST}",
            "--socket=mariadb.sock",  # in its data: a long path would be too long for a socket
            f"--init-file={self._users}", f"--secure-file-priv={folder}", f"--pid-file={folder / 'pid'}",
            "--skip-log-bin", "--skip-name-resolve", f"--max-connections={CONNECTIONS_MAX}",
            "--character-set-server=utf8mb4", *_MEMORY, *options,
        ]  # fmt: skip
        super().__init__(Child(name, command, folder / "server.log"))

    @property
    def found(self) -> dict[str, str]:
        return {"url": f"mysql://{USER}:{self.password}@{HOST}:{self.port}/{DATABASE}"}

    async def start(self) -> None:
        private(self._folder)
        if not self._data.exists():
            await asyncio.to_thread(self._make)
        self._users.touch(mode=0o600)
        self._users.write_text(
            f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
            f"CREATE OR REPLACE USER {USER}@'{HOST}' IDENTIFIED BY '{self.password}';\n"
            f"GRANT ALL ON `{DATABASE}%`.* TO {USER}@'{HOST}';\n"
        )
        await self._begin(self._look, READY_S_MAX)

    def _own(self) -> list[str]:
        """What it needs to know before all else. It refuses to be root unless it is told to be."""
        base = self._program.parents[1]
        user = [f"--user={getpass.getuser()}"] if os.geteuid() == 0 else []
        return ["--no-defaults", f"--basedir={base}", f"--datadir={self._data}", f"--tmpdir={self._folder}", *user]

    def _make(self) -> None:
        """Its system tables, whole or not at all."""
        script = install.program("mariadb", "mariadb-install-db")
        command = [str(script), *self._own(), "--auth-root-authentication-method=socket", "--skip-test-db"]
        found = subprocess.run([*command, *_MEMORY], stdin=subprocess.DEVNULL, capture_output=True, cwd=self._folder)
        if found.returncode != 0:
            shutil.rmtree(self._data, ignore_errors=True)
            said = (found.stdout + found.stderr).decode(errors="replace")
            raise Unavailable(f"{self.child.name} could not make its tables: {said.strip()[-500:]}")

    async def _look(self) -> str:
        """Its port opens when its tables and our user are there; then it greets first."""
        said = await asked(self.port, b"")
        return "" if said[4:5] == bytes([_GREETING]) else f"greeted with {said[:80]!r}"
