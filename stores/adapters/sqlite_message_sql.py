"""The message store's SQLite schema and queries.

The event id is the rowid, so rows are appended nearly in order. What finds a conversation's messages is the index
(bucket, conversation, message), and the bucket comes first so that new entries go into the few pages of today: with
the conversation first every insert would touch a page of its own.

bucket = message id >> 47: the upper bits of the id's time, in steps of 2^23 units of 10 ms, 23.3 hours. It is a
function of the *message's* id, so an edit or a recall written years later lies beside its message.
`conversation_buckets` says which buckets a conversation has rows in.

`kind = 'send'` is a literal throughout: SQLite does not use a partial index for a bound parameter.
"""

import sqlite3
from collections.abc import Iterable, Mapping

import msgspec

from core.messages import Row
from stores.adapters.cells import json_map
from stores.adapters.message_rows import decoded
from stores.adapters.sqlite_file import within
from stores.ports import Sent

VERSION = 1
BUCKET_BITS = 47

SCHEMA = (
    f"""CREATE TABLE IF NOT EXISTS rows (
        event INTEGER PRIMARY KEY,
        conversation TEXT NOT NULL,
        message INTEGER NOT NULL,
        kind TEXT NOT NULL,
        actor TEXT NOT NULL,
        class_ INTEGER NOT NULL,
        body TEXT NOT NULL,
        bucket INTEGER NOT NULL GENERATED ALWAYS AS (message >> {BUCKET_BITS}) VIRTUAL
    )""",
    "CREATE INDEX IF NOT EXISTS rows_by_place ON rows (bucket, conversation, message)",
    "CREATE INDEX IF NOT EXISTS sends_by_class ON rows (class_) WHERE kind = 'send'",
    # What is about a message whose conversation the reader does not know, e.g. a recall that came before it.
    "CREATE INDEX IF NOT EXISTS others_by_message ON rows (message) WHERE kind <> 'send'",
    """CREATE TABLE IF NOT EXISTS conversation_buckets (
        conversation TEXT NOT NULL, bucket INTEGER NOT NULL, PRIMARY KEY (conversation, bucket)
    ) WITHOUT ROWID""",
)

FIELDS = "event, conversation, message, kind, actor, class_, body"
FIELDS_BUT_TEXT = "event, conversation, message, kind, actor, class_, json_remove(body, '$.text', '$.content')"


def _merged() -> str:
    """The insert law for a row that is there already: equal, but for a fault. The body is canonical text already."""
    order = {name: f"canonical({{0}}.{name})" for name in ("conversation", "message", "kind", "actor", "class_")}
    order["body"] = "CAST({0}.body AS BLOB)"
    sets = [
        f"{name} = CASE WHEN {by.format('excluded')} > {by.format('rows')} THEN excluded.{name} ELSE rows.{name} END"
        for name, by in order.items()
    ]
    differs = " OR ".join(f"excluded.{name} <> rows.{name}" for name in order)
    return f"{', '.join(sets)} WHERE {differs}"


INSERT = f"INSERT INTO rows ({FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event) DO UPDATE SET {_merged()}"
INSERT_BUCKET = "INSERT OR IGNORE INTO conversation_buckets (conversation, bucket) VALUES (?, ?)"

BUCKETS = "SELECT bucket FROM conversation_buckets WHERE conversation = ? AND bucket BETWEEN ? AND ? ORDER BY bucket"
LAST_BUCKETS = """SELECT conversation, max(bucket) FROM conversation_buckets WHERE conversation > ?
    GROUP BY conversation ORDER BY conversation LIMIT ?"""


def _messages(newest_first: bool, known: str = "") -> str:
    return f"""SELECT event FROM rows AS this
    WHERE bucket = ?1 AND conversation = ?2 AND message BETWEEN ?3 AND ?4 {known} AND kind = 'send'
    AND NOT EXISTS (
        SELECT 1 FROM rows AS other
        WHERE other.kind = 'send' AND other.class_ = this.class_ AND other.event < this.event
    ) ORDER BY message {"DESC" if newest_first else ""} LIMIT ?5"""


MESSAGES = {newest_first: _messages(newest_first) for newest_first in (True, False)}
# The id alone, which is in the index, says whether it was known: of the others no row is looked at.
MESSAGES_KNOWN = {newest_first: _messages(newest_first, f"AND {within('message', '?6')}") for newest_first in MESSAGES}
TOP = """SELECT message FROM rows WHERE bucket = ? AND conversation = ? AND kind = 'send'
    ORDER BY message DESC LIMIT 1"""
RECALLS = f"""SELECT {FIELDS_BUT_TEXT} FROM rows
    WHERE bucket = ? AND conversation = ? AND message BETWEEN ? AND ? AND kind = 'recall'"""
SENT_SINCE = """SELECT event, conversation, actor, json_extract(body, '$.key') AS key,
    json_extract(body, '$.fingerprint') FROM rows WHERE event > ? AND kind = 'send' AND key <> ''
    ORDER BY event LIMIT ?"""
PAGE = f"SELECT {FIELDS} FROM rows WHERE event > ? ORDER BY event LIMIT ?"


