"""Active-active masters are left different by the conflict test, Plan B's datacenters are not. PLANB_KEYS: how many."""

import os
from pathlib import Path

import pytest

from tests.faults.comparison import datacenters, masters
from tests.support.valkey import ValkeyFactory

KEYS = int(os.environ.get("PLANB_KEYS", "100"))


@pytest.mark.integration
async def test_two_masters_that_are_sent_each_others_writes_end_different(valkey_server: ValkeyFactory) -> None:
    found = await masters(valkey_server, KEYS, "1")
    assert found.keys == KEYS
    assert found.different > KEYS / 2


@pytest.mark.e2e
@pytest.mark.timeout(300 + KEYS)
async def test_two_datacenters_end_equal_after_the_same_writes_and_the_same_cut(tmp_path: Path) -> None:
    found = await datacenters(tmp_path, KEYS, "1")
    assert (found.keys, found.writes) == (KEYS, 6 * KEYS)
    assert found.apart
    assert found.different == 0
