"""`planb import`: sends the conversations of IRC logs to running datacenters, as their users would."""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any

from cli import logs
from cli import settings as configuration
from cli.cast import Cast
from cli.narrator import Narrator, Told
from cli.progress import EVERY_S, Bar
from cli.regions import Region
from core.errors import ConfigError, Invalid


async def run(args: argparse.Namespace) -> dict[str, Any]:
    """Users are made where they are missing; a second import says everything again. A chat has its log's order."""
    found = [configuration.load(path) for path in args.config]
    names = [settings.dc.name for settings in found]
    if len(set(names)) != len(names):
        raise ConfigError("each --config is to describe another datacenter")
    regions = {
        settings.dc.name: Region(
            settings.dc.number,
            f"http://{settings.public.host}:{settings.public.port}",
            f"http://{settings.sys.host}:{settings.sys.port}",
        )
        for settings in found
    }
    key_file = found[0].secrets.sys_key_file
    cast = Cast(regions, configuration.secret(key_file), watched=False, key_file=key_file)
    conversations = await logs.read(args.files)
    for path, log in zip(args.files, conversations, strict=True):
        if not log.steps:
            nothing = "no line is of a known form" if log.skipped == log.lines else "no line can be told"
            raise Invalid(f"{path}: {nothing}; nothing was imported")
    narrator = Narrator(cast, conversations, in_order=True)
    began_s = monotonic()
    await cast.open()
    try:
        async with _watched(narrator, sum(conversation.messages for conversation in conversations)):
            await narrator.prepare()
            await narrator.tell(1.0)
    finally:
        await cast.close()
    return {
        "ok": True,
        "messages": narrator.messages,
        "seconds": round(monotonic() - began_s, 3),
        "files": [account(str(path), tale) for path, tale in zip(args.files, narrator.tales, strict=True)],
    }


def account(file: str, tale: Told) -> dict[str, Any]:
    """What became of each line of a log that is not blank: `lines` is the sum of all the others."""
    log = tale.conversation
    return {
        "file": file,
        "chat": tale.peer,
        "lines": log.lines,
        "messages": log.messages,
        "membership": log.events - log.messages,
        "skipped": {"unknown_form": log.skipped, "about_the_log": log.markers, "without_text": log.empty},
        "refused": [
            {"line": one.line, "nick": one.nick, "bytes": one.size, "reason": one.reason} for one in log.refused
        ],
    }


@contextlib.asynccontextmanager
async def _watched(narrator: Narrator, total: int) -> AsyncIterator[None]:
    """Shows how far it is; when it does not come to its end, says so."""
    bar = Bar()

    async def show() -> None:
        while True:
            bar("tell", narrator.acknowledged, total)
            await asyncio.sleep(EVERY_S)  # a period, not a condition

    showing = asyncio.create_task(show(), name="progress")
    try:
        yield
        bar("tell", narrator.acknowledged, total)
    except BaseException:
        bar.end()
        if narrator.acknowledged:
            told = f"{narrator.acknowledged:,} of {total:,} messages were told"
            again = "another import begins from the first, in a new chat"
            print(f"planb import: {told}; {again}", file=sys.stderr, flush=True)
        raise
    finally:
        showing.cancel()
    bar.end()
