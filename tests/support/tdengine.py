"""A double of TDengine's REST endpoint, as docs/servers.md has it: no registry has a server to run.

It takes the SQL that we say and refuses all else, as a server would refuse what is wrong: unknown names, names that
are reserved, a row of the wrong length, a word out of place. The suite that runs against it runs against a real
server where PLANB_TEST_TDENGINE_URL names one; tests/contract/test_tdengine_double.py holds it against what is known.
"""

import asyncio
import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

USER, PASSWORD = "planb", "secr'et"

# Two of them are known to be refused (docs/servers.md); the others are words of its SQL, and not to be risked.
RESERVED = frozenset(
    re.findall(
        r"\w+",
        """
    account accounts add after all alter analyze and apps as asc balance before between binary bool by cache
    cluster connection connections conns consumer consumers create database databases dbs delete desc describe
    distinct dnode dnodes double drop duration exists explain false fill float from function functions
    grant grants group having if import in index indexes inner insert int integer interval into is join keep kill
    licences like limit local match meters mnode mnodes nchar nmatch not now null offset on or order
    partition pass port ports precision prev privilege qnode qnodes queries query read replica reset revoke select
    session show slimit sliding smallint smaopts snode snodes soffset stable stables state state_window stream
    streams subscriptions table tables tag tags tbname timestamp tinyint to topic topics transaction transactions
    trigger true unsigned update use user users using value values varchar variable variables vgroup vgroups view
    views vnode vnodes where window write
    """,
    )
)

TOKEN = re.compile(
    r"""\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<length>\d+[adh](?![A-Za-z0-9_]))
    |(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![A-Za-z0-9_]))|(?P<text>'(?:[^'\\]|\\.)*')|(?P<sign>>=|<=|[(),=<>*.]))""",
    re.VERBOSE,
)
UNIT_MS = {"a": 1, "h": 3_600_000, "d": 86_400_000}
Row = list[Any]


class Refused(Exception):
    def __init__(self, code: int, desc: str) -> None:
        super().__init__(desc)
        self.code = code
        self.desc = desc


def syntax(near: str) -> Refused:
    return Refused(9728, f"syntax error near {near!r}")


@dataclass
class SuperTable:
    columns: list[str]
    tags: dict[str, int]
    """name -> bytes"""


@dataclass
class Database:
    kept_days: int
    super_tables: dict[str, SuperTable] = field(default_factory=dict)
    subtables: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """name -> (super table, tags)"""
    rows: dict[str, dict[int, Row]] = field(default_factory=dict)
    """subtable -> ts -> values: the same ts overwrites"""


class Words:
    """A statement, read from left to right."""

    def __init__(self, statement: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while statement[at:].strip():
            found = TOKEN.match(statement, at)
            if found is None:
                raise syntax(statement[at : at + 20])
            self._tokens.append((str(found.lastgroup), found[0].strip()))
            at = found.end()
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._tokens)

    def peek(self) -> str:
        return self._tokens[self._at][1] if self else ""

    def take(self, kind: str) -> str:
        found, value = self._tokens[self._at] if self else ("", "")
        if found != kind:
            raise syntax(value or "the end")
        self._at += 1
        return value

    def expect(self, *words: str) -> None:
        for word in words:
            if self.peek().upper() != word:
                raise syntax(self.peek() or "the end")
            self._at += 1

    def has(self, word: str) -> bool:
        if self.peek().upper() != word:
            return False
        self._at += 1
        return True

    def name(self) -> str:
        name = self.take("word").lower()  # names are not told apart by case
        if name in RESERVED or len(name) > 192:
            raise syntax(name)
        return name

    def text(self) -> str:
        return re.sub(r"\\(.)", r"\1", self.take("text")[1:-1])

    def integer(self) -> int:
        value = self.take("number")
        if not value.isdecimal():
            raise syntax(value)
        return int(value)

    def listed(self) -> Iterator[None]:
        """Once for each part of `( … , … )`."""
        self.expect("(")
        while True:
            yield
            if not self.has(","):
                break
        self.expect(")")

    def end(self) -> None:
        if self:
            raise syntax(self.peek())


