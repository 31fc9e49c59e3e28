"""`planb doctor` on settings that a test makes: one check at a time, and what it found."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from cli import doctor
from cli import settings as configuration
from cli.checks.notes import Finding
from core.limits import DOCTOR_CHECK_S_MAX
from tests.unit.test_config import changed, keys, written


def settings_of(folder: Path, **values: Any) -> configuration.Settings:
    """Those of a datacenter that has keys and no servers, with these changed: stores__log_url="…"."""
    table = keys(folder)
    table["peers"] = {}
    for name, value in values.items():
        table = _with(table, name.split("__"), value)
    return configuration.load(written(folder, table))


def _with(table: dict[str, Any], place: list[str], value: Any) -> dict[str, Any]:
    head, *rest = place
    if rest:
        return table | {head: _with(table.get(head, {}), rest, value)}
    return {name: old for name, old in table.items() if name != head} if value is None else table | {head: value}


async def found(settings: configuration.Settings, check: str, check_s_max: float = DOCTOR_CHECK_S_MAX) -> list[Finding]:
    return await doctor.examined(settings, {check: doctor.checks_of(settings)[check]}, check_s_max)


def worst(findings: list[Finding]) -> Finding:
    """The one that counts: a problem, or else a warning."""
    return min(findings, key=lambda one: ("problem", "warning", "ok").index(one.state))


def all_ok(findings: list[Finding]) -> bool:
    return bool(findings) and {one.state for one in findings} == {"ok"}


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """A port that takes connections and never says a word, as the kernel of a process that was stopped does."""
    ended = asyncio.Event()

    async def wait(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        ended.set()
        server.close()


__all__ = ["all_ok", "changed", "found", "settings_of", "silent", "worst"]
