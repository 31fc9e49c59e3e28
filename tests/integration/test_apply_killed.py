"""A real process over SQLite and Valkey, killed with -9 at moments that nobody chose."""

import asyncio
import os
import pickle
import signal
import sys
from pathlib import Path
from random import Random

import pytest

from tests.support.crash import difference
from tests.support.crash_site import Site, outcome, random_story
from tests.support.valkey import ValkeyFactory, ValkeyServer
from tests.support.valkey_cluster import ValkeyCluster

SEED, STEPS = 500, 600
KILLS = 4
ROOT = Path(__file__).parents[2]


@pytest.mark.integration
@pytest.mark.slow
async def test_killed_again_and_again_it_ends_as_one_that_was_not(tmp_path: Path, valkey_server: ValkeyFactory) -> None:
    await ends_as_wanted(tmp_path, valkey_server(appendfsync="always"), valkey_server().url)


@pytest.mark.integration
@pytest.mark.slow
async def test_it_does_so_where_hot_state_is_in_a_cluster(
    tmp_path: Path, valkey_server: ValkeyFactory, shared_valkey_cluster: ValkeyCluster
) -> None:
    """So it dies between the parts of a batch, too."""
    await ends_as_wanted(tmp_path, valkey_server(appendfsync="always"), shared_valkey_cluster.url)


async def ends_as_wanted(tmp_path: Path, log: ValkeyServer, hot_url: str) -> None:
    story = random_story(SEED, STEPS, 3)
    (tmp_path / "story").write_bytes(pickle.dumps(story))
    wanted = await outcome(story, Site(), any_order=True)
    arguments = ["-m", "tests.support.crash_child", str(tmp_path), log.url, hot_url]
    random = Random()
    killed = 0
    async with asyncio.timeout(90):
        while not (tmp_path / "state").exists():
            child = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert child.stdout is not None
            try:
                assert await child.stdout.readline() == b"recovered\n"
                if killed < KILLS:
                    await asyncio.sleep(random.uniform(0, 0.25))  # the moment of the kill, not a condition
                else:
                    await child.wait()
            finally:
                if child.returncode is None:
                    child.send_signal(signal.SIGKILL)
                    killed += await child.wait() == -signal.SIGKILL
    assert killed, "it was always faster"
    assert not difference(wanted, pickle.loads((tmp_path / "state").read_bytes()))
