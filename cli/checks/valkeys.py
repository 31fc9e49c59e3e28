"""Valkeys and Redises: the log's, which must lose nothing, and hot state's, which must keep nothing."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from hiredis import ReplyError

from cli.checks.notes import Notes
from cli.settings import Settings, with_password
from cli.units import size
from core.system import entropy, steady_clock_ms
from events.adapters.valkey import DURABLE, not_durable
from events.adapters.valkey_wire import NotSent, Unanswered, Wire
from stores.adapters.cluster_map import SLOTS, members

OLDEST = (7, 0)
CONNECT_S_MAX = 2.0
ANSWER_S_MAX = 3.0
FULL = 0.9
"""Of maxmemory."""
FROZEN = "is it frozen, or its disk? kill -CONT, or start it again"
_FUNCTION = "#!lua name={0}\nredis.register_function('{0}', function(keys, args) return 'ok' end)"


class Refused(Exception):
    """The server says no."""


class Server:
    """One that is asked."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def ask(self, *command: str | int) -> Any:
        """Refused with what it says, NotSent and Unanswered."""
        (answer,) = await self._wire.ask(command)
        if isinstance(answer, ReplyError):
            raise Refused(str(answer))
        return answer

    async def info(self) -> dict[str, str]:
        text = (await self.ask("INFO")).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    async def config(self, *names: str) -> dict[bytes, bytes]:
        answer = await self.ask("CONFIG", "GET", *names)
        return dict(zip(answer[::2], answer[1::2], strict=True))


async def log(settings: Settings, notes: Notes) -> None:
    url = settings.stores.log_url
    async with _asked(url, with_password(url, settings.secrets.log_password_file), "log", notes) as server:
        info = await _introduced(server, url, notes)
        try:
            found = await server.config(*(name.decode() for name in DURABLE))
        except Refused as error:
            notes.wrong(f"does not show its settings: {error}", "let the user run CONFIG GET")
        else:
            wrong = not_durable(found)
            for name in wrong:
                has = found.get(name, b"nothing").decode()
                notes.wrong(
                    f"{name.decode()} is {has}: what it answered could be lost",
                    f"{_cli(url)} CONFIG SET {name.decode()} {DURABLE[name].decode()}, and the same in its"
                    " configuration file",
                )
            if not wrong:
                notes.ok("appendfsync always, noeviction")
        if info.get("aof_last_write_status", "ok") != "ok":
            notes.down("it could not write its file", "make room on its disk (docs/operations.md, A disk is full)")
        await _functions(server, notes)


async def hot(settings: Settings, notes: Notes) -> None:
    url = settings.stores.hot_url
    whole = with_password(url, settings.secrets.hot_password_file)
    if not url.startswith("redis+cluster:"):
        async with _asked(url, whole, "hot", notes) as server:
            info = await _introduced(server, url, notes)
            await _fit_for_hot(server, info, url, notes)
            await _not_the_logs(settings, info, notes)
        return
    login, _, hosts = urlsplit(whole).netloc.rpartition("@")
    seeds = {host if ":" in host else f"{host}:6379" for host in hosts.split(",")}
    seen: set[str] = set()
    left = sorted(seeds)
    primaries = 0
    while left:
        address = left.pop(0)
        seen.add(address)
        there = f"redis://{login}@{address}/0" if login else f"redis://{address}/0"
        async with _asked(f"redis://{address}", there, "hot", notes) as server:
            info = await _introduced(server, f"redis://{address}", notes)
            said = members((await server.ask("CLUSTER", "NODES")).decode(), address)
            left += sorted({one.address for one in said if one.primary} - seen - set(left))
            if info.get("role") != "master":
                continue
            primaries += 1
            await _fit_for_hot(server, info, f"redis://{address}", notes)
            if primaries == 1:
                await _all_slots(server, len([one for one in said if one.primary]), notes)


async def _all_slots(server: Server, primaries: int, notes: Notes) -> None:
    state = dict(
        line.split(":", 1) for line in (await server.ask("CLUSTER", "INFO")).decode().splitlines() if ":" in line
    )
    served = int(state.get("cluster_slots_ok", 0))
    if state.get("cluster_state") == "ok" and served == SLOTS:
        notes.ok(f"{primaries} primaries serve all {SLOTS:,} slots")
    else:
        notes.down(
            f"the cluster is {state.get('cluster_state')}: {served:,} of {SLOTS:,} slots are served",
            "bring its nodes back; redis-cli --cluster fix",
        )


