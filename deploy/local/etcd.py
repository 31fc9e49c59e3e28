"""etcd: one private node on loopback."""

from pathlib import Path

from cli.servers import Child, free_ports
from deploy.local import install
from deploy.local.starting import HOST, Process, http, private

READY_S_MAX = 60.0
"""It takes 0.5 s on an idle machine."""


class Etcd(Process):
    """`start`, then it answers at `url`. It keeps port and folder over `kill` and `start`."""

    def __init__(self, folder: Path, name: str = "etcd") -> None:
        """NotFound, saying what to do, if it is not installed."""
        self._folder = folder
        self.port, peer = free_ports(2)
        own = f"http://{HOST}:{peer}"
        command = [
            str(install.program("etcd", "etcd")), f"--name={name}", f"--data-dir={folder / 'data'}",
            f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={own}", f"--initial-advertise-peer-urls={own}", f"--initial-cluster={name}={own}",
            "--logger=zap", "--log-level=warn",
        ]  # fmt: skip
        super().__init__(Child(name, command, folder / "server.log"))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def start(self) -> None:
        private(self._folder)
        await self._begin(self._look, READY_S_MAX)

    @property
    def found(self) -> dict[str, str]:
        return {"endpoint": self.url}

    async def _look(self) -> str:
        """Its health is that of a linearizable read."""
        status, said = await http("GET", f"{self.url}/health")
        return "" if status == 200 and said["health"] == "true" else f"{status} {said}"
