"""The demo with a person, as a process: verbs from another terminal, what it tells, and how it ends."""

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from cli.waiting import until
from tests.support.bad_days import finished, planb, planb_process
from tests.support.markdown import ROOT

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="/proc, and a death signal for children"),
]
START_S_MAX = 90.0
HURRY_S_MAX = 8.0
"""Less than an orderly stop waits for one process that does not end."""
SERVERS = 9
"""Of a demo: two Valkeys and a process in each of three datacenters."""


class Demo:
    """One running `planb demo`, and all that it has printed."""

    home = ""
    """Its folder, where a test named one."""

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


def command(pid: int) -> str:
    """ "" of one that has ended meanwhile."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


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


class Terminal(Demo):
    """A demo on a terminal of its own, which is emulated as far as the demo uses one."""

    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.StreamReader, ours: int) -> None:
        super().__init__(process, output)
        self._ours = ours

    @property
    def alternate(self) -> bool:
        """Whether the picture is shown, and not what was there before."""
        return self.said.rfind("\x1b[?1049h") > self.said.rfind("\x1b[?1049l")

    @property
    def picture(self) -> list[str]:
        """The lines of the last whole picture."""
        whole = self.said.rpartition("\x1b[J")[0].rpartition("\x1b[H")[2]
        return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in whole.split("\r\n")]

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)  # the kernel sends it to a foreground group; this one has none

    async def shows(self, check: Callable[[list[str]], bool]) -> None:
        async def shown() -> bool:
            assert self.process.returncode is None, self.said[-2000:]
            return self.alternate and check(self.picture)

        assert await until(shown, START_S_MAX), self.said[-2000:]

    def hang_up(self) -> None:
        """The window is closed."""
        self._reading.cancel()
        os.close(self._ours)


async def on_a_terminal(columns: int = 80, lines: int = 24) -> Terminal:
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "demo", "--messages", "60"), stdin=theirs, stdout=theirs, stderr=theirs,
        preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    )  # fmt: skip
    os.close(theirs)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", buffering=0, closefd=False)
    )
    return Terminal(process, reader, ours)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    # A folder of ours: this demo will be killed, and so can't remove one of its own.
    home = str(tmp_path_factory.mktemp("demo"))
    demo = await piped("--home", home)
    demo.home = home
    try:
        await demo.says(
            f"planb link --demo {demo.process.pid} cut fra nrt", f"planb dc --demo {demo.process.pid} kill nrt"
        )
        yield demo
    finally:
        demo.kill()
        await demo.ended()


async def test_links_are_cut_and_healed_from_another_terminal(demo: Demo) -> None:
    code, listed = await demo.planb("link", "list")
    assert code == 0
    assert listed.count('"ok"') == 6
    assert (await demo.planb("link", "cut", "fra", "nrt"))[1].count('"cut"') == 2
    await demo.says("link fra – nrt is cut")
    again = await demo.planb("link", "cut", "nrt", "fra", "--text")
    assert again[1].startswith("link nrt – fra was cut already (demo")
    assert (await demo.planb("link", "heal", "fra", "nrt"))[1].count('"ok"') == 6
    again = await demo.planb("link", "heal", "fra", "nrt", "--text")
    assert again[1].startswith("link fra – nrt was not cut (demo")


async def test_every_line_that_it_prints_to_be_tried_works(demo: Demo, tmp_path: Path) -> None:
    """Each as it is pasted: one after the other, in one shell, in this folder."""
    ran = await planb("try", "--demo", str(demo.process.pid), "--json")
    assert all(line in demo.said for line in ran.json["page"]), "it was printed at the start, too"
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/planb").write_text(f'#!/bin/sh\nexec {sys.executable} -m cli.main "$@"\n')
    (tmp_path / ".venv/bin/planb").chmod(0o755)
    lines = [line for hint in ran.json["hints"] for line in hint["run"]]
    assert len(lines) > 15
    for line in lines:
        assert line in demo.said
    assert await until(lambda: snapshots(demo, 3), START_S_MAX), "of each datacenter one"
    script = ["set -e", *ran.json["variables"]]
    for line in lines:
        run = f"timeout 20 {line} | grep -m 1 ' message '" if " watch " in line else line
        script.append(run.replace("curl ", "curl --fail-with-body -sS ") + f"; printf %s '{DONE}'")
    said = await shell("bash", "\n".join(script), tmp_path)
    assert len(said) == len(lines) + 1, said[-1]
    answers = dict(zip(lines, said, strict=False))
    for line, answer in answers.items():
        if "/v1/" in line and not line.startswith("MSG="):
            json.loads(answer)
            assert answer.endswith("}\n"), "a prompt behind it would stand in a line of its own"
    (watched,) = (answer for line, answer in answers.items() if " watch " in line)
    assert re.search(r" message   “[^”]+”  \S", watched), "chats and people by name"
    assert not re.search(r" [CG]\d{10,}  ", watched)
    history = json.loads(next(answer for line, answer in answers.items() if "/messages?limit" in line))
    assert history["messages"], "in another datacenter"


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh")
async def test_every_call_that_it_prints_works_in_zsh_too(demo: Demo, tmp_path: Path) -> None:
    """Which splits no variables, and takes other things for patterns."""
    ran = await planb("try", "--demo", str(demo.process.pid), "--json")
    lines = [line for hint in ran.json["hints"] for line in hint["run"] if "curl" in line]
    calls = (line.replace("curl ", "curl --fail-with-body -sS ") + f"; printf %s '{DONE}'" for line in lines)
    said = await shell("zsh", "\n".join(["set -e", *ran.json["variables"], *calls]), tmp_path)
    assert len(said) == len(lines) + 1, said[-1]
    for line, answer in zip(lines, said, strict=False):
        if not line.startswith("MSG="):
            json.loads(answer)


DONE = "-- done --"


async def shell(program: str, script: str, folder: Path) -> list[str]:
    """What a shell says to a script, parted where it echoes DONE."""
    process = await asyncio.create_subprocess_exec(
        program, "-c", script, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), START_S_MAX)
    return out.decode().split(DONE)


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
    assert (nobody.code, re.search(f"no demo 1 is running; .*{demo.process.pid} ", nobody.err) is not None) == (4, True)


async def test_a_datacenter_is_killed_burnt_and_rebuilt_from_another_terminal(demo: Demo) -> None:
    code, killed = await demo.planb("dc", "kill", "nrt", "--text")
    assert (code, killed) == (0, f"nrt was killed (demo {demo.process.pid}, {demo.home})\n")
    assert '"nrt": "down"' in (await demo.planb("dc", "list"))[1]
    assert (await demo.planb("dc", "kill", "nrt", "--text"))[1].startswith("nrt was down already (demo")
    assert (await demo.planb("dc", "start", "nrt"))[0] == 0
    assert '"nrt": "running"' in (await demo.planb("dc", "list"))[1]
    assert (await demo.planb("dc", "start", "nrt", "--text"))[1].startswith("nrt runs already (demo")
    assert await until(lambda: snapshots(demo, 3), START_S_MAX), "of each datacenter one"
    code, refused = await demo.planb("dc", "burn", "nrt")
    assert (code, "nrt is running: kill it first" in refused) == (5, True), refused
    assert '"nrt": "running"' in (await demo.planb("dc", "list"))[1]
    assert (await demo.planb("dc", "kill", "nrt"))[0] == 0
    assert (await demo.planb("dc", "burn", "nrt"))[0] == 0
    assert '"nrt": "burnt"' in (await demo.planb("dc", "list"))[1]
    assert (await demo.planb("dc", "burn", "nrt", "--text"))[1].startswith("nrt was burnt already (demo")
    code, started = await demo.planb("dc", "start", "nrt", "--text")
    assert (code, started.startswith("nrt is back, on empty disks: nothing was restored")) == (0, True), started
    assert (await demo.planb("dc", "kill", "nrt"))[0] == 0
    assert (await demo.planb("dc", "start", "nrt", "--text"))[1].startswith("nrt is back (demo"), "on its disks"
    words = ("dc", "rebuild", "nrt", "--demo", str(demo.process.pid), "--json")
    both = [await planb_process(*words) for _ in range(2)]  # from two terminals
    done, refused = sorted([await finished(one) for one in both], key=lambda ran: ran.code)
    assert (done.code, bool(done.json["snapshot"])) == (0, True), done
    assert (refused.code, "nrt is being rebuilt: wait until that is done" in refused.err) == (5, True), refused
    await demo.says("nrt burnt down", "nrt was rebuilt", " of nrt went home")


async def test_what_dies_by_itself_is_named_and_started_again(demo: Demo) -> None:
    (log,) = (pid for pid in demo.children() if os.readlink(f"/proc/{pid}/cwd").endswith("/fra/disks/log"))
    os.kill(log, signal.SIGKILL)
    await demo.says("fra log ended with -9", "fra was started again")


async def test_a_killed_demo_leaves_no_process_behind(tmp_path: Path) -> None:
    """Of its own, so that the tests of the one that is shared may run in any order."""
    demo = await piped("--home", str(tmp_path))
    try:
        await demo.says(f"planb dc --demo {demo.process.pid} kill nrt")
        children = demo.children()
        assert len(children) >= SERVERS
    finally:
        demo.kill()
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


async def test_on_a_terminal_it_draws_a_table_that_fits_and_ends_by_ctrl_c() -> None:
    live = await on_a_terminal()
    try:
        await live.says("You are Uyou", "export AUTH")
        assert not live.alternate, "what is to be tried is told on the screen that stays"
        await live.shows(lambda lines: sum(" serving " in line for line in lines) == 3)
        assert len(live.picture) <= 24
        assert max(map(len, live.picture)) < 80
        assert live.picture[0].startswith("Plan B")
        assert [line[:3] for line in live.picture[3:6]] == ["fra", "iad", "nrt"]
        assert any(f"planb try --demo {live.process.pid}" in line for line in live.picture)
        live.resize(60, 8)
        await live.shows(lambda lines: len(lines) <= 8 and max(map(len, lines)) < 60)
        assert [line[:3] for line in live.picture[3:6]] == ["fra", "iad", "nrt"]
        live.resize(120, 40)
        await live.shows(lambda lines: any("fra/0.0" in line for line in lines))
        await ends_by(live, signal.SIGINT, {0})
        assert not live.alternate
    finally:
        live.kill()


async def test_a_closed_terminal_ends_it_with_all_that_it_began() -> None:
    live = await on_a_terminal()
    try:
        await live.shows(lambda lines: sum(" serving " in line for line in lines) == 3)
        children = live.children()
        live.hang_up()
        assert await asyncio.wait_for(live.process.wait(), START_S_MAX) == 128 + signal.SIGHUP
        await gone(children)
    finally:
        live.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_while_it_starts_ends_it_with_all_that_it_began(number: signal.Signals) -> None:
    demo = await piped("--headless")
    try:

        async def began() -> bool:
            return len(demo.children()) >= 3

        assert await until(began, START_S_MAX)
        await ends_by(demo, number, {128 + number})
    finally:
        demo.kill()


async def test_a_command_that_it_runs_ends_with_it(tmp_path: Path) -> None:
    """`planb snapshot create`, every minute: it is not of those that serve."""
    demo = await piped("--home", str(tmp_path))
    try:

        async def stopped() -> bool:
            """So that it surely is there when the signal comes."""
            assert demo.process.returncode is None, demo.said[-2000:]
            for pid in demo.children():
                if "snapshot create" in command(pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP)
                        return True
            return False

        assert await until(stopped, START_S_MAX)
        await ends_by(demo, signal.SIGINT, {0})
    finally:
        demo.kill()


async def test_a_second_signal_hurries_it(tmp_path: Path) -> None:
    demo = await piped("--home", str(tmp_path))
    try:
        await demo.says("export AUTH")
        children = demo.children()
        (serve,) = (pid for pid in children if f"serve all --config {tmp_path}/fra/" in command(pid))
        os.kill(serve, signal.SIGSTOP)  # it does not end in order
        demo.process.send_signal(signal.SIGINT)
        await demo.says("stopping")
        demo.process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(demo.ended(), HURRY_S_MAX) == 0
        assert "Traceback" not in demo.said
        await gone(children)
    finally:
        demo.kill()


async def test_a_log_without_messages_is_told_with_a_generated_conversation(tmp_path: Path) -> None:
    (tmp_path / "quiet.log").write_bytes(b"[12:00] * Joins: somebody (a@b)\r\nwhat is this\r\n")
    demo = await piped("--input", str(tmp_path / "quiet.log"))
    try:
        await demo.says(
            "quiet: 2 lines, 0 messages of 1 people, 1 joins, parts and kicks, 1 of no known form",
            "a generated conversation is told as well", "the chat “quiet”",
        )  # fmt: skip
        await ends_by(demo, signal.SIGINT, {0})
    finally:
        demo.kill()
