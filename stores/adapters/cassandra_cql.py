"""The statements on Cassandra's tables (cassandra_0001_rows.cql), by name, and how rows are encoded in them.

Text columns of a row hold canonical JSON: of two rows that differ by a fault the database itself then keeps what the
insert law keeps, the greater encoding per column.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from core.ids import lane_of, time_ms_of
from core.messages import Row
from core.tables import canonical
from stores.adapters.message_rows import Encoded

SLOT_BITS = 32
"""Of an id's low bits: 2.56 s, at most 65,536 events of a lane."""
HOUR_BITS = 43
"""1.5 hours: 2,048 slots of each lane."""
BUCKET_BITS = 47
"""23.3 hours."""
SLICE_BITS = 35
"""20 s: what the rest of a busy bucket is cut into."""
PREFIX_CHARS = 5
"""Conversations are a letter and digits of a hash: 9,000 prefixes of each kind."""
SPLIT = -1
"""Instead of a part: the bucket has slices, too."""
DIRECTORY_STAMP = 1
"""A directory's entries are keys only; each time the same."""

_ROW = "conversation, message, kind, actor, class, body"

WRITES = {
    "message_rows": f"INSERT INTO message_rows (slot, event, {_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
    "about": """INSERT INTO about (message, event, conversation, kind, actor, class, body)
        VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?""",
    "about_edit": """INSERT INTO about (message, event, conversation, kind, actor, class)
        VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?""",
    "classes": "INSERT INTO classes (class, event) VALUES (?, ?) USING TIMESTAMP ?",
    "places": """INSERT INTO places (conversation, bucket, part, kind, message, event, actor, class, head)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?""",
    "slots": f"INSERT INTO slots (hour, slot) VALUES (?, ?) USING TIMESTAMP {DIRECTORY_STAMP}",
    "hours": f"INSERT INTO hours (one, hour) VALUES (0, ?) USING TIMESTAMP {DIRECTORY_STAMP}",
    "buckets": f"INSERT INTO buckets (conversation, bucket, part) VALUES (?, ?, ?) USING TIMESTAMP {DIRECTORY_STAMP}",
    "slices": f"""INSERT INTO slices (conversation, bucket, slice, part) VALUES (?, ?, ?, ?)
        USING TIMESTAMP {DIRECTORY_STAMP}""",
    "conversations": f"""INSERT INTO conversations (prefix, conversation) VALUES (?, ?)
        USING TIMESTAMP {DIRECTORY_STAMP}""",
    "prefixes": f"INSERT INTO prefixes (one, prefix) VALUES (0, ?) USING TIMESTAMP {DIRECTORY_STAMP}",
    # Of two the greater seq stays, whichever comes last.
    "frontiers": "INSERT INTO frontiers (generation, lane, seq, id) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
    "frontier_generations": f"""INSERT INTO frontier_generations (one, generation) VALUES (0, ?)
        USING TIMESTAMP {DIRECTORY_STAMP}""",
}

_PLACE = "WHERE conversation = ? AND bucket = ? AND part = ? AND kind = 'send' AND message >= ? AND message <= ?"
_OLDEST = "ORDER BY kind DESC, message ASC, event ASC"

READS = {
    "rows": f"SELECT event, {_ROW} FROM message_rows WHERE slot = ? AND event IN ?",
    "rows_after": f"SELECT event, {_ROW} FROM message_rows WHERE slot = ? AND event > ? LIMIT ?",
    "slots_after": "SELECT slot FROM slots WHERE hour = ? AND slot > ? LIMIT ?",
    "hours_after": "SELECT hour FROM hours WHERE one = 0 AND hour > ? LIMIT ?",
    "about_all": "SELECT message, event, conversation, kind, actor, class, body FROM about WHERE message IN ?",
    "copies": "SELECT class, event FROM classes WHERE class IN ?",
    "sends_newest": f"SELECT message, class FROM places {_PLACE} LIMIT ?",
    "sends_oldest": f"SELECT message, class FROM places {_PLACE} {_OLDEST} LIMIT ?",
    "heads_newest": f"SELECT message, class, actor, head FROM places {_PLACE} LIMIT ?",
    "recalls": """SELECT event, message, actor, class, head FROM places WHERE conversation = ? AND bucket = ?
        AND part = ? AND kind = 'recall' AND message >= ? AND message <= ?""",
    "buckets_newest": "SELECT bucket, part FROM buckets WHERE conversation = ? AND bucket <= ? AND bucket >= ? LIMIT ?",
    "buckets_oldest": """SELECT bucket, part FROM buckets WHERE conversation = ? AND bucket >= ? AND bucket <= ?
        ORDER BY bucket ASC, part ASC LIMIT ?""",
    "buckets_newest_rest": """SELECT bucket, part FROM buckets WHERE conversation = ? AND bucket = ? AND part < ?
        LIMIT ?""",
    "buckets_oldest_rest": """SELECT bucket, part FROM buckets WHERE conversation = ? AND bucket = ? AND part > ?
        ORDER BY bucket ASC, part ASC LIMIT ?""",
    "slices_newest": """SELECT slice, part FROM slices WHERE conversation = ? AND bucket = ?
        AND slice <= ? AND slice >= ? LIMIT ?""",
    "slices_oldest": """SELECT slice, part FROM slices WHERE conversation = ? AND bucket = ?
        AND slice >= ? AND slice <= ? ORDER BY slice ASC, part ASC LIMIT ?""",
    "slices_newest_rest": """SELECT slice, part FROM slices WHERE conversation = ? AND bucket = ? AND slice = ?
        AND part < ? LIMIT ?""",
    "slices_oldest_rest": """SELECT slice, part FROM slices WHERE conversation = ? AND bucket = ? AND slice = ?
        AND part > ? ORDER BY slice ASC, part ASC LIMIT ?""",
    "prefixes_from": "SELECT prefix FROM prefixes WHERE one = 0 AND prefix >= ? LIMIT ?",
    "conversations_after": "SELECT conversation FROM conversations WHERE prefix = ? AND conversation > ? LIMIT ?",
    "frontier": "SELECT lane, seq, id FROM frontiers WHERE generation = ?",
    "generation": "SELECT generation FROM frontier_generations WHERE one = 0 LIMIT 1",
}


def slot_of(event: int) -> int:
    """The partition of `message_rows` that an event's row is in. Slots are in the order of their time."""
    return event >> SLOT_BITS << 16 | lane_of(event)


def hour_of(slot: int) -> int:
    """The partition of `slots` that names a slot."""
    return slot >> (HOUR_BITS - SLOT_BITS + 16)


def stamp_of(event: int) -> int:
    """A row's write timestamp, in microseconds: that of its event, so that a row written again is the same."""
    return time_ms_of(event) * 1000


def columns(row: Encoded) -> tuple[str, str, str, str, str, str]:
    """conversation, message, kind, actor, class, body."""
    _, conversation, message, kind, actor, class_, body = row
    return (_text(conversation), str(message), _text(kind), _text(actor), str(class_), body)


def row(values: Sequence[Any]) -> Row:
    """event and `columns` -> a Row."""
    return Row(values[0], *map(msgspec.json.decode, values[1:]))


def row_about(values: Sequence[Any]) -> Row:
    """message, event, conversation, kind, actor, class and body of `about` -> a Row; an edit has no body there."""
    message, event, conversation, kind, actor, class_, body = values
    of = msgspec.json.decode
    return Row(event, of(conversation), message, of(kind), of(actor), of(class_), of(body or "{}"))


def _text(value: str) -> str:
    return canonical(value).decode()