@asynccontextmanager
async def _asked(url: str, whole: str, which: str, notes: Notes) -> AsyncIterator[Server]:
    """What it does not answer is noted. `whole`: with the password."""
    wire = Wire(whole, connections_max=1, connect_s=CONNECT_S_MAX, answer_s=ANSWER_S_MAX)
    try:
        yield Server(wire)
    except NotSent as error:
        reason = str(error)
        if any(word in reason for word in ("WRONGPASS", "NOAUTH", "NOPERM", "AUTH")):
            notes.wrong(
                f"{_place(url)} does not let us in: {_after(reason)}",
                f"secrets.{which}_password_file, with a user in stores.{which}_url if there is one",
            )
        elif "DENIED" in reason:
            notes.wrong(f"{_place(url)}: {_after(reason)}", "let it listen for this machine (bind, requirepass)")
        else:
            how = FROZEN if isinstance(error.__cause__, TimeoutError) else _start(url, which)
            notes.down(f"{_place(url)} does not answer: {_after(reason)}", how)
    except Unanswered as error:
        notes.down(
            f"{_place(url)} took the question and does not answer: {_after(str(error))}",
            FROZEN,
        )
    except Refused as error:
        notes.wrong(f"{_place(url)}: {error}", "let the user run what docs/operations.md names")
    finally:
        await wire.close()


async def _introduced(server: Server, url: str, notes: Notes) -> dict[str, str]:
    began = steady_clock_ms()
    info = await server.info()
    took_ms = steady_clock_ms() - began
    kind = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "?")
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    fact = f"{kind} {version} at {_place(url)}, {size(used)} used{f' of {size(most)}' if most else ''}, {took_ms} ms"
    numbers = tuple(int(part) for part in info.get("redis_version", "0").split(".")[:2] if part.isdecimal())
    if numbers < OLDEST:
        notes.wrong(fact, f"{kind} {'.'.join(map(str, OLDEST))} or newer: it has no functions")
    elif most and used > FULL * most:
        notes.down(fact, f"{_cli(url)} CONFIG SET maxmemory {2 * most}, and in its configuration file")
    else:
        notes.ok(fact)
    return info


async def _fit_for_hot(server: Server, info: Mapping[str, str], url: str, notes: Notes) -> None:
    if info.get("role") != "master":
        notes.wrong("it is a replica", "stores.hot_url of the primary, or redis+cluster://")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        says = notes.wrong if policy.startswith("allkeys") else notes.warning
        says(
            f"maxmemory-policy is {policy}: a full server would forget some keys",
            f"{_cli(url)} CONFIG SET maxmemory-policy noeviction, and in its configuration file",
        )
    try:
        found = await server.config("save", "appendonly")
    except Refused:
        notes.warning("does not show whether it keeps anything over a restart", "let the user run CONFIG GET")
    else:
        if found.get(b"save") or found.get(b"appendonly") == b"yes":
            notes.warning(
                "it writes to its disk what would be withdrawn at its next start",
                f"{_cli(url)} CONFIG SET save '' and CONFIG SET appendonly no, and in its configuration file",
            )
        elif policy == "noeviction":
            notes.ok("keeps nothing over a restart, noeviction")
    await _functions(server, notes)


async def _not_the_logs(settings: Settings, info: Mapping[str, str], notes: Notes) -> None:
    """The two want opposite settings, and one empties its database."""
    if settings.stores.on_pulsar:
        return
    url = with_password(settings.stores.log_url, settings.secrets.log_password_file)
    wire = Wire(url, connections_max=1, connect_s=CONNECT_S_MAX, answer_s=ANSWER_S_MAX)
    try:
        other = await Server(wire).info()
    except (NotSent, Unanswered, Refused):
        return  # the log's own check says it
    finally:
        await wire.close()
    if other.get("run_id") == info.get("run_id"):
        notes.wrong("it is the log's server, too", "a server of its own: stores.hot_url")


async def _functions(server: Server, notes: Notes) -> None:
    """A library of our own kind is loaded, called and taken away again."""
    name = f"planb_probe_{entropy(4).hex()}"
    try:
        await server.ask("FUNCTION", "LOAD", _FUNCTION.format(name))
        try:
            await server.ask("FCALL", name, 0)
        finally:
            await server.ask("FUNCTION", "DELETE", name)
    except Refused as error:
        if str(error).startswith("OOM"):
            notes.down(f"it is full: {error}", "raise its maxmemory (docs/operations.md, The hot server is full)")
        else:
            notes.wrong(f"functions can't be loaded: {error}", "let the user run FUNCTION and FCALL, on a primary")
    else:
        notes.ok("functions can be loaded and called (tried with one that is gone again)")


def _place(url: str) -> str:
    """Without who we are there."""
    parts = urlsplit(url)
    return parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]


def _cli(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"valkey-cli -s {parts.path}"
    return f"valkey-cli -h {parts.hostname or '127.0.0.1'} -p {parts.port or 6379}"


def _start(url: str, which: str) -> str:
    port = urlsplit(url).port or 6379
    if which == "log":
        how = f"in the folder that it had: valkey-server --port {port} --dir FOLDER"
        kept = '--save "" --appendonly yes --appendfsync always'
        return f"start it {how} {kept}; or stores.log_url names another one"
    return f'start it: valkey-server --port {port} --save "" --appendonly no; or stores.hot_url names another one'


def _after(reason: str) -> str:
    """Without the words that are here already, and without the kind of an error that says more."""
    return re.sub(r"^\w*Error: ", "", reason.partition(": ")[2].strip() or reason) or "no word"
