"""The Coordination contract over its adapters, and what can happen to the folder of one."""

import asyncio
import fcntl
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cli.waiting import until
from core import limits
from core.errors import Corrupt, LeaseLost, StoreUnavailable
from deploy.local.etcd import Etcd
from stores.adapters.etcd_coordination import EtcdCoordination
from stores.adapters.etcd_gateway import EtcdGateway, EtcdPlace
from stores.adapters.file_coordination import FileCoordination
from stores.adapters.memory_coordination import MemoryCoordination
from stores.coordination import PROCESS, Coordination, Member, datacenter_of, leader, member_of, to_json
from tests.contract.coordination import IAD, LEASE_MS, CoordinationContract, Place, joined, member

_prefixes = itertools.count()
ENDS_S_MAX = LEASE_MS / 1_000 + 10


class MemoryProcess:
    """One of those that share a MemoryCoordination."""

    def __init__(self, shared: MemoryCoordination) -> None:
        self.sessions: set[str] = set()
        self._shared = shared

    async def open(self, said: Member, lease_ms: int) -> int | None:
        self.sessions.add(said.id)
        return await self._shared.open(said, lease_ms)

    async def end(self, session: str) -> None:
        self.sessions.discard(session)
        await self._shared.end(session)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared, name)


class MemoryPlace:
    """Time passes only when somebody dies, or has to live on."""

    def __init__(self) -> None:
        self._now_ms = 0
        self._shared = MemoryCoordination(lambda: self._now_ms)
        self._processes: list[MemoryProcess] = []

    def process(self) -> Coordination:
        self._processes.append(MemoryProcess(self._shared))
        return self._processes[-1]

    async def dies(self, process: Coordination) -> None:
        assert isinstance(process, MemoryProcess)
        process.sessions.clear()
        await self._pass()

    async def lives_on(self, process: Coordination, session: str) -> None:
        await self._pass()

    async def _pass(self) -> None:
        for _ in range(3):
            self._now_ms += LEASE_MS // 2
            for process in self._processes:
                for session in process.sessions:
                    await process.renew(session)
        await self._shared.look()


class TestMemoryCoordination(CoordinationContract):
    @pytest.fixture
    def place(self) -> Place:
        return MemoryPlace()

    async def test_a_session_ends_with_its_time_and_not_before(self) -> None:
        now_ms = 0
        coordination = MemoryCoordination(lambda: now_ms)
        await coordination.open(member("a"), LEASE_MS)
        now_ms = LEASE_MS - 1
        assert list((await coordination.look()).members) == ["a"]
        now_ms = LEASE_MS
        assert not (await coordination.look()).members


class EtcdSite:
    """Dead processes are waited for: etcd ends their leases."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.prefix = f"planb-test/{os.getpid()}-{next(_prefixes)}"
        self.processes: list[EtcdCoordination] = []

    def process(self) -> EtcdCoordination:
        self.processes.append(EtcdCoordination(EtcdGateway(EtcdPlace([self._url])), self.prefix))
        return self.processes[-1]

    async def dies(self, process: Coordination) -> None:
        assert isinstance(process, EtcdCoordination)
        sessions = set(process._leases)

        async def ended() -> bool:
            return not sessions & set((await process.look()).members)

        assert await until(ended, ENDS_S_MAX)

    async def lives_on(self, process: Coordination, session: str) -> None:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + 1.5 * LEASE_MS / 1_000

        async def is_over() -> bool:
            await process.renew(session)
            return loop.time() > end_s

        assert await until(is_over, ENDS_S_MAX)


@pytest.mark.integration
class TestEtcdCoordination(CoordinationContract):
    @pytest_asyncio.fixture
    async def place(self, etcd: Etcd) -> AsyncIterator[Place]:
        site = EtcdSite(etcd.url)
        yield site
        for process in site.processes:
            await process.close()


# -- a folder


class FolderPlace:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def process(self) -> Coordination:
        return FileCoordination(self._folder)

    async def dies(self, process: Coordination) -> None:
        await process.close()

    async def lives_on(self, process: Coordination, session: str) -> None:
        assert await process.renew(session) is None


CHILD = """
import asyncio, sys
from pathlib import Path
from stores.adapters.file_coordination import FileCoordination
from stores.coordination import PROCESS, Member

