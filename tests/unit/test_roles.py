"""What a process that does not apply does by itself: roles, its clock, its reads of rows that another one writes."""

import asyncio
from pathlib import Path

import pytest

from cli import edge, settings
from cli.line_clock import LineClock
from cli.serve import run
from core import limits
from core.errors import ConfigError, Invalid, StoreUnavailable
from core.ids import class_of
from core.messages import Row
from stores.adapters.memory_messages import MemoryMessageStore
from stores.read_elsewhere import ReadElsewhere
from tests.support.stores import id_at

SETTINGS = """
dc = { name = "fra", number = 1 }
public = { port = 18080 }
sys = { port = 18081 }
[stores]
data_dir = "data"
objects_dir = "objects"
log_url = "redis://127.0.0.1:1/0"
hot_url = "redis://127.0.0.1:2/0"
[secrets]
token_key_file = "key"
sys_key_file = "key"
signing_key_file = "key"
"""


@pytest.mark.parametrize(
    ("role", "port", "why"),
    [
        ("push", None, "there is no push service yet"),
        ("replicator", None, "a part of `planb serve sys`"),
        ("cron", None, "a part of `planb serve sys`"),
        ("all", 1, "--port is for api and broker"),
        ("sys", 1, "--port is for api and broker"),
        ("api", 99_999, "--port 99999: a port is a number from 1 to 65535"),
        ("broker", 0, "--port 0: a port is a number from 1 to 65535"),
    ],
)
async def test_a_role_that_is_no_process_of_its_own_is_refused(role: str, port: int | None, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        await run(Path("there is no need to read it"), role, port)


async def test_where_a_broker_listens_has_to_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_bytes(bytes(32))
    file = tmp_path / "fra.toml"
    file.write_text(SETTINGS)
    with pytest.raises(ConfigError, match=r"broker\.port in the settings, or --port"):
        edge.broker(settings.load(file), None)
    assert edge.broker(settings.load(file), 18083).where.port == 18083
    file.write_text("broker = { port = 18082 }\n" + SETTINGS)
    assert edge.broker(settings.load(file), None).where.port == 18082
    assert edge.broker(settings.load(file), 18083).where.port == 18083
    assert edge.api(settings.load(file), None).where.port == 18080
    assert edge.api(settings.load(file), 18084).where.port == 18084


def test_a_clock_is_doubted_only_where_it_is_surely_wrong() -> None:
    now = 1_000_000
    clock = LineClock(lambda: now)
    clock.note(now - 2_000, now - 2_000, now)
    assert (clock.doubt(), clock.trusted()) == ("", now), "the answer took so long that it says nothing"
    clock.note(now - 2, now - 1, now)
    assert clock.doubt() == ""
    off = limits.CLOCK_ERROR_MS_MAX + 50
    for there, side in ((now - off, "ahead of"), (now + off, "behind")):
        clock = LineClock(lambda: now)
        clock.note(now - 2, there, now)
        assert f"{off - 1 if side == 'ahead of' else off + 1} ms {side}" in clock.doubt()
        assert abs(clock.trusted() - there) <= 1
        for _ in range(5):
            clock.note(now - 1, now, now)
        assert (clock.doubt(), clock.trusted()) == ("", now), "it was set"
    clock.told = "theirs is wrong"
    assert clock.doubt() == "theirs is wrong"


class Elsewhere:
    """Rows that another process has, and writes when it is asked."""

    def __init__(self) -> None:
        self.inner = MemoryMessageStore()
        self.moves = 0
        self.asked = 0
        self.away = False
        self.go = asyncio.Event()
        self.go.set()
        self._rows: list[Row] = []
        self.store = ReadElsewhere(self.inner, lambda: self.moves, self.written)

    def send(self, number: int) -> None:
        id = id_at(number)
        key = f"k{number}"
        body = {"text": "x", "key": key}
        self._rows.append(Row(id, "G1", id, "send", "Ua", class_of("Ua", key, "G1", b""), body))
        self.moves += 1

    async def written(self) -> None:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("away")
        rows, self._rows = self._rows, []
        await self.go.wait()
        self.inner.put(rows, {})


async def test_what_was_told_is_read() -> None:
    world = Elsewhere()
    for number in range(3):
        world.send(number)
        assert len(await world.store.rows_of([id_at(at) for at in range(3)])) == number + 1
        assert len(await world.store.page("G1", limit=9)) == number + 1
        assert len(await world.store.recent("G1", 9)) == number + 1
        assert (await world.store.tops("", 9))[0][1] == id_at(number)
        assert world.asked == number + 1, "once for what moved"


async def test_who_reads_while_it_is_asked_waits_for_what_came_since() -> None:
    world = Elsewhere()
    world.send(0)
    world.go.clear()
    first = asyncio.create_task(world.store.page("G1", limit=9))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.asked == 1
    world.send(1)
    second, third = (asyncio.create_task(world.store.page("G1", limit=9)) for _ in range(2))
    await asyncio.sleep(0)
    world.go.set()
    assert await first
    assert [len(page) for page in await asyncio.gather(second, third)] == [2, 2]
    assert world.asked == 2, "together"


async def test_where_nobody_can_be_asked_only_what_is_surely_written_is_read() -> None:
    world = Elsewhere()
    world.send(0)
    assert len(await world.store.page("G1", limit=9)) == 1
    world.away = True
    assert len(await world.store.page("G1", limit=9)) == 1, "nothing moved"
    world.send(1)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await world.store.page("G1", limit=9)
    world.away = False
    assert len(await world.store.page("G1", limit=9)) == 2
