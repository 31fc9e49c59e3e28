"""Servers are installed once, whole, with their sums checked, also by two who begin at the same time."""

import base64
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from core.errors import NotFound, Unavailable
from deploy.local import install
from deploy.local.catalog import LOCKS, SERVERS, Server
from deploy.local.sources import Debian, Maven, Wheels
from tests.support.servers import needs


class Fetched:
    """A source that counts; `fails` says why it can't, `halts` keeps it waiting."""

    def __init__(self, pin: str = "1") -> None:
        self.pin = pin
        self.times = 0
        self.fails = ""
        self.halts: threading.Event | None = None
        self.begun = threading.Event()

    def fetch(self, folder: Path) -> None:
        self.times += 1
        assert list(folder.iterdir()) == []
        (folder / "half").write_text("")
        self.begun.set()
        if self.halts is not None:
            assert self.halts.wait(20)
        if self.fails:
            raise Unavailable(self.fails)
        (folder / "bin").mkdir()
        (folder / "bin" / "run").write_text(self.pin)
        (folder / "bin" / "run").chmod(0o755)


def entry(source: Fetched) -> Server:
    return Server("1.0", source, {"run": "bin/run"})


def test_a_server_is_installed_once(tmp_path: Path) -> None:
    source = Fetched()
    assert install.install("some", tmp_path, entry(source)) is True
    assert install.install("some", tmp_path, entry(source)) is False
    assert source.times == 1
    assert (tmp_path / "some" / "bin" / "run").read_text() == "1"


def test_another_version_takes_its_place(tmp_path: Path) -> None:
    install.install("some", tmp_path, entry(Fetched("1")))
    assert install.install("some", tmp_path, entry(Fetched("2"))) is True
    assert (tmp_path / "some" / "bin" / "run").read_text() == "2"


def test_what_could_not_be_fetched_leaves_what_was_there(tmp_path: Path) -> None:
    install.install("some", tmp_path, entry(Fetched("1")))
    broken = Fetched("2")
    broken.fails = "no route to anywhere"
    with pytest.raises(Unavailable, match="no route"):
        install.install("some", tmp_path, entry(broken))
    assert (tmp_path / "some" / "bin" / "run").read_text() == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some", "some.lock"]


def test_what_comes_without_its_program_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"without its program other \(bin/other\)"):
        install.install("some", tmp_path, Server("1.0", Fetched(), {"other": "bin/other"}))
    assert not (tmp_path / "some").exists()


def finished(finish: str) -> Server:
    source = Fetched(f"#!/bin/sh\n{finish}\n")
    return Server("1.0", source, {"run": "bin/run"}, finish=("run", "archive"))


def test_a_server_is_finished_by_its_own_program_once(tmp_path: Path) -> None:
    server = finished('echo "$1" >> "$(dirname "$0")/done"')
    assert install.install("some", tmp_path, server) is True
    assert install.install("some", tmp_path, server) is False
    assert (tmp_path / "some" / "bin" / "done").read_text() == "archive\n"


def test_what_can_not_be_finished_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="run failed: no room for archive"):
        install.install("some", tmp_path, finished('echo "no room for $1" >&2; exit 3'))
    assert not (tmp_path / "some").exists()


def test_two_who_begin_at_once_install_one_after_the_other(tmp_path: Path) -> None:
    source = Fetched()
    source.halts = threading.Event()
    done: list[bool] = []

    def one() -> None:
        done.append(install.install("some", tmp_path, entry(source)))

    both = [threading.Thread(target=one) for _ in range(2)]
    for thread in both:
        thread.start()
    assert source.begun.wait(20)
    source.halts.set()
    for thread in both:
        thread.join(20)
    assert sorted(done) == [False, True]
    assert source.times == 1


def test_what_a_killed_installation_left_is_no_server(tmp_path: Path) -> None:
    (tmp_path / "some.new" / "bin").mkdir(parents=True)
    (tmp_path / "some.new" / "bin" / "run").write_text("half")
    (tmp_path / "some").mkdir()
    assert install.install("some", tmp_path, entry(Fetched())) is True
    assert (tmp_path / "some" / "bin" / "run").read_text() == "1"
    assert not (tmp_path / "some.new").exists()


