"""The `planb` program before it is one."""

import signal
import subprocess
import sys

import pytest

INTERRUPTED = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "cli.ending":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.argv = ["planb", "--version"]
from {module} import main
sys.exit(main())
"""


def ended(module: str) -> tuple[int, str]:
    program = [sys.executable, "-c", INTERRUPTED.format(module=module)]
    ran = subprocess.run(program, capture_output=True, check=False, timeout=60)
    return ran.returncode, ran.stderr.decode()


def test_ctrl_c_while_it_is_imported_ends_it_without_a_trace() -> None:
    assert ended("cli.begin") == (-signal.SIGINT, "")
    assert "Traceback" in ended("cli.main")[1], "what it is for"


def test_afterwards_ctrl_c_is_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    from cli import begin, main

    seen = []
    monkeypatch.setattr(main, "main", lambda: seen.append(signal.getsignal(signal.SIGINT)) or 5)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert begin.main() == 5
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.default_int_handler]
