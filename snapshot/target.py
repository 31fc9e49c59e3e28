"""Whether a restore may go into a datacenter's stores: looked at first of all, also by a dry run."""

from collections.abc import AsyncIterator, Sequence

from core.errors import Conflict, StoreUnavailable
from core.tables import TABLES
from events.ports import EventLog
from snapshot.manifest import Manifest
from stores.ports import MessageStore, RelationalStore

TABLES_NAMED = 3
RESTORING = "restoring"
"""Meta: the snapshot whose restore has begun and not ended; "" or nothing otherwise."""


async def unfinished(relational: RelationalStore) -> str | None:
    """The snapshot whose restore did not end: with one, nothing of this DC may start."""
    return await relational.meta(RESTORING) or None


async def interrupted(
    relational: RelationalStore | None, messages: MessageStore | None, log: EventLog, snapshot: str | None = None
) -> str | None:
    """The snapshot whose restore was interrupted in these stores: that one alone can be completed. None if they are
    empty (None stands for a store that does not exist yet). Conflict if they hold anything else, or if it is not the
    one that is asked for."""
    begun = await unfinished(relational) if relational is not None else None
    if begun is None:
        await _refuse_unless_empty(relational, messages, log)
    elif snapshot not in (None, begun):
        raise Conflict(
            f"a restore of {begun} was interrupted here: complete that one (planb restore without --snapshot),"
            " or move the data folder and the log's away"
        )
    return begun


def check_room(manifest: Manifest, where: str, free: int) -> None:
    """StoreUnavailable if the rows of a snapshot surely do not fit into so many bytes: they take more than in their
    chunks, unpacked."""
    needed = sum(chunk.raw_bytes for chunk in manifest.chunks().values())
    if free < needed:
        raise StoreUnavailable(f"{where} has {free:,} bytes left; the rows of {manifest.id} need more than {needed:,}")


async def _refuse_unless_empty(
    relational: RelationalStore | None, messages: MessageStore | None, log: EventLog
) -> None:
    found = []
    if relational is not None:
        tables = [table for table in TABLES if await _any(relational.dump(table))]
        if tables:
            found.append(f"the relational store has rows ({_some(tables)})")
        elif await relational.frontier():
            found.append("the relational store has a frontier")
    if messages is not None:
        if await _any(messages.dump()):
            found.append("the message store has rows")
        elif await messages.frontier():
            found.append("the message store has a frontier")
    lanes = await log.tops()
    if lanes:
        found.append(f"the event log holds {len(lanes)} lanes")
    if found:
        raise Conflict(
            f"a restore needs empty stores, but {', '.join(found)}. Move the data folder and the log's away,"
            " don't delete them: their end may hold writes that nobody else has"
        )


def _some(tables: Sequence[str]) -> str:
    more = len(tables) - TABLES_NAMED
    return ", ".join(tables[:TABLES_NAMED]) + (f" and {more} more tables" if more > 0 else "")


async def _any(pages: AsyncIterator[Sequence[object]]) -> bool:
    async for page in pages:
        if page:
            return True
    return False
