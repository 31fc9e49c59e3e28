"""`planb demo`: three datacenters on this machine, headless or to be played with."""

import argparse
import asyncio
import contextlib
import fcntl
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from cli import engines, irc, logs
from cli.conversation import Conversation, generate
from cli.ending import Ended, Ending
from cli.engines import Provider
from cli.planet import Planet
from cli.story import Story
from core.errors import Conflict, Invalid

REFUSED_SHOWN = 5
MESSAGES_MAX = 1_000_000
"""All are made before the first is told."""
STOPPED_S_MAX = 3_600
NAMES = ("fra", "iad", "nrt")
ON_REAL_ENGINES = 2
"""So many of them: each takes a gigabyte."""


async def run(args: argparse.Namespace) -> Any:
    """The answer of a headless demo. Ended when a signal came; but who ends a demo that he plays with has nothing to
    complain of."""
    conversations = await _conversations(args)
    ending = Ending()
    playing = False
    try:
        with _home(args.home) as home:
            names, provider = _engines(args)
            planet = Planet(home, names, provider)
            ending.hurried_by(planet.kill)
            try:
                if not args.headless:
                    each = "two Valkeys and a process" if provider is None else "real servers and a process"
                    _say(f"starting {', '.join(names)}: for each {each}, in {home}")
                await planet.start()
                if args.headless:
                    return await Story(planet, conversations, args.seed, _say).play()
                from cli.live import Live

                playing = True
                await Live(planet, conversations, args.seed, ending).run()
            finally:
                await planet.stop()
    except asyncio.CancelledError:
        if ending.number is None:
            raise
        if not playing or ending.number == signal.SIGHUP:
            raise Ended(ending.number) from None


def _engines(args: argparse.Namespace) -> tuple[tuple[str, ...], Provider | None]:
    """The datacenters, and who starts what they stand on."""
    if args.engines == "real":
        if args.objects == "folder":
            raise Invalid("--objects folder: real engines have S3")
        return NAMES[:ON_REAL_ENGINES], engines.provider("real", args.stopped)
    return NAMES, engines.provider("s3", args.stopped) if args.objects == "s3" else None


@contextlib.contextmanager
def _home(wanted: Path | None) -> Iterator[Path]:
    """The demo's folder, for this demo alone; one of ours is removed at the end. Invalid if it can't be used."""
    home = wanted or Path(tempfile.mkdtemp(prefix="planb-demo-"))
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = _locked(home)
    except OSError as error:
        raise Invalid(f"--home {home}: {error.strerror}") from error
    try:
        yield home
    finally:
        lock.close()
        if wanted is None:
            shutil.rmtree(home, ignore_errors=True)


def _locked(home: Path) -> IO[bytes]:
    """Holds the folder for as long as it is open: two demos on the same files would write each other's state."""
    lock = (home / "demo.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Conflict(f"another demo runs in {home}") from None
    return lock


async def _conversations(args: argparse.Namespace) -> list[Conversation]:
    if not 1 <= args.messages <= MESSAGES_MAX:
        raise Invalid(f"--messages: from 1 to {MESSAGES_MAX:,}")
    if not 0 <= args.stopped <= STOPPED_S_MAX:
        raise Invalid(f"--stopped {args.stopped:g}: from 0 to {STOPPED_S_MAX:,} seconds")
    if not args.input:
        return generate(args.seed, args.messages)
    found = await logs.read(args.input)
    for conversation in found:
        _say(irc.account(conversation))
        for one in conversation.refused[:REFUSED_SHOWN]:
            what = f"{one.size:,} bytes, {irc.REASONS[one.reason]}"
            _say(f"  {one.file}:{one.line}: a message of {one.nick} is refused: {what}")
        if len(conversation.refused) > REFUSED_SHOWN:
            _say(f"  and {len(conversation.refused) - REFUSED_SHOWN:,} more")
    if not args.headless and not any(conversation.messages for conversation in found):
        _say("there is no message in it: a generated conversation is told as well")
        found += generate(args.seed, args.messages)
    return found


def _say(line: str) -> None:
    print(f"· {line}", file=sys.stderr, flush=True)
