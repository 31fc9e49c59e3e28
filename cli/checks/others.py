"""Processes of Plan B: this datacenter's own, if it runs, and its peers."""

import asyncio
import contextlib
import socket
from typing import Any

from cli.checks.notes import Check, Notes
from cli.settings import Listen, Settings, secret
from cli.sys_client import SysClient, SysRefused
from core import limits
from core.errors import OutOfTime, PlanBError, Unavailable
from core.system import wall_clock_ms

ANSWER_S_MAX = 5.0


async def itself(settings: Settings, notes: Notes) -> None:
    """Whether it runs; where it does not, whether it could listen."""
    if not await _listens(settings.sys):
        taken = [one for one in (settings.public, settings.sys) if await _listens(one)]
        why = [said for one in (settings.public, settings.sys) if (said := _no_place(one))]
        for one in taken:
            notes.wrong(f"somebody else listens on {one.host}:{one.port}", "stop him, or another port")
        for said in why:
            notes.wrong(said, "an address of this machine, or 0.0.0.0")
        if not taken and not why:
            notes.ok(f"does not run; ports {settings.public.port} and {settings.sys.port} are free")
        return
    own = f"http://{settings.sys.host}:{settings.sys.port}"
    try:
        found, _ = await _status(settings, settings.dc.name, own)
    except SysRefused as error:
        notes.wrong(f"the process at {own} refuses us: {error.detail}", "the settings that it was started with")
    except PlanBError as error:
        notes.down(error.detail, f"docs/operations.md, A DC is down; is another program on port {settings.sys.port}?")
    else:
        notes.ok(f"runs as {found['dc']}, incarnation {found['incarnation']}, epoch {found['epoch']}")


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


async def _listens(where: Listen) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(where.host, where.host)
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            _, writer = await asyncio.open_connection(host, where.port)
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
