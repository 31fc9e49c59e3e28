"""The demo with a person, as a process: verbs from another terminal, what it tells, and how it ends."""

import asyncio
import contextlib
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cli.waiting import until
from tests.support.bad_days import planb

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="/proc, and a death signal for children"),
]
START_S_MAX = 90.0
SERVERS = 9
"""Of a demo: two Valkeys and a process in each of three datacenters."""


class Demo:
    """One running `planb demo`, and all that it has printed."""

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.StreamReader) -> None:
        self.process = process
        self.said = ""
        self._reading = asyncio.create_task(self._read(output))

    async def _read(self, output: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):  # a pty whose other end is closed
            while chunk := await output.read(4096):
                self.said += chunk.decode(errors="replace")

    async def says(self, *words: str) -> None:
        async def said() -> bool:
            assert self.process.returncode is None, self.said[-2000:]
            return all(word in self.said for word in words)

        assert await until(said, START_S_MAX), (words, self.said[-2000:])

    async def planb(self, *words: str) -> tuple[int, str]:
        ran = await planb(*words, "--demo", str(self.process.pid))
        assert "Traceback" not in ran.err
        return ran.code, ran.out + ran.err

    def children(self) -> set[int]:
        return {pid for pid, parent in processes().items() if parent == self.process.pid}

    async def ended(self) -> int:
        code = await asyncio.wait_for(self.process.wait(), START_S_MAX)
        await self._reading
        return code

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


def processes() -> dict[int, int]:
    """pid -> parent."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            found[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    return found


async def gone(pids: set[int]) -> None:
    async def none_left() -> bool:
        return not pids & processes().keys()

    assert await until(none_left, 20.0), f"{pids & processes().keys()} run on"


async def piped(*words: str) -> Demo:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "demo", "--messages", "60", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    return Demo(process, process.stdout)


async def on_a_terminal() -> Demo:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "demo", "--messages", "60"), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0)
    )
    return Demo(process, reader)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    # A folder of ours: this demo will be killed, and so can't remove one of its own.
    demo = await piped("--home", str(tmp_path_factory.mktemp("demo")))
    try:
        await demo.says(
            f"planb link --demo {demo.process.pid} cut fra nrt", f"planb dc --demo {demo.process.pid} kill nrt"
        )
        yield demo
    finally:
        demo.kill()


async def test_links_are_cut_and_healed_from_another_terminal(demo: Demo) -> None:
    code, listed = await demo.planb("link", "list")
    assert code == 0
    assert listed.count('"ok"') == 6
    assert (await demo.planb("link", "cut", "fra", "nrt"))[1].count('"cut"') == 2
    await demo.says("link fra – nrt is cut")
    assert (await demo.planb("link", "heal", "fra", "nrt"))[1].count('"ok"') == 6


async def snapshots(demo: Demo, count: int) -> bool:
    return len(re.findall(r"snapshot \d+", demo.said)) >= count


async def test_names_that_do_not_exist_are_refused(demo: Demo) -> None:
    for words, code, said in (
        (("link", "cut", "fra", "atlantis"), 4, "atlantis"),
        (("link", "cut", "fra", "fra"), 4, "fra"),
        (("link", "cut", "fra"), 2, "name two"),
        (("dc", "kill", "atlantis"), 4, "there are fra, iad, nrt"),
        (("dc", "kill"), 2, "name one"),
    ):
        assert (await demo.planb(*words))[0] == code, words
        assert said in (await demo.planb(*words))[1]
    nobody = await planb("dc", "list", "--demo", "1")
    assert (nobody.code, "no demo is running" in nobody.err) == (4, True)


async def test_a_datacenter_is_killed_burnt_and_rebuilt_from_another_terminal(demo: Demo) -> None:
    assert (await demo.planb("dc", "kill", "nrt"))[0] == 0
    assert '"nrt": "down"' in (await demo.planb("dc", "list"))[1]
    assert (await demo.planb("dc", "start", "nrt"))[0] == 0
    assert '"nrt": "running"' in (await demo.planb("dc", "list"))[1]
    assert await until(lambda: snapshots(demo, 3), START_S_MAX), "of each datacenter one"
    assert (await demo.planb("dc", "burn", "nrt"))[0] == 0
    code, rebuilt = await demo.planb("dc", "rebuild", "nrt")
    assert (code, '"snapshot"' in rebuilt) == (0, True), rebuilt
    await demo.says("nrt burnt down", "nrt is back")


async def test_what_dies_by_itself_is_named_and_started_again(demo: Demo) -> None:
    (log,) = (pid for pid in demo.children() if os.readlink(f"/proc/{pid}/cwd").endswith("/fra/disks/log"))
    os.kill(log, signal.SIGKILL)
    await demo.says("fra log ended with -9", "fra was started again")


async def test_a_killed_demo_leaves_no_process_behind(demo: Demo) -> None:
    children = demo.children()
    assert len(children) >= SERVERS
    demo.process.kill()
    await demo.ended()
    await gone(children)
    left = await planb("dc", "list", "--demo", str(demo.process.pid))
    assert left.code == 4


async def ends_by(demo: Demo, number: signal.Signals, codes: set[int]) -> None:
    children = demo.children()
    demo.process.send_signal(number)
    assert await demo.ended() in codes, demo.said[-2000:]
    assert "Traceback" not in demo.said
    await gone(children)


async def test_on_a_terminal_it_draws_a_table_and_ends_by_ctrl_c(demo: Demo) -> None:
    live = await on_a_terminal()
    try:
        await live.says("\x1b[2J", "serving", "═", "export")
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", live.said)
        assert all(name in shown for name in ("fra", "iad", "nrt", "lag", "digest"))
        await ends_by(live, signal.SIGINT, {0})
    finally:
        live.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_it_starts_ends_it_with_all_that_it_began(number: signal.Signals) -> None:
    demo = await piped("--headless")
    try:

        async def began() -> bool:
            return len(demo.children()) >= 3

        assert await until(began, START_S_MAX)
        await ends_by(demo, number, {130, 143})
    finally:
        demo.kill()
