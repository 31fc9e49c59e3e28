"""A process whose wall clock can be moved while it runs."""

from cli.planet import Site
from cli.servers import Child


class MovedClock:
    """Of a datacenter's process; 0 until told otherwise. Make it before the process is started."""

    def __init__(self, site: Site) -> None:
        self._file = site.home / "clock"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.touch()
        self.set(0)
        command = [*site.process._command]
        site.process = Child(
            site.process.name, command, site.home / "serve.log", {"PLANB_CLOCK_OFFSET_FILE": str(self._file)}
        )

    def set(self, ms: int) -> None:
        """By how much it is off, from now on."""
        with self._file.open("r+b", buffering=0) as file:  # the process has it open, and reads it whole
            file.write(b"%+020d" % ms)
