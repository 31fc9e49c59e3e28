"""What an event log costs its writer and its readers: `python -m bench.event_logs URL …`, for servers that are up.

redis://… is a Valkey; pulsar://host:port,http://host:port a broker and its admin API. All in one run, so that they can
be compared; JSON on stdout.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import uvloop

from core.ids import Lane, make_id
from core.system import entropy
from events.adapters.pulsar import PulsarLog
from events.adapters.valkey import ValkeyLog
from events.ports import EventLog, Top
from events.record import KIND_EVENT, Record, chain

DC = 1
BODY_BYTES = 300
PHASE_S = 3.0
PAGE = 1_000
SIZES = (1, 20, 200)
"""Records of a group commit."""


async def connected(url: str, name: str) -> EventLog:
    """The log at `url`, in a place of its own that others do not use."""
    if url.startswith("redis"):
        return await ValkeyLog.connect(url, prefix=f"{{{name}}}")
    broker, _, admin = url.partition(",")
    return await PulsarLog.connect(broker, admin, DC, tenant=name)


def group(top: Top, lane: int, size: int) -> list[Record]:
    """Records that follow."""
    records = []
    for _ in range(size):
        seq, id = top.seq + 1, make_id((1 << 46) + top.seq, lane)
        body = entropy(BODY_BYTES)
        records.append(Record(lane, seq, id, KIND_EVENT, body, chain(top.hash, lane, seq, id, KIND_EVENT, body), b""))
        top = Top.of(records[-1])
    return records


async def appends(log: EventLog, lane: int, size: int) -> dict[str, Any]:
    """One group after the other, as a lane's writer does."""
    top = await log.open(lane, b"bench")
    took_s: list[float] = []
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    while time.perf_counter() < begun_s + PHASE_S:
        records = group(top, lane, size)
        at_s = time.perf_counter()
        await log.append(lane, b"bench", records)
        took_s.append(time.perf_counter() - at_s)
        top = Top.of(records[-1])
    took_s.sort()
    return {
        "records": top.seq,
        "records_per_s": round(top.seq / sum(took_s)),
        "p50_ms": round(1000 * took_s[len(took_s) // 2], 2),
        "p99_ms": round(1000 * took_s[len(took_s) * 99 // 100], 2),
        "cpu_us_per_group": round(1e6 * (time.process_time() - cpu_s) / len(took_s)),
    }


async def reads(log: EventLog, lane: int) -> int:
    """Records per second, from the beginning."""
    after, begun_s = 0, time.perf_counter()
    while page := await log.read(lane, after, PAGE):
        after = page[-1].seq
    return round(after / (time.perf_counter() - begun_s))


async def measure(url: str) -> dict[str, Any]:
    """Of one log."""
    name = f"bench-{os.getpid()}-{time.time_ns()}"
    log, found = await connected(url, name), {}
    for worker, size in enumerate(SIZES):
        lane = Lane(DC, 0, worker).number
        found[f"groups of {size}"] = await appends(log, lane, size)
        reader = await connected(url, name)  # it remembers nothing
        found[f"groups of {size}"]["read_per_s"] = await reads(reader, lane)
        await reader.close()
    await log.close()
    return found


async def main(urls: Sequence[str]) -> None:
    print(json.dumps({url: await measure(url) for url in urls}, indent=1))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
