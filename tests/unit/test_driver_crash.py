"""A crash of the Pulsar driver costs one repetition and is told; any other fails the run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.driver_crash import of_the_driver

NODE = "tests/contract/test_event_log_pulsar.py::test_it"
NATIVE = 'Fatal Python error: Segmentation fault\n\nThread 0x1 (most recent call first):\n  File "a.py", line 1 in b\n'
CALL = (
    "Fatal Python error: Aborted\n\nCurrent thread 0x1 (most recent call first):\n"
    '  File "/x/site-packages/pulsar/__init__.py", line 2265 in close\n  File "/x/pulsar_parts.py", line 1 in _close\n'
)
OURS = CALL.replace("/pulsar/__init__.py", "/pulsar_wire.py")
ALONE = {"PYTHONPATH": str(Path.cwd()), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p xdist.plugin"}
CRASHING = """
import ctypes, os, pathlib, signal, time
import pulsar

def test_native():
    once = pathlib.Path(__file__).with_name("once")
    if once.exists():
        return
    once.touch()
    libc = ctypes.CDLL(None)
    libc.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc.strlen, None)
    time.sleep(60)

def test_ours():
    os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.mark.parametrize(
    ("node", "dump", "foreign"),
    [
        (NODE, NATIVE, True),
        (NODE, CALL, True),
        (NODE, OURS, False),
        (NODE, "", False),
        (NODE.replace("pulsar", "valkey"), NATIVE, False),
    ],
)
def test_whose_crash_it_was(node: str, dump: str, foreign: bool) -> None:
    assert of_the_driver(node, dump) == foreign


def test_a_crash_of_the_driver_is_repeated_once_and_told_and_another_one_fails(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("pytest_plugins = ('tests.support.driver_crash',)\n")
    (tmp_path / "test_pulsar_crashes.py").write_text(CRASHING)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    ran = subprocess.run(
        [*command, str(tmp_path)],
        cwd=tmp_path, env=os.environ | ALONE, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert ran.returncode == 1, ran
    assert "1 failed, 1 passed" in ran.stdout, ran
    assert "FAILED test_pulsar_crashes.py::test_ours" in ran.stdout, ran
    assert "the Pulsar driver crashed; its test was repeated once" in ran.stdout, ran
