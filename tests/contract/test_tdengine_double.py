"""The double of TDengine against what is known of the server (docs/servers.md): it may not be kinder than that is."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import taosrest
from taosrest.errors import Error, HTTPError

from tests.support.tdengine import PASSWORD, USER, TDengine

NOTHING = "DURATION 8h PRECISION 'ms'"
TABLE = "CREATE STABLE IF NOT EXISTS t (ts TIMESTAMP, a DOUBLE, b DOUBLE) TAGS (dc VARCHAR(8), kind VARCHAR(8))"
ROWS = "INSERT INTO t1 USING t TAGS ('fra', 'k') VALUES (1700000000123, 1, 2.5) (1700000000124, 3, 4)"


@pytest.fixture
async def server() -> AsyncIterator[TDengine]:
    server = TDengine()
    await server.open()
    yield server
    await server.close()


def basic(password: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()}


async def said(server: TDengine, statement: str, database: str = "/p", **headers: Any) -> tuple[int, Any]:
    """(HTTP status, answer)."""
    async with aiohttp.ClientSession() as session:
        asked = session.post(
            f"{server.url}/rest/sql{database}", data=statement, headers=headers.get("headers", basic())
        )
        async with asked as answer:
            return answer.status, await answer.json(content_type=None)


async def code(server: TDengine, statement: str, database: str = "/p") -> int:
    """Of an answer that has, as all of them, HTTP 200."""
    status, answer = await said(server, statement, database)
    assert status == 200
    assert set(answer) == ({"code", "desc"} if answer["code"] else {"code", "column_meta", "data", "rows"})
    return int(answer["code"])


async def prepared(server: TDengine) -> None:
    for database, statement in (
        ("", f"CREATE DATABASE IF NOT EXISTS p KEEP 1d {NOTHING}"),
        ("/p", TABLE),
        ("/p", ROWS),
    ):
        assert await code(server, statement, database) == 0


async def test_a_write_answers_how_many_rows_it_wrote(server: TDengine) -> None:
    await prepared(server)
    assert await said(server, ROWS) == (
        200,
        {"code": 0, "column_meta": [["affected_rows", "INT", 4]], "data": [[2]], "rows": 1},
    )


async def test_a_question_answers_columns_with_types_and_rows(server: TDengine) -> None:
    await prepared(server)
    asked = "SELECT _wstart, dc, count(*), max(b) FROM t WHERE ts >= 0 PARTITION BY dc INTERVAL(1000a)"
    assert await said(server, asked) == (
        200,
        {
            "code": 0,
            "column_meta": [["_wstart", "TIMESTAMP", 8], ["dc", "VARCHAR", 8], ["count(*)", "BIGINT", 8],
                            ["max(b)", "DOUBLE", 8]],
            "data": [["2023-11-14T22:13:20.000Z", "fra", 2, 4.0]],
            "rows": 1,
        },
    )  # fmt: skip


async def test_without_authentication_it_is_401_and_without_a_body_400(server: TDengine) -> None:
    assert (await said(server, ROWS, headers={}))[0] == 401
    assert (await said(server, ""))[0] == 400


async def test_a_wrong_password_is_told_with_http_200(server: TDengine) -> None:
    status, answer = await said(server, ROWS, headers=basic("wrong"))
    assert (status, answer["code"]) == (200, 855)


async def test_codes(server: TDengine) -> None:
    assert await code(server, TABLE) == 9750
    assert await code(server, TABLE, "") == 9750
    await prepared(server)
    assert await code(server, "SELECT max(a) FROM missing PARTITION BY dc") == 9731
    assert await code(server, ROWS.replace("USING t", "USING u")) == 9731


async def test_use_does_nothing(server: TDengine) -> None:
    await prepared(server)
    assert await code(server, "USE p", "") == 0
    assert await code(server, ROWS, "") == 9750


@pytest.mark.parametrize("name", ["conns", "user", "CONNS"])
async def test_some_names_are_refused(server: TDengine, name: str) -> None:
    await prepared(server)
    for statement in (
        TABLE.replace(" a ", f" {name} "),
        TABLE.replace("dc ", f"{name} "),
        TABLE.replace(" t ", f" {name} "),
    ):
        assert await code(server, statement) == 9728


@pytest.mark.parametrize("wrong", [
    "SELECT", "DELETE FROM t", ROWS + " x", ROWS.replace("2.5)", "2.5"), ROWS.replace(", 2.5", ""),
    ROWS.replace("'k'", "'k"), ROWS.replace("'k'", "'it's'"), ROWS.replace("'k'", "k"), ROWS.replace("2.5", "nan"),
    ROWS.replace("1, 2.5", "'1', 2.5"), ROWS.replace("VALUES", ""), ROWS + "; DROP DATABASE IF EXISTS p",
    TABLE.replace("TIMESTAMP", "DOUBLE"), TABLE.replace("DOUBLE) TAGS", "DOUBLE TAGS"), "INSERT INTO",
    "SELECT a FROM t", "SELECT avg(c) FROM t PARTITION BY dc", "SELECT kind FROM t PARTITION BY dc",
    "SELECT dc FROM t WHERE ts >= '2020' PARTITION BY dc", "SELECT dc FROM t WHERE who = 'x' PARTITION BY dc",
    "SELECT _wstart FROM t PARTITION BY dc", "SELECT dc FROM t PARTITION BY ts",
    "SELECT dc FROM t PARTITION BY dc INTERVAL(5)",
])  # fmt: skip
async def test_wrong_sql_is_refused_and_changes_nothing(server: TDengine, wrong: str) -> None:
    await prepared(server)
    before = {name: dict(rows) for name, rows in server.databases["p"].rows.items()}
    assert await code(server, wrong) in (9728, 9730, 9737)
    assert server.databases["p"].rows == before


async def test_a_text_that_is_too_long_is_refused(server: TDengine) -> None:
    await prepared(server)
    assert await code(server, ROWS.replace("'k'", "'123456789'")) == 9733


async def test_what_is_kept_spans_three_files_at_least(server: TDengine) -> None:
    assert await code(server, "CREATE DATABASE IF NOT EXISTS q KEEP 1d DURATION 9h PRECISION 'ms'", "") == 9729


async def test_the_same_time_in_one_subtable_overwrites(server: TDengine) -> None:
    await prepared(server)
    await said(server, "INSERT INTO t1 USING t TAGS ('fra', 'k') VALUES (1700000000123, 9, 9)")
    _, answer = await said(server, "SELECT count(*), max(a) FROM t PARTITION BY dc")
    assert answer["data"] == [[2, 9.0]]


async def test_the_driver_meets_the_traps_that_are_known_of_it(server: TDengine) -> None:
    """What the adapter's docstring says; in a thread, as there."""
    await prepared(server)

    def traps() -> None:
        known: dict[str, Any] = {"url": server.url, "user": USER, "password": PASSWORD, "database": "p"}
        aware = taosrest.connect(**known, timezone=UTC)
        asked = "SELECT dc, first(ts) FROM t PARTITION BY dc"
        assert aware.query(asked).data == [["fra", datetime(2023, 11, 14, 22, 13, 20, 123_000, UTC)]]
        assert taosrest.connect(**known).query(asked).data[0][1].tzinfo is None
        assert aware.cursor().execute(ROWS, ("ignored", 7)) == 2
        with pytest.raises(Error) as refused:
            aware.execute("SELECT ? FROM t PARTITION BY dc")
        assert refused.value.errno == 9728
        with pytest.raises(HTTPError):
            aware.execute("")
        assert not issubclass(HTTPError, Error)

    await asyncio.to_thread(traps)
