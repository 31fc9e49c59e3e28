"""The store ports. Their contract suites are in tests/contract/; every adapter passes them.

Common promises: a write is repeatable (the same batch again changes nothing) and raises StoreUnavailable when the
outcome is not certain; a frontier is written with or after what it covers.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from core.messages import Row
from core.tables import Effect


class Mark(NamedTuple):
    """How far one lane has come in one store: everything at or below is in it."""

    seq: int
    id: int


Frontier = dict[int, Mark]


class Stamped(NamedTuple):
    """An effect with its stamp."""

    stamp: int
    effect: Effect


class Result(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What (actor, key) led to; kept in every DC so that a retry gets the same answer."""

    actor: str
    key: str
    event: int
    action: str
    fingerprint: bytes
    answer: dict[str, Any]


class Parked(NamedTuple):
    """An event that could not be applied, in its place."""

    lane: int
    seq: int
    id: int
    reason: str


class RelationalBatch(NamedTuple):
    """One transaction. `frontier` only moves forward."""

    effects: Sequence[Stamped]
    results: Sequence[Result]
    parked: Sequence[Parked]
    unparked: Sequence[tuple[int, int]]
    frontier: Frontier


class Scan(NamedTuple):
    """What part of the rows that a `where` names, and in which order."""

    by: str
    """They come in the order of this, then of their keys."""
    limit: int
    beyond: Any = None
    """Only those with `by` > this."""
    below: Any = None
    """Only those with `by` < this."""
    newest_first: bool = False
    """In the opposite order."""
    known: Mapping[int, int] | None = None
    """`by` is an id: only those at or below known[their lane]."""


class RelationalStore(Protocol):
    """The tables of core.tables.TABLES, and local ones (results, parked, overwrites, meta)."""

    async def apply(self, batch: RelationalBatch) -> None:
        """Merges the effects by the law of each column, in one transaction with everything else. Guarded: a stamp
        that is not greater never overwrites. Also keeps one row per lww write (table, key, column, stamp, basis,
        value) from which conflicts are computed; tables keyed by lane need none, a register there has one writer.
        Takes losers too: only with all writes are conflicts the same in every DC. Raises Undecodable, having changed
        nothing, for an effect that this version can not store."""
        ...

    async def frontier(self) -> Frontier: ...

    async def rows(self, table: str, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All rows of a table whose key parts or `by` columns equal `where`, with `<column>_at` for lww columns.
        `where` names the first key part or a `by` column (indexed), and may narrow further."""
        ...

    async def some(
        self, table: str, where: Mapping[str, Any], part: str, values: Collection[Any]
    ) -> list[dict[str, Any]]:
        """As `rows`, those whose key part `part` is one of `values`; `where` names exactly the key parts before it.
        Costs what it finds."""
        ...

    async def page(self, table: str, where: Mapping[str, Any], scan: Scan) -> list[dict[str, Any]]:
        """Up to `scan.limit` of the rows that `rows` would give for `where`, in an order that is kept as an index:
        `where` and `scan.by` are one of the table's `pages`, or the first parts of its key; or `where` is empty and
        `scan.by` one of its `by`."""
        ...

    async def pages(self, table: str, wheres: Sequence[Mapping[str, Any]], scan: Scan) -> list[list[dict[str, Any]]]:
        """What `page(table, where, scan)` would give for each of these, at most PAGE_MAX, which name the same: in one
        query."""
        ...

    async def result(self, actor: str, key: str) -> Result | None:
        """That of the smallest event, for RESULT_KEPT_S after it."""
        ...

    async def results(self, since_id: int, limit: int) -> list[Result]:
        """The first `limit` results of events with id > `since_id`, ascending, for rebuilding the hot store."""
        ...

    async def parked(self) -> list[Parked]: ...

    async def conflicts(self, since_id: int = 0) -> list[dict[str, Any]]:
        """The lww writes with stamps >= `since_id` that are not on their winner's chain of bases: {table, key,
        column, stamp, value, winner_stamp, winner_value}. The same in every DC at equal frontiers, whatever each has
        collected before `since_id`."""
        ...

    async def collect(self, through: Mapping[int, int], before_id: int, limit: int) -> int:
        """Forgets writes that are kept for `conflicts`, oldest stamp first, through the last one of the next `limit`
        that is < `before_id` and <= `through`[its lane], stopping at the first that is not; how many. Repeatable."""
        ...

    async def meta(self, name: str) -> str | None: ...
    async def set_meta(self, name: str, value: str) -> None:
        """Small local facts (epoch, incarnation); durable when it returns, with all that was written before."""
        ...

    def dump(self, table: str) -> AsyncIterator[list[dict[str, Any]]]:
        """All rows of a replicated table, or of "overwrites" (from which `conflicts` are computed), in key order, in
        pages of CHUNK_ROWS_MAX, each page a consistent read; writes go on between pages."""
        ...

    async def load(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Merges dumped rows in (restore)."""
        ...

    async def set_frontier(self, frontier: Frontier) -> None:
        """Restore only: begins at a snapshot's F0."""
        ...

    async def close(self) -> None: ...


