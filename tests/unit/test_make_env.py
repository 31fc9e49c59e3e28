"""Two first `make` in a fresh clone install once; and one that was killed keeps nobody from trying again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.markdown import ROOT

PYTHON = """#!/bin/sh
# Does what the Makefile asks of a Python, quickly, and keeps a diary.
case "$*" in
*alone.py*) exec {real} "$@" ;;
"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo venv >> diary
    while [ ! -e go ]; do sleep 0.02; done ;;
*"-e .") echo project >> diary ;;
*"-m pip"*) echo packages >> diary ;;
esac
"""
SOON_S = 30.0


class Clone:
    """A checkout with a Makefile, and as many makes in it as one likes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".ci").mkdir()
        for name in ("Makefile", ".ci/alone.py", "requirements.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)
        self._python = folder / "python"
        self._python.write_text(PYTHON.format(real=sys.executable))
        self._python.chmod(0o755)
        self.began: list[subprocess.Popen[str]] = []

    def make(self) -> "subprocess.Popen[str]":
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        self.began.append(
            subprocess.Popen(
                ["make", "env", f"PYTHON={self._python}"], cwd=self.folder, env=env, text=True,
                stdout=subprocess.DEVNULL, stderr=(self.folder / f"said-{len(self.began)}").open("w"),
                start_new_session=True,
            )
        )  # fmt: skip
        return self.began[-1]

    def said(self, number: int) -> str:
        return (self.folder / f"said-{number}").read_text()

    def diary(self) -> list[str]:
        path = self.folder / "diary"
        return path.read_text().split() if path.exists() else []

    def go(self) -> None:
        (self.folder / "go").touch()

    def until(self, what: str) -> None:
        """Something is in the diary, or was said."""
        end = time.monotonic() + SOON_S
        while what not in (*self.diary(), *(self.said(n).split(":")[0] for n in range(len(self.began)))):
            assert time.monotonic() < end, (what, self.diary(), [self.said(n) for n in range(len(self.began))])
            time.sleep(0.02)


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    found = Clone(tmp_path)
    yield found
    found.go()
    for process in found.began:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(SOON_S)


WAITS = "Another make installs into .venv here"


def test_the_second_waits_for_the_first_and_has_nothing_left_to_do(clone: Clone) -> None:
    first = clone.make()
    clone.until("venv")
    second = clone.make()
    clone.until(WAITS)
    clone.go()
    assert (first.wait(SOON_S), second.wait(SOON_S)) == (0, 0)
    assert clone.diary() == ["venv", "packages", "project"], "once each"
    assert WAITS not in clone.said(0)
    assert clone.make().wait(SOON_S) == 0
    assert clone.diary() == ["venv", "packages", "project"], "nor has a third, later"


def test_one_that_was_killed_holds_nobody_up(clone: Clone) -> None:
    first = clone.make()
    clone.until("venv")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(SOON_S)
    clone.go()
    assert clone.make().wait(SOON_S) == 0
    assert clone.diary() == ["venv", "venv", "packages", "project"], "it begins again"
    assert WAITS not in clone.said(1)


def test_what_a_killed_make_left_running_is_waited_for(clone: Clone) -> None:
    first = clone.make()
    clone.until("venv")
    first.kill()  # make alone: its installer goes on
    first.wait(SOON_S)
    second = clone.make()
    clone.until(WAITS)
    assert second.poll() is None
    clone.go()
    assert second.wait(SOON_S) == 0
    assert clone.diary().count("packages") <= 2 and clone.diary()[-1] == "project"


def test_a_changed_project_is_installed_again_and_nothing_else(clone: Clone) -> None:
    clone.go()
    assert clone.make().wait(SOON_S) == 0
    later = time.time() + 60
    os.utime(clone.folder / "pyproject.toml", (later, later))
    assert clone.make().wait(SOON_S) == 0
    assert clone.diary() == ["venv", "packages", "project", "project"]
