"""A process that serves clients beside the one that applies, over the real line: read your writes, forget what changed,
survive a break."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from api.desk import Desk
from api.internal_auth import InternalAuth
from api.line import SysLine
from api.line_wire import Ask, Seal
from cli.waiting import until
from core import limits
from core.action import Origin
from core.clock import HybridClock
from core.errors import Corrupt, Invalid, StoreUnavailable
from core.event import Event
from core.ids import Lane
from core.system import entropy, wall_clock_ms
from core.tables import TABLES, Effect, Kind
from events.codec import codec
from events.lane_writer import LaneWriter
from events.record import Entry
from events.signing import Signer
from stores.lane_feed import LaneFeed
from stores.ports import Mark, Stamped
from stores.progress import Progress
from stores.read_elsewhere import ReadElsewhere
from stores.tidings import Forgotten, News, Pulse, Tidings, effect_of, forgotten
from stores.tidings import Mirror as Mirrored
from stores.view import StoreView
from tests.support.dc import ACTIONS, OneDc

KEY = bytes(32)
PULSE = Pulse(0, 7, "", True, {})
QUICK_MS = 400


class NoRemote:
    async def wait(self, lane: int, seq: int, timeout_s: float) -> bool:
        return (lane, seq) == (3, 9)


class Applying:
    """The process that applies, with its desk on a real port."""

    def __init__(self, dc: OneDc) -> None:
        self.dc = dc
        self.tidings = Tidings(dc.applier.progress)
        dc.view.told = self.tidings.forget
        self.feed = LaneFeed(dc.log, dc.applier, codec(), lambda lane: lane != dc.lane and Lane.of(lane).dc == 1)
        self.port = 0
        self._server: TestServer | None = None
        self._woken = asyncio.create_task(self.tidings.run())

    async def open(self) -> None:
        app = web.Application()
        Desk(
            key=KEY, entropy=entropy, tidings=self.tidings, feed=self.feed, remote=NoRemote(),
            written=self.dc.messages.written, wall=wall_clock_ms, serves=lambda: True,
        ).add_to(app)  # fmt: skip
        self.tidings.beat(PULSE)
        self._server = TestServer(app, port=self.port)
        await self._server.start_server()
        self.port = self._server.port or 0

    async def shut(self) -> None:
        if self._server is not None:
            await self._server.close()
            self._server = None

    async def end(self) -> None:
        await self.shut()
        self._woken.cancel()
        await self.dc.stop()


class Edge:
    """Another process on the same stores."""

    def __init__(self, applying: Applying, role: str = "api", worker: int = 1) -> None:
        dc = applying.dc
        self.log = dc.log
        self.session = aiohttp.ClientSession()
        clock = HybridClock(wall_clock_ms)
        rows = ReadElsewhere(dc.messages, lambda: self.mirror.moves, lambda: self.line.written())
        self.view = StoreView(dc.name, dc.relational, rows, dc.hot)
        self.mirror = Mirrored(self.view, clock)
        self.line = SysLine(
            role, dc.name, self.session, InternalAuth(KEY, dc.name, wall_clock_ms), KEY,
            lambda: f"http://127.0.0.1:{applying.port}", self.mirror, entropy,
        )  # fmt: skip
        self.lane = Lane(1, 0, worker).number
        self.writer = LaneWriter(
            dc.log, self.lane, entropy(8), clock, Signer(bytes(range(32))), self._apply, now=wall_clock_ms
        )
        self._task = asyncio.create_task(self.line.run())

    async def _apply(self, entries: Any) -> None:
        await self.line.apply(self.lane, entries[-1].seq, self.writer.unapplied(entries[-1].seq))

    async def start(self) -> "Edge":
        await self.line.up()
        await self.writer.start(lambda top: self.line.apply(self.lane, top.seq, ()))
        return self

    async def do(self, action: str, actor: str, key: str = "", **fields: Any) -> Event:
        kind = ACTIONS[action]
        origin = Origin(actor, key, "fra", wall_clock_ms(), self.view, entropy, None, v=self.mirror.progress.v)
        args = await kind.resolve(kind.Request.model_validate(fields), origin)
        return await self.writer.commit(action, kind.version, actor, key, b"fingerpr", args)

    async def end(self) -> None:
        await self.writer.close()
        await self.kill()

    async def kill(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.session.close()


@pytest.fixture
async def applying() -> AsyncIterator[Applying]:
    one = Applying(await OneDc().start())
    await one.open()
    yield one
    await one.end()


@pytest.fixture
async def edge(applying: Applying) -> AsyncIterator[Edge]:
    one = await Edge(applying).start()
    yield one
    await one.end()


async def test_whoever_has_an_answer_reads_what_he_wrote(applying: Applying, edge: Edge) -> None:
    for number in range(50):
        await edge.do("user.upsert", "sys", user="Uada", name=f"{number}")
        found = await edge.view.user("Uada")
        assert found is not None and found.name == f"{number}"
        assert edge.mirror.progress.v() == applying.dc.applier.progress.v()


async def test_what_another_process_changed_is_forgotten(applying: Applying, edge: Edge) -> None:
    await applying.dc.do("user.upsert", "sys", user="Uada", name="before")
    await seen(edge, applying)
    assert (await edge.view.user("Uada")).name == "before"  # type: ignore[union-attr]
    assert edge.view._cache, "or this shows nothing"
    await applying.dc.do("user.upsert", "sys", user="Uada", name="after")
    await seen(edge, applying)
    assert (await edge.view.user("Uada")).name == "after"  # type: ignore[union-attr]


async def holds(edge: Edge, seq: int) -> bool:
    """Does the log hold its lane through there?"""
    return (await edge.log.tops())[edge.lane].seq >= seq


async def seen(edge: Edge, applying: Applying) -> None:
    """Until the edge has heard of all that is applied."""
    async with asyncio.timeout(5):
        while edge.mirror.progress.v() != applying.dc.applier.progress.v():
            await edge.mirror.progress.moved()


async def test_without_a_line_nothing_is_kept(applying: Applying, edge: Edge) -> None:
    await edge.do("user.upsert", "sys", user="Uada", name="before")
    assert (await edge.view.user("Uada")).name == "before"  # type: ignore[union-attr]
    await applying.shut()
    await applying.dc.do("user.upsert", "sys", user="Uada", name="after")
    assert (await edge.view.user("Uada")).name == "after"  # type: ignore[union-attr]
    assert not edge.view._cache
    await applying.open()
    await edge.line.up()
    assert edge.mirror.progress.v() == applying.dc.applier.progress.v()
    assert (await edge.view.user("Uada")).name == "after"  # type: ignore[union-attr]
    assert edge.view._cache


async def test_a_write_waits_while_the_other_is_started_again(applying: Applying, edge: Edge) -> None:
    await applying.shut()
    write = asyncio.create_task(edge.do("user.upsert", "sys", user="Uada", name="Ada"))
    assert await until(lambda: holds(edge, 2), 5)
    assert not write.done()
    await applying.open()
    await write
    assert (await edge.view.user("Uada")).name == "Ada"  # type: ignore[union-attr]
    assert (await edge.log.tops())[edge.lane].seq == 2, "once"


async def test_a_write_is_refused_when_the_other_is_away_for_long(
    applying: Applying, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LANE_ANSWER_MS_MAX", QUICK_MS)
    await applying.shut()
    with pytest.raises(Exception, match="outcome is not known"):
        await edge.do("user.upsert", "sys", user="Uada", name="Ada")

    async def stumbles() -> bool:
        return edge.writer.stumbling

    assert await until(stumbles, 5)
    with pytest.raises(StoreUnavailable):
        await edge.do("user.upsert", "sys", user="Uada", name="Ada again")
    await applying.open()
    await edge.line.up()

    async def is_done() -> bool:
        return not edge.writer.pending

    assert await until(is_done, 10)
    assert (await edge.view.user("Uada")).name == "Ada"  # type: ignore[union-attr]


async def test_what_a_dead_process_left_in_its_lane_is_applied(applying: Applying) -> None:
    edge = await Edge(applying).start()
    stuck = asyncio.Event()

    async def never(entries: list[Entry]) -> None:
        stuck.set()
        await asyncio.Event().wait()

    edge.writer._apply = never  # type: ignore[assignment]
    write = asyncio.create_task(edge.do("user.upsert", "sys", user="Uada", name="Ada"))
    await stuck.wait()
    assert applying.dc.applier.progress.applied[edge.lane].seq == 1
    await edge.kill()
    async with asyncio.timeout(5):
        while applying.dc.applier.progress.applied[edge.lane].seq < 2:
            await applying.dc.applier.progress.moved()
    assert (await applying.dc.view.user("Uada")).name == "Ada"  # type: ignore[union-attr]
    write.cancel()
    await asyncio.gather(write, return_exceptions=True)
    successor = await Edge(applying).start()
    assert (await successor.log.tops())[edge.lane].seq == 3, "it goes on behind"
    await successor.end()
    await edge.writer._stop()


async def test_what_nobody_hands_over_is_applied_at_the_second_look(applying: Applying, edge: Edge) -> None:
    """The line may last, and still nobody asks."""
    edge.writer._apply = asyncio.Event().wait  # type: ignore[assignment]
    write = asyncio.create_task(edge.do("user.upsert", "sys", user="Uada", name="Ada"))
    assert await until(lambda: holds(edge, 2), 5)
    await applying.feed.look(await edge.log.tops())
    assert applying.dc.applier.progress.applied[edge.lane].seq == 1, "whoever is about to hand it over may do so"
    await applying.feed.look(await edge.log.tops())
    assert applying.dc.applier.progress.applied[edge.lane].seq == 2
    assert applying.feed.drained == 1
    write.cancel()
    await asyncio.gather(write, return_exceptions=True)


async def test_only_lanes_of_other_processes_are_handed_over(applying: Applying, edge: Edge) -> None:
    for lane in (applying.dc.lane, Lane(2, 0, 1).number):
        with pytest.raises(StoreUnavailable, match="not written by another process"):
            await edge.line.apply(lane, 1, ())
        with pytest.raises(Invalid):
            await applying.feed.apply(lane, 1, ())


async def test_who_waits_for_another_datacenter_is_told(edge: Edge) -> None:
    assert await edge.line.wait(3, 9, 1.0)
    assert not await edge.line.wait(3, 10, 1.0)


async def test_brokers_hear_what_is_announced_and_that_something_was_lost(applying: Applying) -> None:
    broker = Edge(applying, role="broker")
    heard = broker.line.listen()
    first = asyncio.ensure_future(anext(heard))
    await broker.line.up()
    assert applying.tidings.heard
    await applying.tidings.announce(b"one")
    assert await first == b"one"
    await applying.shut()
    assert await anext(heard) == b""
    await broker.kill()


async def test_an_api_process_is_told_of_no_announcement(applying: Applying, edge: Edge) -> None:
    assert not applying.tidings.heard


async def test_a_process_that_takes_nothing_loses_its_line(
    applying: Applying, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LINE_WAITING_BYTES_MAX", 1_000)
    (line,) = applying.tidings.lines
    line.forget([Forgotten("users", ("Uada", ""), 1, False)] * 11)

    async def is_closed() -> bool:
        return line not in applying.tidings.lines

    assert await until(is_closed, 5)
    await edge.line.up()
    assert edge.mirror.progress.v() == applying.dc.applier.progress.v(), "and gets a new one, which has all"


def test_a_frame_counts_once_in_its_place_and_line() -> None:
    def pair(nonce: bytes = b"n", direction: str = "asks", key: bytes = KEY) -> Seal:
        return Seal(key, "mac", nonce, direction)

    ours, theirs = pair(), pair()
    frames = [ours.seal(Ask(number, "written")) for number in range(3)]
    assert theirs.open(frames[0], Ask).number == 0
    for wrong in (frames[0], frames[2], b"x" + frames[1][1:], frames[1][:-1], b""):
        other = pair()
        other.open(frames[0], Ask)
        with pytest.raises(Corrupt):
            other.open(wrong, Ask)
    for stranger in (pair(b"m"), pair(direction="news"), pair(key=bytes(31) + b"1")):
        with pytest.raises(Corrupt):
            stranger.open(frames[0], Ask)
    assert theirs.open(frames[1], Ask).number == 1


def test_a_lane_is_never_told_to_be_further_than_what_was_forgotten_for_it() -> None:
    progress = Progress()
    tidings = Tidings(progress)
    line = tidings.open(brokers=False)
    assert line.take() == News([], {}, [])
    tidings.forget([Stamped(5, Effect("users", ("Uada",), {"name": "Ada"}))])
    progress.advance(7, Mark(1, 5))
    assert line.take() == News([Forgotten("users", ("Uada", ""), 5, False)], {7: (1, 5)})
    assert line.take() is None


@pytest.mark.parametrize("table", TABLES)
def test_what_is_told_of_a_change_makes_others_forget_what_the_change_does(
    table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all tables, with and without a role: also for those that nobody has thought of."""
    dc = OneDc()
    forgotten_keys: list[tuple[str, ...]] = []
    monkeypatch.setattr(dc.view, "_forget", lambda *keys: forgotten_keys.extend(keys))
    key = tuple("Uada" if kind is Kind.TEXT else 7 for kind in TABLES[table].key.values())
    for columns in ({}, {"role": "admin"}):
        change = [Stamped(5, Effect(table, key, dict(columns)))]
        dc.view._cache.keep(("heir", "Uada"), "Ueve")
        dc.view._cache.keep(("adds_over", "Uada"), 9)
        dc.view.invalidate(change)
        by_the_change, forgotten_keys[:] = list(forgotten_keys), []
        dc.view.invalidate([effect_of(one) for one in forgotten(change)])
        assert forgotten_keys == by_the_change
        forgotten_keys.clear()