def test_a_missing_server_is_named_with_what_to_do(tmp_path: Path) -> None:
    for name, server in SERVERS.items():
        program = next(iter(server.programs))
        with pytest.raises(NotFound, match=rf"^{name} {server.version} is not installed: `make servers`$"):
            install.program(name, program, tmp_path)


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_suite_whose_server_is_missing_is_skipped_and_fails_in_ci(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(server: str, name: str) -> Path:
        raise NotFound(f"{server} with {name} is not installed: `make servers`")

    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(install, "program", missing)
    with pytest.raises(outcome, match=r"^pulsar with lib is not installed: `make servers`$"):
        needs("pulsar", "java")


# -- wheels


def wheel(folder: Path) -> str:
    """A small one with a program; its sum."""
    data = b"#!/bin/sh\necho tiny\n"
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    info = "tiny-1.0.dist-info"
    files = {
        "tiny-1.0.data/scripts/tiny": data,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"tiny-1.0.data/scripts/tiny,sha256={digest},{len(data)}"]
    lines += [f"{name},," for name in (f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD")]
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100755 << 16
            archive.writestr(entry, text)
        archive.writestr(f"{info}/RECORD", "\n".join(lines) + "\n")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_wheel_is_installed_only_with_the_sum_that_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    lock = tmp_path / "tiny.txt"
    lock.write_text(f"tiny==1.0 --hash=sha256:{'0' * 64}\n")
    server = Server("1.0", Wheels(lock), {"tiny": "bin/tiny"})
    right = wheel(tmp_path)
    with pytest.raises(Unavailable, match="Expected sha256 0000"):
        install.install("tiny", tmp_path / "servers", server)
    assert not (tmp_path / "servers" / "tiny").exists()
    lock.write_text(f"tiny==1.0 --hash=sha256:{right}\n")
    assert install.install("tiny", tmp_path / "servers", server) is True
    said = subprocess.run([tmp_path / "servers" / "tiny" / "bin" / "tiny"], capture_output=True, check=True)
    assert said.stdout == b"tiny\n"


@pytest.mark.parametrize("name", SERVERS)
def test_every_lock_names_the_version_of_its_entry(name: str) -> None:
    text = (LOCKS / f"{name}.txt").read_text()
    assert re.search(rf"[=:-]{re.escape(SERVERS[name].version)}[ .~-]", text)
    assert "://" not in text, "no host is named"


# -- Maven


def tool(folder: Path, name: str, line: str) -> None:
    """A program of that name, found first."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for them."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def archive(path: Path, members: Mapping[str, str]) -> str:
    """A tar file with these; its sum."""
    with tarfile.open(path, "w:gz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


COPIES = 'for word in "$@"; do case "$word" in -DoutputDirectory=*) cp {} "${{word#*=}}"/;; esac; done'


def test_an_artifact_is_unpacked_only_with_the_sum_that_is_locked(tmp_path: Path, tools: Path) -> None:
    right = archive(tmp_path / "big.tar.gz", {"big-1.0/lib/a.jar": "a", "big-1.0/doc/b": "b", "big-1.0/lib/run": "run"})
    tool(tools, "mvn", COPIES.format(tmp_path / "big.tar.gz"))
    lock = tmp_path / "big.txt"
    lock.write_text(f"{'0' * 64}  big.tar.gz\n")
    server = Server("1.0", Maven("some:big:1.0:tar.gz", lock, keep=r"big-1\.0/(lib/.+)"), {"lib": "lib"})
    with pytest.raises(Unavailable, match=rf"^big.tar.gz came with the sum {right}; .*/big.txt has 0000"):
        install.install("big", tmp_path / "servers", server)
    assert not (tmp_path / "servers" / "big").exists()
    lock.write_text(f"{right}  big.tar.gz\n")
    assert install.install("big", tmp_path / "servers", server) is True
    files = [path for path in (tmp_path / "servers" / "big").rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == [".pin", "a.jar", "run"]


def test_jars_that_the_lock_does_not_name_are_refused_and_so_is_one_too_few(tmp_path: Path, tools: Path) -> None:
    (tmp_path / "one.jar").write_text("1")
    (tmp_path / "two.jar").write_text("2")
    tool(tools, "mvn", COPIES.format(f"{tmp_path}/*.jar"))
    lock = tmp_path / "jars.txt"
    one, two = (hashlib.sha256(text).hexdigest() for text in (b"1", b"2"))
    server = Server("1.0", Maven("some:one:1.0", lock, transitive=True), {"lib": "lib"})
    lock.write_text(f"{one}  one.jar\n")
    with pytest.raises(Unavailable, match=r"^what came is not what deploy/local/locks/jars.txt names: two.jar$"):
        install.install("jars", tmp_path / "servers", server)
    lock.write_text(f"{one}  one.jar\n{two}  two.jar\n{'3' * 64}  three.jar\n")
    with pytest.raises(Unavailable, match=r"names: three.jar$"):
        install.install("jars", tmp_path / "servers", server)
    lock.write_text(f"# both\n{one}  one.jar\n{two}  two.jar\n")
    assert install.install("jars", tmp_path / "servers", server) is True
    assert (tmp_path / "servers" / "jars" / "lib" / "two.jar").read_text() == "2"


def test_an_archive_does_not_write_outside_of_its_folder(tmp_path: Path, tools: Path) -> None:
    total = archive(tmp_path / "evil.tar.gz", {"evil/../../../outside": "x"})
    tool(tools, "mvn", COPIES.format(tmp_path / "evil.tar.gz"))
    lock = tmp_path / "evil.txt"
    lock.write_text(f"{total}  evil.tar.gz\n")
    server = Server("1.0", Maven("some:evil:1.0:tar.gz", lock, keep=r"evil/(.+)"), {"x": "x"})
    with pytest.raises(Unavailable, match="outside of its folder"):
        install.install("evil", tmp_path / "servers", server)
    assert not (tmp_path / "outside").exists()


def test_what_maven_says_of_its_failure_is_told(tmp_path: Path, tools: Path) -> None:
    tool(tools, "mvn", "echo '[ERROR] Could not find artifact some:big'; exit 1")
    (tmp_path / "big.txt").write_text("")
    server = Server("1.0", Maven("some:big:1.0", tmp_path / "big.txt"), {"x": "x"})
    with pytest.raises(Unavailable, match=r"^mvn failed: \[ERROR\] Could not find artifact some:big$"):
        install.install("big", tmp_path / "servers", server)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (Maven("some:big:1.0", LOCKS / "pulsar.txt"), "mvn is not on this machine: install maven, and a Java for it"),
        (Debian(LOCKS / "redis.txt", {}), "apt-get is not on this machine: this needs Debian or Ubuntu"),
    ],
    ids=["maven", "debian"],
)
def test_a_missing_tool_is_named_with_what_to_install(
    source: Maven | Debian, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=f"^{said}"):
        install.install("some", tmp_path / "servers", Server("1.0", source, {"x": "x"}))


# -- Debian

HAVE_DPKG = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not on this machine")


def debian(folder: Path, tools: Path, version: str, *there: str) -> str:
    """A package with a program; lists that have it in these versions. Its sum."""
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    tool(tree / "usr/bin", "tiny", f'echo {version} "$LD_LIBRARY_PATH" "$@"')
    control = f"Package: tiny\nVersion: {version}\nArchitecture: all\nMaintainer: test\nDescription: test\n"
    (tree / "DEBIAN" / "control").write_text(control)
    package = folder / "tiny.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", str(tree), str(package)], check=True, capture_output=True)
    tool(tools, "apt-get", f'for last in "$@"; do :; done; case "$last" in tiny=*) cp {package} "./$last.deb";; esac')
    tool(tools, "apt-cache", "; ".join(f"echo Version: {one}" for one in there))
    return hashlib.sha256(package.read_bytes()).hexdigest()


@HAVE_DPKG
def test_a_package_is_unpacked_only_with_the_sum_that_is_locked(tmp_path: Path, tools: Path) -> None:
    right = debian(tmp_path, tools, "1.0-1", "1.0-2", "1.0-1")
    lock = tmp_path / "tiny.txt"
    lock.write_text(f"{'0' * 64} tiny 1.0-1\n")
    server = Server("1.0", Debian(lock, {"tiny": "usr/bin/tiny"}), {"tiny": "tiny"})
    with pytest.raises(Unavailable, match=f"^tiny came with the sum {right}"):
        install.install("tiny", tmp_path / "servers", server)
    lock.write_text(f"{right} tiny 1.0-1\n")
    assert install.install("tiny", tmp_path / "servers", server) is True
    folder = tmp_path / "servers" / "tiny"
    said = subprocess.run([folder / "tiny", "--port", "1"], capture_output=True, check=True, text=True, env={})
    assert said.stdout == f"1.0-1 {folder}/usr/lib/x86_64-linux-gnu --port 1\n"
    assert sorted(path.name for path in folder.iterdir()) == [".pin", "tiny", "usr"]


@HAVE_DPKG
def test_a_package_that_debian_replaced_is_taken_and_said(
    tmp_path: Path, tools: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    debian(tmp_path, tools, "1.0-2", "1.0-2")
    lock = tmp_path / "tiny.txt"
    lock.write_text(f"{'0' * 64} tiny 1.0-1\n")
    install.install("tiny", tmp_path / "servers", Server("1.0", Debian(lock, {}), {"tiny": "usr/bin/tiny"}))
    assert capsys.readouterr().err.startswith("tiny 1.0-1 has been replaced: 1.0-2 is taken")


@HAVE_DPKG
@pytest.mark.parametrize(("there", "said"), [(["2.0-1", "1.1-1"], "2.0-1, 1.1-1"), ([], "not")])
def test_lists_without_this_version_are_told_with_what_to_change(
    there: list[str], said: str, tmp_path: Path, tools: Path
) -> None:
    debian(tmp_path, tools, "1.0-1", *there)
    lock = tmp_path / "tiny.txt"
    lock.write_text(f"{'0' * 64} tiny 1.0-1\n")
    match = rf"have tiny {said}, and not 1.0-1: put a version that they have into deploy/local/locks/tiny.txt"
    with pytest.raises(Unavailable, match=match):
        install.install("tiny", tmp_path / "servers", Server("1.0", Debian(lock, {}), {"tiny": "usr/bin/tiny"}))