class Sent(NamedTuple):
    """What is known of a message's sending but its text."""

    event: int
    conversation: str
    actor: str
    key: str
    fingerprint: bytes


class MessageStore(Protocol):
    """core.messages rows, by conversation and message id; a class is of one conversation. Written behind; reads see
    what was put."""

    def put(self, rows: Sequence[Row], frontier: Frontier) -> None:
        """Queues rows and the frontier that they complete; they are durable within MESSAGE_LINGER_MS. Bounded:
        `apply` awaits `ready` first."""
        ...

    async def ready(self) -> None:
        """Waits while too much is queued; raises StoreUnavailable if writing fails."""
        ...

    async def written(self) -> None:
        """Returns when everything put before can be read by other processes too."""
        ...

    async def flush(self) -> None:
        """Returns when everything put before is durable."""
        ...

    async def frontier(self) -> Frontier:
        """The durable frontier."""
        ...

    async def page(
        self,
        conversation: str,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int,
        known: Mapping[int, int] | None = None,
    ) -> list[int]:
        """The canonical ids of up to `limit` messages of a conversation: those < before, the newest first, or those >
        after, the oldest first. With `known` (lane -> id) only those at or below known[their lane]. No body is read."""
        ...

    async def rows_of(self, messages: Iterable[int], known: Mapping[int, int] | None = None) -> list[Row]:
        """The rows about these message ids and about the other ids of their classes, ascending by event. An edit that
        another one of the same message replaces comes without its body ({}): a text that nobody is shown is not read.
        With `known` (lane -> id) edits and reactions beyond known[their lane] are left out, as if they never came."""
        ...

    async def tops(self, after: str, limit: int) -> list[tuple[str, int]]:
        """The first `limit` conversations that come after `after`, in the order of their names, each with its greatest
        message id (0 where there is no message yet)."""
        ...

    async def recent(self, conversation: str, limit: int, before: int | None = None) -> list[Row]:
        """The "send" and "recall" rows of the newest `limit` messages (with id < before), without their texts."""
        ...

    async def sent_since(self, id: int, limit: int) -> list[Sent]:
        """The first `limit` messages with id > `id` that were sent under a key, ascending, for their results after a
        loss of the hot store."""
        ...

    def dump(self) -> AsyncIterator[list[Row]]: ...
    async def load(self, rows: Sequence[Row]) -> None: ...
    async def set_frontier(self, frontier: Frontier) -> None: ...
    async def close(self) -> None: ...


class Change(NamedTuple):
    """One lww column's write, for the CRDT metadata."""

    table: str
    key: str
    """Canonical text of the key."""
    column: str
    stamp: int


class Feed(msgspec.Struct, frozen=True, gc=False):
    """One update for one user's (or supergroup's) list. `entry` is what `updates` gives back."""

    owner: str
    """A user id, or a supergroup's chat id."""
    event: int
    entry: bytes
    conversation: str = ""
    """Of the update of a "send": the message's, whose id is the event's. It is what `seen` looks for, and raises the
    owner's top there."""


class Recent(msgspec.Struct, frozen=True, gc=False):
    """A message for the window over which unread counts are computed."""

    conversation: str
    message: int
    sender: str
    class_: int
    counts: bool
    """False for system messages: never unread."""


class HotBatch(NamedTuple):
    """One atomic call (single server): all of it with the frontier, or nothing."""

    epoch: int
    moves: Mapping[int, tuple[int, Mark]]
    """lane -> (seq this batch begins after, where it ends)."""
    feeds: Sequence[Feed] = ()
    back_feeds: Sequence[Feed] = ()
    """As feeds, but skipped where the owner's list already holds the event. An event's several updates come in one
    batch. What was fed by `feeds` before stands in the order of its lane, up to what is back-fed now."""
    tops: Sequence[tuple[str, str, int]] = ()
    """(user, conversation, id): dialog index, max. Of what is fed as the update of a "send", none is needed."""
    channel_tops: Sequence[tuple[str, int]] = ()
    """(supergroup, message id): max."""
    recents: Sequence[Recent] = ()
    recalls: Sequence[tuple[str, int]] = ()
    """(conversation, message id): the id's class no longer counts as unread, also if the message comes later."""
    hides: Sequence[tuple[str, str, int]] = ()
    """(user, conversation, message id)."""
    marks: Sequence[tuple[str, str, int, int]] = ()
    """(user, conversation, lane, id): read mark, max per lane."""
    results: Sequence[Result] = ()
    window_floors: Sequence[tuple[str, int, int]] = ()
    """(conversation, lane, id): a rebuild's word on the greatest id below the recents it hands in; for `more`."""


class Stale(Exception):
    """The hot store's frontier is not where this batch begins: `frontier` says where it is."""

    def __init__(self, frontier: Frontier) -> None:
        super().__init__("hot frontier differs")
        self.frontier = frontier


class EpochLost(Exception):
    """The hot store does not carry the expected epoch (restarted, flushed, failed over): rebuild it."""


