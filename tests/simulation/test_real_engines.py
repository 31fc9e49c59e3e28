"""A few histories on Valkey and SQLite; `make prove` takes many. In a process of their own, as the others are."""

import json
import os
import subprocess
import sys

import pytest

from core.tables import TABLES
from events.adapters import valkey as valkey_log
from stores.adapters import hot_library, sql_statements, sql_tables
from stores.adapters.sqlite_dialect import SQLITE
from tests.simulation.engine_bugs import BUGS, EngineBug, statements

pytestmark = [pytest.mark.simulation, pytest.mark.integration]

SEEDS = 2
QUICK = ("hot: the last message is the top", "log: an end stays where it was", "SQL: the older stamp wins")
"""Noticed in the first history; the others are left to `make prove`."""


def replay(*args: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation.real_engines", *args],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )


@pytest.mark.timeout(300)
def test_every_answer_is_the_one_that_was_judged_in_memory() -> None:
    done = replay("--seeds", str(SEEDS), "--json", timeout_s=280)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])["counts"]
    assert counts["histories"] == SEEDS
    assert counts["answers compared"] > 100 * SEEDS
    assert any(name.startswith("struck: ") for name in counts)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", QUICK)
def test_a_bug_in_lua_or_sql_is_noticed(name: str) -> None:
    done = replay("--plant", name, timeout_s=280)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_fits_the_engines(bug: EngineBug) -> None:
    upserts = "".join(
        sql_statements.upsert(SQLITE, name, tuple(table.columns))
        for name, table in TABLES.items()
        if name in sql_tables.REPLICATED
    )
    texts = {"hot": hot_library.source(), "log": valkey_log._source(), "upsert": upserts}
    text = texts.get(bug.where) or str(statements(bug.where))
    assert bug.old in text
