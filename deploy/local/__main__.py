"""`python -m deploy.local install [NAME …]`, and `run NAME --home DIR`: see docs/servers.md."""

import argparse
import asyncio
import fcntl
import json
import os
import signal
import sys
import threading
from pathlib import Path

from core.errors import PlanBError
from deploy.local import install
from deploy.local.catalog import SERVERS
from deploy.local.starters import STARTERS


def _install(names: list[str]) -> None:
    for name in names or SERVERS:
        done = install.install(name)
        print(f"{name} {SERVERS[name].version}: {'installed' if done else 'there'}", flush=True)


async def _run(name: str, home: Path, users: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = STARTERS[name](home)
    try:
        await server.start()
        print(json.dumps(server.found, indent=2), flush=True)
        if users is not None:
            threading.Thread(target=_alone, args=(users, asyncio.get_running_loop(), stop), daemon=True).start()
        await stop.wait()
    finally:
        server.kill()


def _alone(users: Path, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Waits until nobody has a lock on this file; the kernel lets go of those who died."""
    descriptor = os.open(users, os.O_RDWR | os.O_CREAT)  # open until we end: who comes meanwhile waits for that
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    loop.call_soon_threadsafe(stop.set)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="Servers on this machine.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    wanted = verbs.add_parser("install", help="into .servers/, what is missing of it")
    wanted.add_argument("names", nargs="*", choices=[[], *SERVERS], help="all of them by default")
    run = verbs.add_parser("run", help="until Ctrl-C; says on stdout how it is reached")
    run.add_argument("name", choices=STARTERS)
    run.add_argument("--home", type=Path, required=True, help="its folder; a fresh one")
    run.add_argument("--users", type=Path, help="ends, too, when nobody has a shared lock on this file (flock)")
    args = parser.parse_args()
    try:
        if args.verb == "install":
            _install(args.names)
        else:
            asyncio.run(_run(args.name, args.home, args.users))
    except PlanBError as error:
        print(f"{error.detail} [{error.code}]", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
