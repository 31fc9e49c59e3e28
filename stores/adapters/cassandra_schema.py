"""The schema of a keyspace, by numbered files, and who may apply them.

A file is applied by one process at a time: a row with a deadline, taken by a lightweight transaction, is the guard
(the only such transactions; none is on the path of a message). Should its holder be slower than the deadline, no harm
is done: every table has an id derived from its name, so two who create it make the same one.
"""

import asyncio
import logging
import re
import uuid
from pathlib import Path

from core import limits
from core.errors import ConfigError, StoreUnavailable
from stores.adapters.cassandra_session import CassandraSession, refused, undecided

FILES = {1: Path(__file__).parent / "cassandra_0001_rows.cql"}
VERSION = max(FILES)
LOOK_S = 0.1
TURN_S_MAX = 2.0 * limits.CASSANDRA_SCHEMA_S_MAX
"""How long others are waited for; one that died in its turn loses it after CASSANDRA_SCHEMA_S_MAX."""
GUARD = (
    "CREATE TABLE schema_versions (one int, version int, PRIMARY KEY ((one), version))",
    "CREATE TABLE schema_turn (one int, holder text, PRIMARY KEY ((one)))",
)

log = logging.getLogger(__name__)


async def prepare_schema(session: CassandraSession, holder: str) -> None:
    """Brings the keyspace up to VERSION; `holder` tells this process from others. Repeatable. ConfigError where a newer
    program was; StoreUnavailable if it is not this process's turn in time, or the nodes do not agree."""
    if await schema_version(session) == VERSION:
        return
    for statement in GUARD:
        await session.run(with_id(session.place.keyspace, statement))
    await _agreed(session)
    deadline = asyncio.get_running_loop().time() + TURN_S_MAX
    while (other := await _turn_of(session, holder)) != holder:
        if await schema_version(session) == VERSION:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise StoreUnavailable(
                private=f"{session.place}: the schema is to be changed, and it is {other or 'nobody'}'s turn"
            )
        await asyncio.sleep(LOOK_S)
    try:
        await _apply(session, await schema_version(session))
    finally:
        await _give_back(session, holder)


async def schema_version(session: CassandraSession) -> int:
    """0 where nothing was applied yet. ConfigError where a newer program was."""
    keyspace = session.place.keyspace
    try:
        rows = await session.run("SELECT version FROM schema_versions WHERE one = 0")
    except StoreUnavailable as error:
        if refused(error):
            return 0
        raise
    found = max((version for (version,) in rows), default=0)
    if found > VERSION:
        raise ConfigError(f"keyspace {keyspace} has schema {found}; this program knows {VERSION}")
    return int(found)


def statements(path: Path) -> list[str]:
    """Those of a file."""
    text = re.sub(r"^--.*$", "", path.read_text(), flags=re.MULTILINE)
    return [one.strip() for one in text.split(";") if one.strip()]


def with_id(keyspace: str, create: str) -> str:
    """A CREATE TABLE that can be repeated, also at the same time elsewhere."""
    name = create.split()[2]
    id = uuid.uuid5(uuid.NAMESPACE_OID, f"{keyspace}.{name}")
    joined = "AND" if re.search(r"\) WITH ", create) else "WITH"
    return f"{create.replace('CREATE TABLE', 'CREATE TABLE IF NOT EXISTS', 1)} {joined} ID = {id}"


async def _turn_of(session: CassandraSession, holder: str) -> str:
    """This one's if it was nobody's; "" if that is not decided: where several ask at once, none may get an answer in
    time."""
    try:
        rows = await session.run(
            f"INSERT INTO schema_turn (one, holder) VALUES (0, '{holder}') IF NOT EXISTS"
            f" USING TTL {limits.CASSANDRA_SCHEMA_S_MAX}"
        )
    except StoreUnavailable as error:
        if undecided(error):
            return ""
        raise
    taken, *other = rows[0]
    return holder if taken else str(other[-1])


async def _give_back(session: CassandraSession, holder: str) -> None:
    try:
        await session.run(f"DELETE FROM schema_turn WHERE one = 0 IF holder = '{holder}'")
    except StoreUnavailable as error:
        if not undecided(error):
            raise
        seconds = limits.CASSANDRA_SCHEMA_S_MAX
        log.warning("%s: the turn to change the schema may not be given back; it ends in %d s", session.place, seconds)


async def _apply(session: CassandraSession, version: int) -> None:
    for number in range(version + 1, VERSION + 1):
        log.info("%s: schema %d", session.place, number)
        for statement in statements(FILES[number]):
            await session.run(with_id(session.place.keyspace, statement))
        await _agreed(session)
        await session.run(f"INSERT INTO schema_versions (one, version) VALUES (0, {number})")


async def _agreed(session: CassandraSession) -> None:
    """All nodes know the same schema. One that is down keeps an old one: a schema is changed with all nodes up."""
    found: set[str] = set()
    try:
        async with asyncio.timeout(limits.CASSANDRA_SCHEMA_S_MAX):
            while True:
                rows = [
                    *await session.run("SELECT schema_version FROM system.local"),
                    *await session.run("SELECT schema_version FROM system.peers"),
                ]
                found = {str(version) for (version,) in rows}
                if len(found) == 1:
                    return
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise StoreUnavailable(
            private=f"{session.place}: the nodes know {len(found)} versions of the schema: are all of them up?"
        ) from None