class Updates(NamedTuple):
    """A stretch of one owner's updates: entry i has pts `first + i`."""

    first: int
    entries: list[bytes]
    pts: int
    """The owner's newest pts at the moment of reading."""


class Unread(NamedTuple):
    number: int
    more: bool
    """Something below the window lies beyond the mark as well."""


class HotStore(Protocol):
    """Hot state. Nothing is only here, save updates; everything can be rebuilt."""

    async def begin(self, epoch: int) -> None:
        """Empties this DC's hot state and starts `epoch` with an empty frontier; invisible (EpochLost) until
        `publish_epoch`."""
        ...

    async def publish_epoch(self, epoch: int, frontier: Frontier, trimmed: Mapping[int, int]) -> None:
        """Ends a rebuild: sets the frontier and what every list counts as trimmed at least (lane -> id)."""
        ...

    async def epoch(self) -> int | None:
        """The published epoch, None where there is none."""
        ...

    async def frontier(self) -> Frontier: ...

    async def decide(self, changes: Sequence[Change]) -> list[bool]:
        """Records the stamps and says which changes lost: those strictly older than what is known. Metadata may be
        forgotten at any time; a store's own guard decides in the end."""
        ...

    async def apply(self, batch: HotBatch) -> dict[str, int]:
        """All of the batch atomically; owner -> newest pts, for the owners that were fed. Raises Stale, EpochLost."""
        ...

    async def updates(self, owner: str, after: int, limit: int) -> Updates:
        """Entries with pts > `after`, oldest first."""
        ...

    async def trimmed(self, owner: str) -> dict[int, int]:
        """lane -> greatest event id that was trimmed from this owner's list (including the rebuild's floor)."""
        ...

    async def pts(self, owners: Sequence[str]) -> list[int]: ...

    async def dialogs(
        self, user: str, channels: Sequence[str], pinned: Sequence[str], after: tuple[int, str] | None, limit: int
    ) -> list[tuple[str, int]]:
        """(conversation, top message id), newest top first (ties by conversation), without `pinned`, with `channels`
        (my supergroups, by their top) merged in; continues after the given (top, conversation)."""
        ...

    async def tops(self, user: str, conversations: Sequence[str]) -> list[int]:
        """Their tops, 0 where there is none."""
        ...

    async def unread(self, user: str, asked: Sequence[tuple[str, int]]) -> list[Unread]:
        """For (conversation, joined_at): messages beyond the read mark of their lane, after joined_at, not mine, not
        recalled, not system, not hidden, each class once and read if any of its ids is."""
        ...

    async def seen(self, owner: str, conversation: str, message: int, pts: int) -> dict[int, int]:
        """Per lane the greatest message id <= `message` of this conversation among the owner's updates up to `pts`;
        what was trimmed counts as delivered."""
        ...

    async def result(self, actor: str, key: str) -> Result | None:
        """That of the smallest event. Kept RESULT_KEPT_S; of one actor, those of the last RESULTS_OF_USER_MAX keys that
        came, or RESULTS_OF_SYSTEM_MAX, and a few more until they are forgotten, see LIST_TRIM_SHARE."""
        ...

    async def results_of(self, asked: Sequence[tuple[str, str]]) -> list[Result | None]:
        """`result` of each (actor, key), asked for together."""
        ...

    async def announce(self, frame: bytes) -> None:
        """Tells the brokers of this DC. May be lost."""
        ...

    def listen(self) -> AsyncIterator[bytes]:
        """Everything announced while listening; one connection per process. Reconnects by itself; an empty frame says
        that it had to, so something may have been missed."""
        ...

    async def present(self, user: str, connection: str, ttl_s: int) -> None:
        """A lease: this connection keeps `user` online; ttl 0 gives it up."""
        ...

    async def online(self, users: Sequence[str]) -> list[bool]: ...

    async def close(self) -> None: ...


class ObjectStore(Protocol):
    """Objects by key ("a/b/c"). Whole-object reads and writes; a write is atomic and durable when it returns.

    A key is 1 to 512 characters: parts of [A-Za-z0-9._-] that do not begin with a dot, joined by "/"; Invalid
    otherwise. No key is to be a folder of another: a store with folders refuses it (Invalid, or False from `put_new`),
    one without keeps the two apart. An object has at most OBJECT_BYTES_MAX: TooLarge for a write, and one that is
    there all the same is Corrupt.
    StoreUnavailable names the key; after it a write may or may not be there. Overloaded: too many calls wait.
    """

    async def put(self, key: str, data: bytes) -> None:
        """Writes or replaces. Repeatable."""
        ...

    async def put_new(self, key: str, data: bytes) -> bool:
        """False, and nothing written, if the key exists (conditional put)."""
        ...

    async def get(self, key: str) -> bytes:
        """NotFound if there is none."""
        ...

    async def exists(self, key: str) -> bool: ...
    def list(self, prefix: str) -> AsyncIterator[str]:
        """Keys with this prefix (any string), in the order of their characters. Writes meanwhile may show or not."""
        ...

    async def delete(self, key: str) -> None:
        """Repeatable: no error if there is none."""
        ...
