"""Three datacenters as real processes, clients that write down all they do, and one fault after the other.

PLANB_SEED chooses another order, PLANB_FAULTS how many."""

import os
from pathlib import Path

import pytest

from tests.faults.kinds import KINDS
from tests.faults.run import live

SEED = os.environ.get("PLANB_SEED", "1")
FAULTS = int(os.environ.get("PLANB_FAULTS", "30"))
FAULT_S_MAX = 15
"""One fault with its pause, and the recovery that the next one meets."""


@pytest.mark.e2e
@pytest.mark.timeout(300 + FAULT_S_MAX * FAULTS)
async def test_what_clients_were_promised_holds_whatever_fails(tmp_path: Path) -> None:
    judged = await live(tmp_path, SEED, FAULTS)
    print(judged)
    assert judged.violations == []
    assert judged.writes and judged.reads and judged.recalls
    silent = [kind for kind, times in judged.fired.items() if not times]
    assert len(KINDS) > FAULTS or not silent, f"kinds that never fired: {silent}"
