"""A datacenter whose hot state is in a cluster, under load, while nodes die, hang and hand slots over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio

from cli.planet import Planet, Site
from stores.adapters.cluster_map import SLOTS, slot_of
from tests.support.bad_days import Load, loaded, status
from tests.support.valkey_cluster import ValkeyCluster, cluster

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
ANSWER_S_MAX = 10.0


class ClusterPlanet(Planet):
    """One datacenter; its own hot server runs beside and holds nothing."""

    hot_url = ""

    def _write_settings(self, site: Site) -> None:
        super()._write_settings(site)
        text = site.settings.read_text()
        assert text.count("hot_url = ") == 1
        lines = [f'hot_url = "{self.hot_url}"' if line.startswith("hot_url") else line for line in text.splitlines()]
        site.settings.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, server_program: str) -> Iterator[ValkeyCluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), server_program, 3_000) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def planet(tmp_path_factory: pytest.TempPathFactory, nodes: ValkeyCluster) -> AsyncIterator[Planet]:
    ClusterPlanet.hot_url = nodes.url
    planet = ClusterPlanet(tmp_path_factory.mktemp("planet"), ("fra",))
    try:
        await planet.start()
        yield planet
    finally:
        await planet.stop()


async def away(load: Load, todo: Callable[[], None]) -> None:
    """Does it on a thread: the load goes on."""
    await asyncio.to_thread(todo)


def keys(nodes: ValkeyCluster) -> list[int]:
    found = [nodes.ask(server, "DBSIZE") for server in nodes.servers[:3]]
    return [size for size in found if isinstance(size, int)]


async def test_all_nodes_hold_their_part(planet: Planet, nodes: ValkeyCluster) -> None:
    async with loaded(planet, "cluster-calm"):
        pass
    marks = SLOTS // 3 + 1
    assert all(size > marks for size in keys(nodes)), keys(nodes)


async def test_a_node_that_is_killed_and_comes_back_empty_costs_an_epoch(planet: Planet, nodes: ValkeyCluster) -> None:
    before = (await status(planet, "fra"))["epoch"]
    server = nodes.owner_of((slot_of("dc") + SLOTS // 3) % SLOTS)
    async with loaded(planet, "cluster-killed") as (_, load, reader):
        server.kill()
        await load.hears("store_unavailable", "outcome_unknown")
        await away(load, server.start)
        await away(load, nodes.wait_ok)
    assert (await status(planet, "fra"))["epoch"] > before
    assert reader.client.stats.resets == 0, "nothing was trimmed: a cursor goes on over a new epoch"


async def test_a_node_that_hangs_is_waited_for(planet: Planet, nodes: ValkeyCluster) -> None:
    server = nodes.servers[1]
    async with loaded(planet, "cluster-hangs") as (_, load, _):
        server.pause()
        try:
            await load.hears("store_unavailable", "outcome_unknown")
        finally:
            server.resume()
    assert load.slowest_s < ANSWER_S_MAX


async def test_slots_that_are_handed_over_cost_no_epoch(planet: Planet, nodes: ValkeyCluster) -> None:
    before = (await status(planet, "fra"))["epoch"]
    async with loaded(planet, "cluster-moves") as (_, load, _):

        def move_some() -> None:
            home = slot_of("dc")
            for slot in (home, *range(100, 140)):
                source = nodes.owner_of(slot)
                nodes.move(slot, next(one for one in nodes.servers if one is not source))

        await away(load, move_some)
        await load.more()
    assert (await status(planet, "fra"))["epoch"] == before
