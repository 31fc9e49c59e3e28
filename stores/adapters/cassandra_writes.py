"""What a batch of rows writes, table by table, and where a conversation's index goes.

**A partition of a conversation's index never grows beyond CASSANDRA_PART_ROWS_MAX entries**, whatever is written and by
how many: a part belongs to the process that began it, is never continued by another, and is left when it is full. The
first part of a bucket (a day) that a process fills makes it go on by slices of 20 s of the same bucket, so a reader
finds the newest messages of a busy day without looking at all of it.

Each process keeps in memory only where it is. One that has forgotten (a restart, too many conversations) begins another
part: entries may then be in two parts, which readers merge.
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from core import limits
from core.messages import Row
from core.system import Entropy
from core.tables import canonical
from stores.adapters.cassandra_cql import (
    BUCKET_BITS,
    PREFIX_CHARS,
    SLICE_BITS,
    SPLIT,
    columns,
    hour_of,
    slot_of,
    stamp_of,
)
from stores.adapters.cassandra_session import Values, Write
from stores.adapters.message_rows import Encoded, without_text

COUNTER_BITS = 32
PLACED = ("send", "recall")
"""The kinds that a conversation's index holds."""


class Place(NamedTuple):
    """A partition of a conversation's index."""

    conversation: str
    bucket: int
    """A day, or (with the sign turned) a slice of one."""
    part: int


class _Part:
    """One that this process has begun."""

    __slots__ = ("left", "number", "rows")

    def __init__(self, number: int) -> None:
        self.number = number
        self.rows = 0
        self.left = False
        """Full, and its bucket goes on by slices."""


class Parts:
    """Where the next entry of a conversation goes. `begun` gets the directory's entries of what had to be begun."""

    def __init__(self, entropy: Entropy) -> None:
        self._life = int.from_bytes(entropy(4)) >> 1
        self._begun = 0
        self._open: OrderedDict[tuple[str, int, int], _Part] = OrderedDict()
        self._known: dict[str, OrderedDict[object, None]] = defaultdict(OrderedDict)
        self.begun: list[tuple[str, Values]] = []
        """(statement, values)."""

    def place(self, conversation: str, message: int) -> Place:
        """For one more entry."""
        bucket = message >> BUCKET_BITS
        part = self._part(conversation, bucket, bucket)
        if part is None:
            slice = message >> SLICE_BITS
            part = self._part(conversation, bucket, slice, sliced=True)
            assert part is not None
            return Place(conversation, ~slice, part)
        return Place(conversation, bucket, part)

    def slot(self, slot: int) -> None:
        """It gets rows."""
        hour = hour_of(slot)
        if self._is_new("slots", slot):
            self.begun.append(("slots", (hour, slot)))
        if self._is_new("hours", hour):
            self.begun.append(("hours", (hour,)))

    def conversation(self, conversation: str) -> None:
        """It has rows."""
        if self._is_new("conversations", conversation):
            prefix = conversation[:PREFIX_CHARS]
            self.begun.append(("conversations", (prefix, conversation)))
            if self._is_new("prefixes", prefix):
                self.begun.append(("prefixes", (prefix,)))

    def forget(self) -> None:
        """Of what was begun it is not known whether the directories have it."""
        self._open.clear()
        self._known.clear()
        self.begun.clear()

    def _part(self, conversation: str, bucket: int, at: int, *, sliced: bool = False) -> int | None:
        """Its number; None where the bucket goes on by slices."""
        key = (conversation, bucket, ~at if sliced else at)
        part = self._open.get(key)
        if part is None:
            part = self._open[key] = _Part(self._begin(conversation, bucket, at if sliced else None))
            while len(self._open) > limits.CASSANDRA_PARTS_OPEN_MAX:
                self._open.popitem(last=False)
        else:
            self._open.move_to_end(key)
        if part.left:
            return None
        if part.rows >= limits.CASSANDRA_PART_ROWS_MAX:
            if not sliced:
                part.left = True
                self.begun.append(("buckets", (conversation, bucket, SPLIT)))
                return None
            part.number, part.rows = self._begin(conversation, bucket, at), 0
        part.rows += 1
        return part.number

    def _begin(self, conversation: str, bucket: int, slice: int | None) -> int:
        number = self._life << COUNTER_BITS | self._begun
        self._begun += 1
        if slice is None:
            self.begun.append(("buckets", (conversation, bucket, number)))
            self.conversation(conversation)
        else:
            self.begun.append(("slices", (conversation, bucket, slice, number)))
        return number

    def _is_new(self, directory: str, entry: object) -> bool:
        """Whether a directory may lack it; then it is to be written."""
        known = self._known[directory]
        if entry in known:
            known.move_to_end(entry)
            return False
        known[entry] = None
        while len(known) > limits.CASSANDRA_PARTS_OPEN_MAX:
            known.popitem(last=False)
        return True


def writes_of(rows: Iterable[tuple[Row, Encoded]], parts: Parts) -> deque[Write]:
    """All that these rows write; the same again, at the same places, if the outcome is not known."""
    slots: dict[int, list[Values]] = defaultdict(list)
    places: dict[Place, list[Values]] = defaultdict(list)
    others: list[Write] = []
    for row, encoded in rows:
        stamp = stamp_of(row.event)
        slot = slot_of(row.event)
        text = columns(encoded)
        slots[slot].append((slot, row.event, *text, stamp))
        if row.kind == "send":
            others.append(Write("classes", [(row.class_, row.event, stamp)]))
        else:
            others.append(_about(row, text, stamp))
        if row.kind in PLACED:
            message = row.event if row.kind == "send" else row.message
            place = parts.place(row.conversation, message)
            head = canonical(without_text(row).body).decode()
            entry = (*place, row.kind, message, row.event, row.actor, row.class_, head, stamp)
            places[place].append(entry)
        else:
            parts.conversation(row.conversation)
    for slot in slots:
        parts.slot(slot)
    found = deque(Write(name, [values]) for name, values in parts.begun)
    parts.begun.clear()
    found.extend(others)
    for name, groups in (("message_rows", slots.values()), ("places", places.values())):
        found.extend(Write(name, some) for group in groups for some in _cut(group))
    return found


def _about(row: Row, text: tuple[str, ...], stamp: int) -> Write:
    conversation, _, kind, actor, class_, body = text
    if row.kind == "edit":  # its text is read from `message_rows`, and only the newest one's
        return Write("about_edit", [(row.message, row.event, conversation, kind, actor, class_, stamp)])
    return Write("about", [(row.message, row.event, conversation, kind, actor, class_, body, stamp)])


def _cut(rows: list[Values]) -> Iterator[list[Values]]:
    """Into what one call takes."""
    some: list[Values] = []
    size = 0
    for values in rows:
        more = sum(len(value) for value in values if isinstance(value, str))
        full = size + more > limits.CASSANDRA_BATCH_BYTES_MAX or len(some) >= limits.CASSANDRA_BATCH_ROWS_MAX
        if some and full:
            yield some
            some, size = [], 0
        some.append(values)
        size += more
    if some:
        yield some
