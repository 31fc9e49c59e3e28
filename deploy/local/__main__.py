"""`python -m deploy.local install [NAME …]`, and `run NAME --home DIR`: see docs/servers.md."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from core.errors import PlanBError
from deploy.local import install
from deploy.local.catalog import SERVERS

BUCKET = "planb"


def _install(names: list[str]) -> None:
    for name in names or SERVERS:
        done = install.install(name)
        print(f"{name} {SERVERS[name].version}: {'installed' if done else 'there'}", flush=True)


async def _run_seaweedfs(home: Path) -> None:
    from deploy.local.seaweedfs import REGION, SeaweedFS

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = SeaweedFS(home)
    try:
        await server.start(BUCKET)
        found = {
            "objects_url": f"s3://{BUCKET}",
            "endpoint_url": server.url,
            "region": REGION,
            "aws_access_key_id": server.credentials.access_key,
            "aws_secret_access_key": server.credentials.secret_key,
        }
        print(json.dumps(found, indent=2), flush=True)
        await stop.wait()
    finally:
        server.kill()


RUNS = {"seaweedfs": _run_seaweedfs}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="Servers on this machine.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    wanted = verbs.add_parser("install", help="into .servers/, what is missing of it")
    wanted.add_argument("names", nargs="*", choices=[[], *SERVERS], help="all of them by default")
    run = verbs.add_parser("run", help="until Ctrl-C; says on stdout how it is reached")
    run.add_argument("name", choices=RUNS)
    run.add_argument("--home", type=Path, required=True, help="its folder; a fresh one")
    args = parser.parse_args()
    try:
        if args.verb == "install":
            _install(args.names)
        else:
            asyncio.run(RUNS[args.name](args.home))
    except PlanBError as error:
        print(f"{error.detail} [{error.code}]", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