def _about(others: str, fields: str = FIELDS, known: str = "") -> str:
    """Rows about the ids ?1 (a JSON list) and about all ids of their classes and of the classes ?2. Of edits only the
    newest of a message with its body: the others' texts, many pages of the file, are not touched."""
    return f"""WITH asked (id) AS (SELECT value FROM json_each(?1)),
        class (id) AS (
            SELECT class_ FROM asked JOIN rows ON rows.event = asked.id WHERE kind = 'send'
            UNION SELECT value FROM json_each(?2)
        ),
        ids (id) AS MATERIALIZED (
            SELECT id FROM asked
            UNION SELECT event FROM class CROSS JOIN rows ON rows.class_ = class.id WHERE kind = 'send'
        ),
        newest (event) AS MATERIALIZED (
            SELECT max(rows.event) FROM ids CROSS JOIN rows ON rows.message = ids.id
            WHERE kind <> 'send' AND kind = 'edit' {known} GROUP BY rows.message
        )
    SELECT {fields} FROM ids CROSS JOIN rows ON rows.event = ids.id WHERE kind = 'send'
    UNION ALL
    SELECT {FIELDS[: -len("body")]}
        CASE WHEN kind = 'edit' AND event NOT IN (SELECT event FROM newest) THEN '{{}}' ELSE body END
        FROM ids CROSS JOIN rows ON rows.message = ids.id WHERE kind <> 'send' {others}"""


ABOUT = _about("")
_KNOWN = within("rows.event", "?3")
ABOUT_KNOWN = _about(f"AND (kind = 'recall' OR {_KNOWN})", known=f"AND {_KNOWN}")
RECENT = _about("AND kind = 'recall'", FIELDS_BUT_TEXT)


def json_list(numbers: Iterable[int]) -> str:
    """For json_each: one parameter, whatever the length, so that the statement stays prepared."""
    return msgspec.json.encode(list(numbers)).decode()


def about(
    connection: sqlite3.Connection,
    sql: str,
    messages: Iterable[int],
    classes: Iterable[int] = (),
    known: Mapping[int, int] | None = None,
) -> list[Row]:
    """ABOUT or RECENT of these ids and classes, in no order; with `known` ABOUT, as in `MessageStore.rows_of`."""
    asked: tuple[str, ...] = (json_list(messages), json_list(classes))
    if known is not None:
        sql, asked = ABOUT_KNOWN, (*asked, json_map(known))
    return [decoded(values) for values in connection.execute(sql, asked)]


def buckets(connection: sqlite3.Connection, conversation: str, low: int, high: int) -> list[int]:
    """The buckets, ascending, in which a conversation has rows about messages with ids in [low, high]."""
    found = connection.execute(BUCKETS, (conversation, low >> BUCKET_BITS, high >> BUCKET_BITS))
    return [bucket for (bucket,) in found]


def page(
    connection: sqlite3.Connection,
    conversation: str,
    low: int,
    high: int,
    newest_first: bool,
    limit: int,
    known: Mapping[int, int] | None = None,
) -> list[int]:
    """The first `limit` canonical ids of a conversation in [low, high], from the one end or the other."""
    places = buckets(connection, conversation, low, high)
    sql = (MESSAGES if known is None else MESSAGES_KNOWN)[newest_first]
    more = () if known is None else (json_map(known),)
    found: list[int] = []
    for bucket in reversed(places) if newest_first else places:
        if len(found) >= limit:
            break
        rows = connection.execute(sql, (bucket, conversation, low, high, limit - len(found), *more))
        found.extend(event for (event,) in rows)
    return found


def recent(connection: sqlite3.Connection, conversation: str, limit: int, high: int) -> list[Row]:
    """The sends and recalls of the newest `limit` messages up to `high`, and every recall of a message that is not here
    but would be among them: it may still come, and is not to be counted then."""
    newest = page(connection, conversation, 0, high, True, limit)
    low = newest[-1] if len(newest) >= limit and newest else 0
    rows = {found.event: found for found in about(connection, RECENT, newest)}
    for bucket in buckets(connection, conversation, low, high):
        for values in connection.execute(RECALLS, (bucket, conversation, low, high)):
            rows[values[0]] = decoded(values)
    return [rows[event] for event in sorted(rows)]


def tops(connection: sqlite3.Connection, after: str, limit: int) -> list[tuple[str, int]]:
    """Per conversation the greatest id of a send. Mostly in its last bucket; but a recall that came before its
    message may be alone there."""
    found: list[tuple[str, int]] = []
    for conversation, last in connection.execute(LAST_BUCKETS, (after, limit)).fetchall():
        top = connection.execute(TOP, (last, conversation)).fetchone()
        if top is None:
            earlier = buckets(connection, conversation, 0, (last << BUCKET_BITS) - 1)
            tried = (connection.execute(TOP, (bucket, conversation)).fetchone() for bucket in reversed(earlier))
            top = next((found for found in tried if found is not None), None)
        found.append((conversation, top[0] if top is not None else 0))
    return found


def sent_since(connection: sqlite3.Connection, id: int, limit: int) -> list[Sent]:
    """Their texts stay in the file."""
    rows = connection.execute(SENT_SINCE, (id, limit))
    return [Sent._make((*start, bytes.fromhex(fingerprint))) for *start, fingerprint in rows]