class TDengine:
    """Listens on a port of its own. Behave badly: `refuse_with`, `status`, `body`, `hang`, `close`."""

    def __init__(self) -> None:
        self.databases: dict[str, Database] = {}
        self.statements: list[str] = []
        self.refuse_with: Refused | None = None
        """Every statement is answered so."""
        self.status = 200
        """Another one: answered with it, without a body."""
        self.body: bytes | None = None
        """Every statement is answered with it."""
        self.hang = False
        """Takes statements and answers none."""
        self.let_go = asyncio.Event()
        self.password = PASSWORD
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Again on the same port after `close`."""
        app = web.Application(client_max_size=1 << 20)  # maxSQLLength
        app.router.add_post("/rest/sql", self._handle)
        app.router.add_post("/rest/sql/{database}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def close(self) -> None:
        self.let_go.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.Response:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return web.json_response({"code": 1, "desc": "no auth"}, status=401)
        statement = (await request.read()).decode()
        if not statement:
            return web.json_response({"code": 65535, "desc": "empty sql"}, status=400)
        self.statements.append(statement)
        if self.hang:
            await self.let_go.wait()
        if self.status != 200:
            return web.Response(status=self.status)
        if self.body is not None:
            return web.Response(body=self.body, content_type="application/json")
        try:
            if base64.b64decode(given).decode() != f"{USER}:{self.password}":
                raise Refused(855, "Authentication failure")
            if self.refuse_with:
                raise self.refuse_with
            return web.json_response({"code": 0, **self._run(statement, request.match_info.get("database"))})
        except Refused as refused:
            return web.json_response({"code": refused.code, "desc": refused.desc})

    def _run(self, statement: str, database: str | None) -> dict[str, Any]:
        words = Words(statement)
        first = words.take("word").upper()
        if first == "USE":  # it does nothing: the next statement has its database in its own URL, or none
            words.name(), words.end()
            return _affected(0)
        if first == "CREATE" and words.has("DATABASE"):
            return self._create_database(words)
        if first == "DROP":
            words.expect("DATABASE", "IF", "EXISTS")
            self.databases.pop(words.name(), None)
            words.end()
            return _affected(0)
        if database is not None and database.lower() not in self.databases:
            raise Refused(9750, "Database not exist")
        if database is None:
            raise Refused(9750, "Database not specified")
        held = self.databases[database.lower()]
        if first == "CREATE":
            return _create_super_table(words, held)
        if first == "INSERT":
            return _insert(words, held)
        if first == "SELECT":
            return _select(words, held)
        raise syntax(first)

    def _create_database(self, words: Words) -> dict[str, Any]:
        words.expect("IF", "NOT", "EXISTS")
        name = words.name()
        words.expect("KEEP")
        keep = words.take("length")
        words.expect("DURATION")
        duration = words.take("length")
        words.expect("PRECISION")
        if words.text() != "ms" or keep[-1] != "d":
            raise syntax(keep)
        words.end()
        if 3 * _length_ms(duration) > _length_ms(keep):
            raise Refused(9729, "Invalid duration value: keep must be 3 times of it at least")
        self.databases.setdefault(name, Database(int(keep[:-1])))
        return _affected(0)


def _length_ms(text: str) -> int:
    return int(text[:-1]) * UNIT_MS[text[-1]]


def _affected(count: int) -> dict[str, Any]:
    return {"column_meta": [["affected_rows", "INT", 4]], "data": [[count]], "rows": 1}


def _create_super_table(words: Words, held: Database) -> dict[str, Any]:
    words.expect("STABLE", "IF", "NOT", "EXISTS")
    name = words.name()
    columns: list[str] = []
    for _ in words.listed():
        columns.append(words.name())
        words.expect("DOUBLE" if columns[1:] else "TIMESTAMP")
    words.expect("TAGS")
    tags: dict[str, int] = {}
    for _ in words.listed():
        tag = words.name()
        words.expect("VARCHAR", "(")
        tags[tag] = words.integer()
        words.expect(")")
    words.end()
    if len({*columns, *tags}) != len(columns) + len(tags):
        raise Refused(9743, "Duplicated column names")
    held.super_tables.setdefault(name, SuperTable(columns[1:], tags))
    return _affected(0)


def _insert(words: Words, held: Database) -> dict[str, Any]:
    """Nothing of it counts before all of it was understood."""
    words.expect("INTO")
    fresh: list[tuple[str, str, tuple[str, ...], dict[int, Row]]] = []
    count = 0
    while words:
        subtable = words.name()
        words.expect("USING")
        name = words.name()
        table = held.super_tables.get(name)
        if table is None:
            raise Refused(9731, f"Table does not exist: {name}")
        words.expect("TAGS")
        tags = tuple(words.text() for _ in words.listed())
        if len(tags) != len(table.tags):
            raise Refused(9728, "Tags number not matched")
        if any(len(tag.encode()) > size for tag, size in zip(tags, table.tags.values(), strict=True)):
            raise Refused(9733, "Value too long for column/tag")
        words.expect("VALUES")
        rows: dict[int, Row] = {}
        while words.peek() == "(":
            ts, *values = [words.take("number") for _ in words.listed()]
            if len(values) != len(table.columns):
                raise syntax("illegal number of values")
            rows[int(ts)] = [*map(float, values)]
            count += 1
        if not rows:
            raise syntax("VALUES")
        fresh.append((subtable, name, tags, rows))
    if not fresh:
        raise syntax("the end")
    for subtable, name, tags, rows in fresh:
        of, _ = held.subtables.setdefault(subtable, (name, tags))
        if of != name:
            raise Refused(9731, f"Table does not exist: {subtable} in {name}")
        held.rows.setdefault(subtable, {}).update(rows)
    return _affected(count)


def _select(words: Words, held: Database) -> dict[str, Any]:
    asked: list[tuple[str, str]] = []  # (function, column), or ("", column)
    while True:
        word = words.take("word").lower()
        if words.has("("):
            asked.append((word, "*" if words.has("*") else words.name()))
            words.expect(")")
        else:
            asked.append(("", word))
        if not words.has(","):
            break
    words.expect("FROM")
    name = words.name()
    table = held.super_tables.get(name)
    if table is None:
        raise Refused(9731, f"Fail to get table info, error: Table does not exist: {name}")
    limits, of = _where(words, table)
    words.expect("PARTITION", "BY")
    parts = [words.name()]
    while words.has(","):
        parts.append(words.name())
    step_ms = 0
    if words.has("INTERVAL"):
        words.expect("(")
        step_ms = _length_ms(words.take("length"))
        words.expect(")")
    words.end()
    if not set(parts) <= table.tags.keys():
        raise Refused(9730, f"Invalid column name: {parts}")
    groups: dict[tuple[Any, ...], list[tuple[int, Row]]] = {}
    for subtable, (super_table, values) in held.subtables.items():
        tags = dict(zip(table.tags, values, strict=True)) if super_table == name else {}
        if tags and all(tags[tag] == value for tag, value in of.items()):
            for ts, row in held.rows[subtable].items():
                if all(_compare(ts, sign, bound) for sign, bound in limits):
                    key = (*(tags[part] for part in parts), ts // step_ms * step_ms if step_ms else 0)
                    groups.setdefault(key, []).append((ts, row))
    meta = [_meta(function, column, table, bool(step_ms), parts) for function, column in asked]
    data = [
        [_value(function, column, table, dict(zip(parts, key[:-1], strict=True)), key[-1], sorted(rows))
         for function, column in asked]
        for key, rows in groups.items()
    ]  # fmt: skip
    return {"column_meta": meta, "data": data, "rows": len(data)}


def _where(words: Words, table: SuperTable) -> tuple[list[tuple[str, int]], dict[str, str]]:
    """(bounds of ts, tags that are to be equal)."""
    limits: list[tuple[str, int]] = []
    of: dict[str, str] = {}
    if words.has("WHERE"):
        while True:
            column = words.name()
            sign = words.take("sign")
            if column == "ts" and sign in (">=", "<", ">", "<="):
                limits.append((sign, words.integer()))
            elif column in table.tags and sign == "=":
                of[column] = words.text()
            else:
                raise Refused(9730, f"Invalid column name: {column}")
            if not words.has("AND"):
                break
    return limits, of


def _compare(ts: int, sign: str, bound: int) -> bool:
    return {">=": ts >= bound, "<": ts < bound, ">": ts > bound, "<=": ts <= bound}[sign]


def _meta(function: str, column: str, table: SuperTable, windows: bool, parts: Sequence[str]) -> list[Any]:
    if function == "":
        if column == "_wstart" and windows:
            return ["_wstart", "TIMESTAMP", 8]
        if column in parts:
            return [column, "VARCHAR", table.tags[column]]
        raise Refused(9737, f"Not a single-group group function: {column}")
    shown = f"{function}({column})"
    if function == "count" and column == "*":
        return [shown, "BIGINT", 8]
    if function in ("first", "last") and column == "ts":
        return [shown, "TIMESTAMP", 8]
    if function in ("avg", "max") and column in table.columns:
        return [shown, "DOUBLE", 8]
    raise Refused(9730, f"Invalid column name: {shown}")


def _value(
    function: str, column: str, table: SuperTable, tags: dict[str, str], window: int, rows: Sequence[tuple[int, Row]]
) -> Any:
    if function == "":
        return _shown(window) if column == "_wstart" else tags[column]
    if function == "count":
        return len(rows)
    if column == "ts":
        return _shown(rows[0][0] if function == "first" else rows[-1][0])
    values = [row[table.columns.index(column)] for _, row in rows]
    return max(values) if function == "max" else sum(values) / len(values)


def _shown(ts: int) -> str:
    """As the REST interface tells times."""
    return datetime.fromtimestamp(ts / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
