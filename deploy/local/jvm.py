"""The Java of the servers that are written in it: the one that is installed with them, small and quick to start."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local import install

_ALWAYS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss512k", "-XX:-UsePerfData")


def command(
    main: str,
    classes: Sequence[Path | str],
    *,
    heap_mb: int,
    opens: Mapping[str, str],
    exports: Mapping[str, str],
    folder: Path,
    properties: Mapping[str, object],
    options: Sequence[str] = (),
) -> list[str]:
    """What starts `main`. `opens`, `exports`: module -> its packages, parted by blanks. Its temporary files go into
    `folder`. NotFound, saying what to do, if no Java is installed."""
    doors = [
        part
        for flag, modules in (("--add-opens", opens), ("--add-exports", exports))
        for module, packages in modules.items()
        for package in packages.split()
        for part in (flag, f"{module}/{package}=ALL-UNNAMED")
    ]
    settings = {"java.io.tmpdir": folder, "jna.tmpdir": folder, **properties}
    defined = [f"-D{name}={value}" for name, value in settings.items()]
    path = ":".join(str(part) for part in classes)
    java = str(install.program("java", "java"))
    return [java, *_ALWAYS, f"-Xmx{heap_mb}m", *doors, *defined, *options, "-cp", path, main]
