"""A short run of the hostile clients; the long one is `python -m tests.fuzz`."""

import os
from pathlib import Path

import pytest

from tests.fuzz.campaign import Campaign

REQUESTS = int(os.environ.get("PLANB_FUZZ_REQUESTS", "15000"))
SECONDS = float(os.environ.get("PLANB_FUZZ_SECONDS", "25"))


@pytest.mark.e2e
@pytest.mark.timeout(300)
async def test_hostile_clients_of_both_listeners_reach_nothing_that_they_must_not(tmp_path: Path) -> None:
    report = (await Campaign(tmp_path, seed=1, requests=REQUESTS, seconds=SECONDS).run()).document()
    assert report["findings"] == []
    assert report["server_errors"] == 0
    # It was no run at nothing: right requests were answered, and each kind of hostile one refused.
    assert report["acknowledged_writes"] > 0 and report["ordinary"]["acknowledged"] > 0
    assert {"101", "200", "201", "400", "401", "403", "404", "409"} <= report["statuses"].keys()
    assert {"odd shapes", "streams", "POST /sys/v1/replay", "POST /sys/v1/pull"} <= report["routes"].keys()
