"""What an SRE sees of last night: measured by datacenters that run, kept in SQLite and in TDengine (its double)."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest
import pytest_asyncio

from cli.planet import Planet, Site
from cli.waiting import until
from stores.series import MEASURES
from tests.support.bad_days import Load, planb, status, user
from tests.support.tdengine import PASSWORD, USER, TDengine

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
SOON_S_MAX = 30.0
DATABASE = "p1"


class World(NamedTuple):
    planet: Planet
    server: TDengine


def into_tdengine(site: Site, server: TDengine, folder: Path) -> None:
    """Its settings, before its first start."""
    password = folder / "tdengine.password"
    password.write_text(PASSWORD + "\n")
    text = site.settings.read_text().replace("[secrets]\n", f'[secrets]\ntdengine_password_file = "{password}"\n')
    lines = (f'tdengine_url = "{server.url}"', f'tdengine_user = "{USER}"', f'tdengine_database = "{DATABASE}"')
    site.settings.write_text("\n".join((text, "[series]", *lines, "")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """fra keeps its own in SQLite, iad in TDengine, which is down at first."""
    folder = tmp_path_factory.mktemp("planet")
    server = TDengine()
    await server.open()
    await server.close()
    planet = Planet(folder, ("fra", "iad"))
    into_tdengine(planet.site("iad"), server, folder)
    try:
        await planet.start()
        yield World(planet, server)
    finally:
        await planet.stop()
        await server.close()


def config(world: World, name: str) -> tuple[str, str]:
    return ("--config", str(world.planet.site(name).settings))


async def gauges(site: Site) -> dict[str, float]:
    url = f"http://127.0.0.1:{site.ports.sys}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        lines = [line.split() for line in (await answer.text()).splitlines()]
    return {words[0]: float(words[1]) for words in lines if len(words) == 2}


async def busy(world: World, name: str) -> None:
    site = world.planet.site(name)
    token = await user(world.planet, f"Uwriter-{name}", name)
    await user(world.planet, f"Ureader-{name}", name)
    async with Load(site.url, token, f"Ureader-{name}").running() as load:
        await load.more(100)
        assert not load.said, load.said


async def measures(world: World, name: str) -> bool:
    """Whether there is something of each kind that is not 0 where there was something to measure."""
    listed = await planb("series", "list", *config(world, name), "--json")
    if {one["measure"] for one in listed.json["series"]} != set(MEASURES):
        return False
    rates = await planb("series", "show", "msg_rate", *config(world, name), "--since", "10m", "--json")
    written = [one for one in rates.json["series"] if one["of"] == "written"]
    return any(window["max"]["per_s"] > 0 for one in written for window in one["windows"])


async def test_without_tdengine_writes_go_on_and_it_is_said(world: World) -> None:
    site = world.planet.site("iad")
    await busy(world, "iad")

    async def is_said() -> bool:
        return str((await status(world.planet, "iad"))["stores"]["series"]).startswith("no measurements are kept ")

    assert await until(is_said, SOON_S_MAX)
    found = (await status(world.planet, "iad"))["stores"]["series"]
    assert f"TDengine at {world.server.url}" in found and PASSWORD not in found
    (problem,) = (await planb("status", *config(world, "iad"), "--json")).json["problems"]
    assert problem.startswith("series: no measurements are kept (0 points dropped so far, clients notice nothing)")
    assert (await gauges(site))["planb_series_waiting_points"] > 0
    shown = await planb("series", "show", "msg_rate", *config(world, "iad"))
    assert (shown.code, "Traceback" in shown.err) == (6, False), shown
    ready = await planb("status", *config(world, "fra"), "--check")
    assert ready.code == 0, "another datacenter is not concerned"


async def test_when_it_comes_all_that_waited_is_there(world: World) -> None:
    await world.server.open()
    assert await until(lambda: measures(world, "iad"), SOON_S_MAX), "also what was written while it was away"

    async def well() -> bool:
        return (await status(world.planet, "iad"))["stores"]["series"] == "ok"

    assert await until(well, SOON_S_MAX)
    found = await gauges(world.planet.site("iad"))
    assert found["planb_series_written_points"] > 0 and found["planb_series_dropped_points"] == 0
    assert not (world.planet.site("iad").disks / "data" / "series.db").exists()
    database = world.server.databases[DATABASE]
    assert {series for series, _ in database.subtables.values()} == set(MEASURES)
    assert all(tags[:2] == ("iad", "all") for _, tags in database.subtables.values())


async def test_the_embedded_default_measures_too(world: World) -> None:
    await busy(world, "fra")
    assert await until(lambda: measures(world, "fra"), SOON_S_MAX)
    assert (await status(world.planet, "fra"))["stores"]["series"] == "ok"
    assert 'planb_stage_seconds_count{stage="log"}' in await gauges(world.planet.site("fra"))


async def test_a_kind_is_shown_as_a_line_over_time(world: World) -> None:
    fra = config(world, "fra")
    shown = await planb("series", "show", "latency", *fra, "--text")
    assert shown.code == 0, shown
    first, head, *lines, _ = shown.out.splitlines()
    assert first == f"latency: {MEASURES['latency'].what}"
    assert "p99_ms from " in head
    assert {line.split()[2] for line in lines} == {"log", "rows", "hot", "http"}
    listed = await planb("series", "list", *fra, "--text")
    assert "push_result" in listed.out and "series.db" in listed.out
    lag = await planb("series", "show", "repl_lag", *fra, "--json")
    (series,) = lag.json["series"]
    assert (series["dc"], series["of"]) == ("fra", "iad")
    assert set(series["windows"][0]["max"]) == set(MEASURES["repl_lag"].columns)


async def test_what_can_not_be_shown_is_said_and_nothing_is_made(world: World, tmp_path: Path) -> None:
    fra = config(world, "fra")
    nobody, span, kind = await asyncio.gather(
        planb("series", "show", "msg_rate", *fra, "--dc", "nrt"),
        planb("series", "show", "msg_rate", *fra, "--since", "yesterday"),
        planb("series", "show", "weather", *fra),
    )
    assert (nobody.code, "no msg_rate of nrt in the last 1h" in nobody.err) == (4, True), nobody
    assert (span.code, "--since yesterday: say it as 30m, 12h or 7d" in span.err) == (2, True), span
    assert (kind.code, "repl_lag" in kind.err) == (2, True), kind
    text = world.planet.site("fra").settings.read_text()
    other = tmp_path / "other.toml"
    data = json.dumps(str(world.planet.site("fra").disks / "data"))
    other.write_text(text.replace(data, json.dumps(str(tmp_path / "data"))))
    empty = await planb("series", "list", "--config", str(other), "--json")
    assert (empty.code, empty.json["series"]) == (0, [])
    assert not (tmp_path / "data").exists()
    other.write_text(text + "[series]\nenabled = false\n")
    off = await planb("series", "list", "--config", str(other))
    assert (off.code, "series.enabled is false" in off.err) == (4, True), off
    other.write_text(text + '[series]\ntdengine_url = "http://127.0.0.1:1"\n')
    keyless = await planb("series", "list", "--config", str(other))
    assert (keyless.code, "secrets.tdengine_password_file" in keyless.err) == (8, True), keyless


async def test_of_a_datacenter_that_is_down_the_last_hours_are_shown(world: World) -> None:
    await busy(world, "fra")
    assert await until(lambda: measures(world, "fra"), SOON_S_MAX)
    site = world.planet.site("fra")
    site.kill()
    try:
        shown = await planb("series", "show", "msg_rate", *config(world, "fra"), "--json")
        assert shown.code == 0, shown
    finally:
        await site.start()
        await site.ready()


async def test_a_damaged_file_of_measurements_keeps_no_datacenter_from_serving(world: World) -> None:
    site = world.planet.site("fra")
    await site.process.stop()
    path = site.disks / "data" / "series.db"
    for file in path.parent.glob("series.db*"):
        file.unlink()
    path.write_bytes(b"no database" * 1_000)
    await site.start()
    await site.ready()
    await busy(world, "fra")

    async def is_said() -> bool:
        return "series.db is damaged" in (await status(world.planet, "fra"))["stores"]["series"]

    assert await until(is_said, SOON_S_MAX)
    path.unlink()

    async def well() -> bool:
        return (await status(world.planet, "fra"))["stores"]["series"] == "ok"

    assert await until(well, 2 * SOON_S_MAX), "it is made anew, without a restart"
