"""Whole datacenters as processes: another one beside a first, and all of them kept up while faults come."""

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.planet import Planet, Site
from cli.servers import Child, free_ports
from core.errors import Unavailable

SUPERVISE_S = 0.2


def second_process(site: Site, folder: Path) -> tuple[Child, int]:
    """Of the same datacenter: the same settings but for the ports. And its public port."""
    public, internal = free_ports(2)
    text = site.settings.read_text()
    for old, new in ((site.ports.public, public), (site.ports.sys, internal)):
        text = text.replace(f"port = {old}", f"port = {new}")
    settings = folder / "second.toml"
    settings.write_text(text)
    command = [sys.executable, "-m", "cli.main", "serve", "all", "--config", str(settings)]
    return Child("second", command, folder / "second.log"), public


@contextmanager
def running(work: Coroutine[None, None, None]) -> Iterator["asyncio.Task[None]"]:
    """Beside the block, as long as that lasts."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()


async def supervise(planet: Planet) -> None:
    """As the demo does: what ends is started again."""
    while True:
        for site in planet.sites.values():
            await site.revive()
        await asyncio.sleep(SUPERVISE_S)  # a period, not a condition


async def all_ready(planet: Planet) -> bool:
    try:
        await asyncio.gather(*(site.ready(timeout_s=0) for site in planet.sites.values()))
    except Unavailable:
        return False
    return True
