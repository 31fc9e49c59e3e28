"""Whole datacenters as processes: another one beside a first, and all of them kept up while faults come."""

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.planet import Planet, Site
from cli.servers import Child, free_ports
from cli.sys_client import SysClient
from cli.waiting import until
from core.errors import Unavailable
from tests.support.bad_days import RECOVER_S_MAX

SUPERVISE_S = 0.2


def second_process(site: Site, folder: Path) -> tuple[Child, int]:
    """Of the same datacenter: the same settings but for the ports, and a folder of its own for its lease. So nobody
    keeps the two apart but the log. And its public port."""
    return _other(site, folder, f'dir = "{folder / "coordination"}"\n')


def standby_elsewhere(site: Site, folder: Path) -> tuple[Child, int]:
    """As on another machine: the same settings but for the ports."""
    return _other(site, folder, "")


def standby(site: Site, folder: Path) -> Child:
    """With the very same settings."""
    return _serve(site.settings, folder)


def meets_in_etcd(site: Site, url: str, lease_s: float) -> None:
    """From its next start on."""
    lines = f'etcd_endpoints = ["{url}"]\nlease_s = {lease_s}\n'
    site.settings.write_text(_coordinated(site.settings.read_text(), lines))


def _coordinated(settings: str, lines: str) -> str:
    """With these lines in its table `[coordination]`."""
    table = "[coordination]\n"
    assert settings.count(table) == 1
    return settings.replace(table, table + lines)


def _other(site: Site, folder: Path, coordination: str) -> tuple[Child, int]:
    public, internal = free_ports(2)
    text = site.settings.read_text()
    for old, new in ((site.ports.public, public), (site.ports.sys, internal)):
        text = text.replace(f"port = {old}", f"port = {new}")
    settings = folder / "second.toml"
    settings.write_text(_coordinated(text, coordination))
    return _serve(settings, folder), public


def _serve(settings: Path, folder: Path) -> Child:
    command = [sys.executable, "-m", "cli.main", "serve", "all", "--config", str(settings)]
    return Child("second", command, folder / "second.log")


def log_of(child: Child) -> str:
    return child._output.read_text()


async def stands_by(child: Child) -> None:
    async def says_so() -> bool:
        assert child.running, child.why_ended()
        text = log_of(child)
        runs = max(text.rfind("this process runs it now"), text.rfind(" serves on port "))
        return text.rfind("this one stands by") > runs

    assert await until(says_so, RECOVER_S_MAX), log_of(child)


async def serves(child: Child, sys_port: int, sys_key: bytes) -> None:
    """Returns when it is the one that the registry calls serving."""

    async def is_it() -> bool:
        try:
            async with SysClient("fra", f"http://127.0.0.1:{sys_port}", sys_key) as sys:
                found = await sys.call("GET", "/sys/v1/status")
        except Unavailable:
            return False
        return [one["pid"] for one in found["coordination"]["processes"] if one["state"] == "serving"] == [child.pid]

    assert await until(is_it, RECOVER_S_MAX), log_of(child)


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
