"""What a run of tests does when the Pulsar driver crashes a process of it: docs/servers.md tells what is known of that.

Our code is Python: a process that dies by a signal dies in foreign code, or because we use it wrongly. The test
that ran then is repeated once, alone in a process of its own, if Python's own report of the crash says that it was on a
thread of no Python, or in a call of the driver. The run says so, with that report. Any other crash, a second one in a
run, and one that comes again, fail the run.
"""

import faulthandler
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

_REPEAT_S_MAX = 600
_folder = pytest.StashKey[Path]()
_told = pytest.StashKey[list[str]]()


def of_the_driver(nodeid: str, dump: str) -> bool:
    """`dump`: what faulthandler wrote of a process that died while this test ran."""
    if "pulsar" not in nodeid or "Fatal Python error" not in dump:
        return False
    _, current, rest = dump.partition("Current thread ")
    if not current:
        return True  # on a thread that Python does not know
    innermost = rest.splitlines()[1] if len(rest.splitlines()) > 1 else ""
    return "/pulsar/__init__.py" in innermost


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    if _folder not in node.config.stash:
        node.config.stash[_folder] = Path(tempfile.mkdtemp(prefix="planb-crashes-"))
    node.workerinput["crashes"] = str(node.config.stash[_folder])


def pytest_sessionstart(session: pytest.Session) -> None:
    given = getattr(session.config, "workerinput", None)
    if given is not None:
        faulthandler.enable((Path(given["crashes"]) / given["workerid"]).open("w"))


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any) -> None:
    config = report.node.config
    written = config.stash[_folder] / report.node.gateway.id
    dump = written.read_text(errors="replace") if written.exists() else ""
    report.longrepr = f"{report.longrepr}\n{dump}"
    told = config.stash.setdefault(_told, [])
    if told or not of_the_driver(crashitem, dump):
        return
    told.append(f"{crashitem}\n{dump}")
    again = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", crashitem],
        cwd=config.rootpath, capture_output=True, text=True, timeout=_REPEAT_S_MAX,
    )  # fmt: skip
    if again.returncode == 0:
        report.outcome, report.when = "passed", "call"
    else:
        report.longrepr += f"\nrepeated alone:\n{again.stdout}{again.stderr}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    for text in terminalreporter.config.stash.get(_told, []):
        terminalreporter.section("the Pulsar driver crashed; its test was repeated once")
        terminalreporter.write_line(text)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _folder in config.stash:
        shutil.rmtree(config.stash[_folder])
