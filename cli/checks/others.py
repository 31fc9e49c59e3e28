"""Processes of Plan B: this datacenter's own, if it runs, and its peers."""

import asyncio
import contextlib
import json
import socket
from typing import Any

import aiohttp

from cli.checks.notes import Check, Notes
from cli.settings import Listen, Settings, secret
from cli.sys_client import SysClient, SysRefused
from core import limits
from core.errors import OutOfTime, PlanBError, Unavailable
from core.system import wall_clock_ms

ANSWER_S_MAX = 5.0


async def itself(settings: Settings, notes: Notes) -> None:
    """Who listens where this datacenter does; where nobody does, whether it could."""
    await _internal(settings, notes)
    await _public(settings.public, notes)


async def _internal(settings: Settings, notes: Notes) -> None:
    where = settings.sys
    if not await _listens(where):
        _free(where, notes)
        return
    try:
        found, _ = await _status(settings, settings.dc.name, f"http://{_reached(where)}")
    except SysRefused as error:
        notes.wrong(f"{_shown(where)} refuses us: {error.detail}", "the settings that it was started with")
    except PlanBError as error:
        notes.down(error.detail, f"docs/operations.md, A DC is down; or does another program have port {where.port}?")
    else:
        notes.ok(f"{_shown(where)}: {found['dc']} runs, incarnation {found['incarnation']}, epoch {found['epoch']}")


async def _public(where: Listen, notes: Notes) -> None:
    if not await _listens(where):
        _free(where, notes)
        return
    try:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://{_reached(where)}/readyz") as answer,
        ):
            found = json.loads(await answer.read())
        ready, missing = found["ready"], found["missing"]
    except TimeoutError:
        notes.down(f"{_shown(where)} does not answer", f"a process that is frozen, or has port {where.port} for itself")
    except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError):
        notes.wrong(f"somebody else listens on {_shown(where)}", "stop him, or another port")
    else:
        if ready:
            notes.ok(f"{_shown(where)}: clients may come")
        else:
            why = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
            notes.warning(f"{_shown(where)}: clients may not come: {why}", "docs/operations.md, Look")


def _free(where: Listen, notes: Notes) -> None:
    if said := _no_place(where):
        notes.wrong(said, "an address of this machine, or 0.0.0.0")
    else:
        notes.ok(f"{_shown(where)} is free: nobody runs here")


def peer(name: str) -> Check:
    """Whether that one is reached, is who we think, knows us, and has the same time."""

    async def check(settings: Settings, notes: Notes) -> None:
        url = settings.peers[name].sys_url
        try:
            found, ahead_ms = await _status(settings, name, url)
        except SysRefused as error:
            if error.code == OutOfTime.code:
                notes.wrong(error.detail, "chronyc tracking, timedatectl: on both machines")
            else:
                notes.wrong(
                    error.detail, f"the same secrets.sys_key_file here and in {name}: compare sha256sum of both"
                )
            return
        except Unavailable as error:
            notes.down(error.detail, f"start it, or mend the network; peers.{name}.sys_url is its internal listener")
            return
        fact = f"{url} is {found['dc']}, its clock {ahead_ms:+d} ms to ours"
        if found["dc"] != name:
            notes.wrong(fact, f"peers.{name}.sys_url: this one is {found['dc']}'s")
        elif settings.dc.name not in found["peers"]:
            notes.wrong(f"{fact}; it does not know {settings.dc.name}", f"[peers.{settings.dc.name}] in its settings")
        elif abs(ahead_ms) > 2 * limits.CLOCK_ERROR_MS_MAX:
            notes.wrong(fact, "one of the two is wrong: docs/operations.md, A clock is wrong")
        else:
            notes.ok(fact)

    return check


async def _status(settings: Settings, name: str, url: str) -> tuple[dict[str, Any], int]:
    """What it says of itself, and by how much its wall clock is ahead of ours, within half of the call."""
    file = settings.secrets.sys_key_file
    async with SysClient(name, url, secret(file), settings.dc.name, ANSWER_S_MAX, file) as client:
        began = wall_clock_ms()
        found = await client.call("GET", "/sys/v1/status")
        middle = (began + wall_clock_ms()) // 2
    return found, found["now_ms"] - middle


def _shown(where: Listen) -> str:
    return f"{where.host}:{where.port}"


def _host(where: Listen) -> str:
    """Where one on this machine reaches it."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(where.host, where.host)


def _reached(where: Listen) -> str:
    host = _host(where)
    return f"[{host}]:{where.port}" if ":" in host else f"{host}:{where.port}"


async def _listens(where: Listen) -> bool:
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            _, writer = await asyncio.open_connection(_host(where), where.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _no_place(where: Listen) -> str:
    """Why nobody could listen there; "" if one could."""
    try:
        family, kind, *_, address = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
    except OSError as error:
        return f"can't listen on {where.host}:{where.port}: {error.strerror or error}"
    return ""
