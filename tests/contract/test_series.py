"""The SeriesStore contract over its adapters, and what is of one adapter only."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import taosrest

from core import limits
from core.errors import ConfigError, Corrupt, Invalid, Overloaded, StoreUnavailable
from stores.adapters import sqlite_series
from stores.adapters.memory_series import MemorySeries
from stores.adapters.sqlite_series import SqliteSeries
from stores.adapters.tdengine_series import CALLS_WAITING_MAX, TDenginePlace, TDengineSeries
from stores.series import Point, SeriesStore
from tests.contract.series import KEPT_MS, NOW_MS, OTHER, RATE, SeriesContract, rate, values
from tests.support.tdengine import PASSWORD, USER, Refused, TDengine

REAL = os.environ.get("PLANB_TEST_TDENGINE_URL", "")
_databases = itertools.count()


class Forgetful:
    """What holds for adapters that forget by themselves; TDengine does so by its own KEEP."""

    async def test_what_is_older_than_its_days_is_forgotten(self, store: SeriesStore) -> None:
        old = Point(OTHER, NOW_MS - KEPT_MS - 1, (1.0,))
        await store.write([old, Point(RATE, NOW_MS - KEPT_MS, (1.0,))])
        await store.write([rate(0, 1.0)])
        (held,) = await store.held()
        assert (held.series, held.points, held.first_ms) == (RATE, 2, NOW_MS - KEPT_MS)


class TestMemorySeries(SeriesContract, Forgetful):
    @pytest.fixture
    def store(self) -> SeriesStore:
        return MemorySeries(now_ms=lambda: NOW_MS, kept_ms=KEPT_MS)

    async def test_it_is_bounded(self) -> None:
        store = MemorySeries(now_ms=lambda: NOW_MS, kept_ms=KEPT_MS, points_max=3)
        await store.write([rate(at, float(at)) for at in (5, 1, 4, 2, 3)])
        assert await values(store) == [(3, 3.0), (4, 4.0), (5, 5.0)]


class TestSqliteSeries(SeriesContract, Forgetful):
    @pytest.fixture
    async def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SeriesStore]:
        monkeypatch.setattr(sqlite_series, "FORGET_INTERVAL_MS", 0)  # at each write
        store = SqliteSeries(tmp_path / "series.db", now_ms=lambda: NOW_MS, kept_ms=KEPT_MS)
        yield store
        await store.close()

    async def test_who_only_reads_makes_no_file(self, store: SeriesStore, tmp_path: Path) -> None:
        assert await store.held() == []
        assert os.listdir(tmp_path) == []

    async def test_another_process_reads_what_is_there(self, store: SeriesStore, tmp_path: Path) -> None:
        await store.write([rate(0, 1.0)])
        other = SqliteSeries(tmp_path / "series.db", now_ms=lambda: NOW_MS, kept_ms=KEPT_MS)
        assert await other.held() == await store.held() != []
        await other.close()

    async def test_a_file_beyond_its_bound_loses_its_oldest_points_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_series, "FORGET_INTERVAL_MS", 0)
        bytes_max = 400_000
        store = SqliteSeries(tmp_path / "series.db", now_ms=lambda: NOW_MS, kept_ms=KEPT_MS, bytes_max=bytes_max)
        for begin in range(0, 40_000, 1_000):
            await store.write(
                [rate(at - 50_000, 1.0, series) for at in range(begin, begin + 500) for series in (RATE, OTHER)]
            )
        held = await store.held()
        assert [one.last_ms for one in held] == [NOW_MS - 50_000 + 39_499] * 2
        assert 2_000 < held[0].points < 15_000
        assert held[0].first_ms == held[1].first_ms > NOW_MS - 50_000
        await store.close()
        assert (tmp_path / "series.db").stat().st_size <= bytes_max * 1.125

    async def test_a_file_that_is_full_says_so(self, tmp_path: Path) -> None:
        """Where what came within a minute is more than its spare room."""
        store = SqliteSeries(tmp_path / "series.db", now_ms=lambda: NOW_MS, kept_ms=KEPT_MS, bytes_max=100_000)
        with pytest.raises(StoreUnavailable, match="not reachable") as caught:
            for begin in range(0, 20_000, 1_000):
                await store.write([rate(at, 1.0) for at in range(begin, begin + 1_000)])
        assert "full" in caught.value.private
        await store.close()

    async def test_a_damaged_file_is_named(self, store: SeriesStore, tmp_path: Path) -> None:
        (tmp_path / "series.db").write_bytes(b"no database" * 1_000)
        for use in (store.write([rate(0, 1.0)]), store.held()):
            with pytest.raises(Corrupt, match=r"series\.db is damaged"):
                await use

    async def test_a_file_that_is_damaged_while_it_is_open_can_be_replaced(
        self, store: SeriesStore, tmp_path: Path
    ) -> None:
        path = tmp_path / "series.db"
        await store.write([rate(at, 1.0) for at in range(1_000)])
        other = SqliteSeries(path, now_ms=lambda: NOW_MS, kept_ms=KEPT_MS)
        await store.close()
        await other.write([rate(0, 1.0)])
        with path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xff" * (path.stat().st_size - 100))
        with pytest.raises(Corrupt):
            await other.write([rate(at, 2.0) for at in range(1_000)])
        path.unlink()
        await other.write([rate(0, 3.0)])
        assert await values(other) == [(0, 3.0)]
        await other.close()

    async def test_a_newer_file_is_refused(
        self, store: SeriesStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await store.write([rate(0, 1.0)])
        await store.close()
        monkeypatch.setattr(sqlite_series, "VERSION", 0)
        older = SqliteSeries(tmp_path / "series.db", now_ms=lambda: NOW_MS, kept_ms=KEPT_MS)
        with pytest.raises(ConfigError, match="has schema 1"):
            await older.held()
        await older.close()


@pytest.fixture
async def server() -> AsyncIterator[TDengine]:
    server = TDengine()
    await server.open()
    yield server
    await server.close()


def place_of(server: TDengine, **changed: object) -> TDenginePlace:
    return TDenginePlace(**{"url": server.url, "user": USER, "password": PASSWORD, **changed})  # type: ignore[arg-type]


class TestTDengineSeries(SeriesContract):
    """Over the double."""

    @pytest.fixture
    async def store(self, server: TDengine) -> AsyncIterator[SeriesStore]:
        store = TDengineSeries(place_of(server))
        yield store
        await store.close()

    async def test_the_database_keeps_as_many_days_as_were_asked_for(self, server: TDengine) -> None:
        for days in (1, 2, 7, 365):
            store = TDengineSeries(place_of(server, database=f"d{days}", kept_days=days))
            await store.write([rate(0, 1.0)])
            await store.close()
        assert {name: one.kept_days for name, one in server.databases.items()} == {
            "d1": 1,
            "d2": 2,
            "d7": 7,
            "d365": 365,
        }

    async def test_who_only_reads_makes_nothing(self, store: SeriesStore, server: TDengine) -> None:
        await store.held()
        await store.windows("msg_rate", 0, 1, 1)
        assert not server.databases
        assert all(statement.startswith("SELECT") for statement in server.statements)

    async def test_a_database_that_is_there_is_not_made(self, store: SeriesStore, server: TDengine) -> None:
        """Which needs a right that this user may lack."""
        await store.write([rate(0, 1.0)])
        made = len(server.statements)
        other = TDengineSeries(place_of(server))
        await other.write([rate(1, 1.0)])
        await other.close()
        assert not any("DATABASE" in statement for statement in server.statements[made:])

    async def test_a_batch_is_one_statement(self, store: SeriesStore, server: TDengine) -> None:
        await store.write([rate(0, 1.0)])
        done = len(server.statements)
        await store.write([rate(at, 1.0, one) for at in range(500) for one in (RATE, OTHER)])
        assert len(server.statements) == done + 1

    async def test_a_database_that_vanished_is_made_again(self, store: SeriesStore, server: TDengine) -> None:
        await store.write([rate(0, 1.0)])
        server.databases.clear()
        with pytest.raises(StoreUnavailable, match="Database not exist"):
            await store.write([rate(1, 1.0)])
        await store.write([rate(1, 1.0)])
        assert await values(store) == [(1, 1.0)]

    @pytest.mark.parametrize("code", [9750, 9731, 855, 820, 11])
    async def test_what_may_pass_is_a_store_that_is_not_reachable(
        self, store: SeriesStore, server: TDengine, code: int
    ) -> None:
        await store.write([rate(0, 1.0)])
        server.refuse_with = Refused(code, "not today")
        with pytest.raises(StoreUnavailable, match=f"TDengine at {server.url}: .*not today"):
            await store.write([rate(1, 1.0)])
        server.refuse_with = None
        await store.write([rate(1, 1.0)])
        assert await values(store) == [(0, 1.0), (1, 1.0)]

    async def test_what_the_server_refuses_for_itself_is_invalid(self, store: SeriesStore, server: TDengine) -> None:
        await store.write([rate(0, 1.0)])
        server.refuse_with = Refused(1547, "Timestamp data out of range")
        with pytest.raises(Invalid, match="Timestamp data out of range"):
            await store.write([rate(1, 1.0)])

    async def test_a_refusal_to_make_tables_says_nothing_about_points(
        self, store: SeriesStore, server: TDengine
    ) -> None:
        server.refuse_with = Refused(9796, "Permission denied")
        with pytest.raises(StoreUnavailable, match="Permission denied"):
            await store.write([rate(0, 1.0)])

    @pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
    async def test_an_http_error_is_one_of_ours(self, store: SeriesStore, server: TDengine, status: int) -> None:
        server.status = status
        for use in (store.write([rate(0, 1.0)]), store.held()):
            with pytest.raises(StoreUnavailable, match=str(status)):
                await use

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"code": 0}', b"\xff", b'{"code": 0, "data": 1}',
                                      b'{"code":0,"column_meta":[],"data":7,"rows":1}',
                                      b'{"code":0,"column_meta":[["a","INT",4]],"data":[7],"rows":1}'])  # fmt: skip
    async def test_what_is_no_answer_is_one_of_our_errors(
        self, store: SeriesStore, server: TDengine, body: bytes
    ) -> None:
        server.body = body
        for use in (store.write([rate(0, 1.0)]), store.held()):
            with pytest.raises(StoreUnavailable, match="TDengine at"):
                await use

    async def test_a_server_that_is_gone_is_one_of_ours_and_comes_back(
        self, store: SeriesStore, server: TDengine
    ) -> None:
        await store.write([rate(0, 1.0)])
        await server.close()
        with pytest.raises(StoreUnavailable):
            await store.write([rate(1, 1.0)])
        await server.open()
        await store.write([rate(1, 1.0)])
        assert await values(store) == [(0, 1.0), (1, 1.0)]

    async def test_a_silent_server_is_given_up_and_keeps_nobody(
        self, server: TDengine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "SERIES_ANSWER_S_MAX", 0.2)
        store = TDengineSeries(place_of(server))
        server.hang = True
        with pytest.raises(StoreUnavailable, match="timed out"):
            await store.write([rate(0, 1.0)])
        await store.close()

    async def test_calls_that_wait_are_bounded(self, store: SeriesStore, server: TDengine) -> None:
        server.hang = True
        waiting = [asyncio.ensure_future(store.held()) for _ in range(CALLS_WAITING_MAX)]
        await asyncio.sleep(0)  # each has been handed in
        with pytest.raises(Overloaded):
            await store.held()
        server.hang = False
        server.let_go.set()
        assert await asyncio.gather(*waiting) == [[]] * CALLS_WAITING_MAX

    async def test_a_closed_one_is_refused(self, store: SeriesStore) -> None:
        await store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            await store.held()

    async def test_the_password_stands_in_no_message(self, server: TDengine) -> None:
        place = place_of(server, password="open sesame")
        store = TDengineSeries(place)
        with pytest.raises(StoreUnavailable, match="Authentication failure") as caught:
            await store.write([rate(0, 1.0)])
        assert "sesame" not in f"{caught.value} {caught.value.private} {place!r}"
        await store.close()

    @pytest.mark.parametrize(
        "url", ["127.0.0.1:6041", "http://", "http://root:taosdata@h:6041", "ftp://h", "http://h/x"]
    )
    def test_a_url_that_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigError, match="URL of TDengine"):
            TDenginePlace(url, "root", "x")

    @pytest.mark.parametrize("name", ["", "planb;", "Planb", "a-b", "9x", "x" * 33])
    def test_a_database_name_goes_into_statements_as_it_is(self, name: str) -> None:
        with pytest.raises(ConfigError, match="no name for a database"):
            TDenginePlace("http://h:6041", "root", "x", database=name)


@pytest.mark.skipif(
    not REAL, reason="no registry has a TDengine: PLANB_TEST_TDENGINE_URL=http://user:password@host:6041"
)
class TestRealTDengineSeries(SeriesContract):
    """The same over a real server."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[SeriesStore]:
        parts = urlsplit(REAL)
        url = f"{parts.scheme}://{parts.hostname}:{parts.port or 6041}"
        user, password = parts.username or "root", parts.password or "taosdata"
        database = f"planb_test_{os.getpid()}_{next(_databases)}"
        # The contract's points are of a day in 2025.
        store = TDengineSeries(TDenginePlace(url, user, password, database, kept_days=3_650))
        try:
            yield store
        finally:
            await store.close()
            taosrest.connect(url=url, user=user, password=password).execute(f"DROP DATABASE IF EXISTS {database}")
