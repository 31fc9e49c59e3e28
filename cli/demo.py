"""`planb demo`: three datacenters on this machine, headless or to be played with."""

import argparse
import asyncio
import fcntl
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

from cli import irc
from cli.conversation import Conversation, generate
from cli.planet import Planet
from cli.story import Story
from core.errors import Conflict, Invalid

NAMES = ("fra", "iad", "nrt")


async def run(args: argparse.Namespace) -> Any:
    conversations = _conversations(args)
    home = args.home or Path(tempfile.mkdtemp(prefix="planb-demo-"))
    home.mkdir(parents=True, exist_ok=True)
    lock = _locked(home)
    planet = Planet(home, NAMES)
    _heed_sigterm()
    try:
        await planet.start()
        if args.headless:
            return await Story(planet, conversations, args.seed, _say).play()
        from cli import live

        return await live.run(planet, conversations)
    finally:
        await planet.stop()
        lock.close()
        if args.home is None:
            await asyncio.to_thread(shutil.rmtree, home, True)


def _locked(home: Path) -> IO[bytes]:
    """Holds the folder for as long as it is open: two demos on the same files would write each other's state."""
    lock = (home / "demo.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Conflict(f"another demo runs in {home}") from None
    return lock


def _heed_sigterm() -> None:
    """A SIGTERM ends the demo as Ctrl-C does: its servers are stopped, its folder is removed."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _conversations(args: argparse.Namespace) -> list[Conversation]:
    if args.messages < 1:
        raise Invalid("--messages: at least 1")
    if not args.input:
        return generate(args.seed, args.messages)
    found = []
    for path in args.input:
        try:
            found.append(irc.parse_file(path))
        except OSError as error:
            raise Invalid(f"{path}: {error.strerror}") from error
    return found


def _say(line: str) -> None:
    print(f"· {line}", file=sys.stderr, flush=True)