async def main():
    coordination = FileCoordination(Path(sys.argv[1]))
    await coordination.open(Member("child"), 3_000)
    held = await coordination.take("child", PROCESS)
    print(held.token, flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


def child_of(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A process that holds PROCESS, and its token."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    )
    assert child.stdout is not None
    return child, int(child.stdout.readline())


class TestFileCoordination(CoordinationContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return FolderPlace(tmp_path / "coordination")

    async def test_what_a_killed_process_held_is_free_at_once_and_never_before(self, tmp_path: Path) -> None:
        child, token = child_of(tmp_path)
        try:
            ours = await joined(FolderPlace(tmp_path), "ours")
            os.kill(child.pid, signal.SIGSTOP)
            assert (await ours.take("ours", PROCESS)).member.id == "child", "a frozen one may wake up"
            child.kill()
            child.wait()
            held = await ours.take("ours", PROCESS)
            assert (held.member.id, held.token) == ("ours", token + 1)
            assert list((await ours.look()).members) == ["ours"]
            assert [path.name for path in (tmp_path / "members").iterdir()] == ["ours"], "what the dead left is removed"
        finally:
            child.kill()
            child.wait()

    async def test_a_session_whose_file_was_removed_is_lost(self, tmp_path: Path) -> None:
        """Whoever removes the folder of a running process makes room for another one: it is to notice."""
        folder = tmp_path / "coordination"
        a = await joined(FolderPlace(folder), "a")
        assert await a.renew("a") is None
        shutil.rmtree(folder)
        with pytest.raises(LeaseLost):
            await a.renew("a")
        b = await joined(FolderPlace(folder), "a")
        assert await b.renew("a") is None
        with pytest.raises(LeaseLost):
            await a.take("a", PROCESS)

    async def test_a_mutex_that_nobody_lets_go_is_said_in_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a = await joined(FolderPlace(tmp_path), "a")
        monkeypatch.setattr(limits, "COORDINATION_CALL_MS_MAX", 50)
        with (tmp_path / "mutex").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(StoreUnavailable, match="mutex locked"):
                await a.take("a", PROCESS)
            assert await a.renew("a") is None, "what it has it keeps"
        await a.take("a", PROCESS)

    async def test_a_folder_that_can_not_be_used_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreUnavailable, match=r"file/coordination is not usable: Not a directory"):
            await FileCoordination(tmp_path / "file" / "coordination").look()

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"token": "1", "member": null}', b'{"token": 1}', b"\xff"])
    async def test_a_claim_that_is_damaged_is_named(self, tmp_path: Path, data: bytes) -> None:
        a = await joined(FolderPlace(tmp_path), "a")
        (tmp_path / "claims" / "process").write_bytes(data)
        with pytest.raises(Corrupt, match="claims/process"):
            await a.take("a", PROCESS)

    async def test_tokens_go_on_where_they_were_after_all_processes_ended(self, tmp_path: Path) -> None:
        tokens = []
        for n in range(3):
            process = await joined(FolderPlace(tmp_path), f"p{n}")
            tokens.append((await process.take(f"p{n}", leader("cron"))).token)
            await process.close()
        assert tokens == [1, 2, 3]


# -- what is written


@pytest.mark.parametrize("read", [member_of, datacenter_of])
@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"1", b"null", b"{}", b'{"id": 1}', b'{"number": true}', b"[" * 9_999]
)
def test_what_plan_b_did_not_write_is_refused_by_name(read: Callable[[bytes, str], object], data: bytes) -> None:
    with pytest.raises(Corrupt, match="members/x"):
        read(data, "members/x")


def test_what_a_newer_version_adds_is_left_out() -> None:
    assert member_of(to_json(member("a"))[:-1] + b',"zone":"b"}', "") == member("a")
    assert datacenter_of(to_json(IAD)[:-1] + b',"zone":"b"}', "") == IAD
