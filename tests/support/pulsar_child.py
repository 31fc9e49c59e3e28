"""A process that appends to a lane until it may not any more; says on stdout what it was told.

python -m tests.support.pulsar_child BROKER_URL ADMIN_URL TENANT LANE
"""

import asyncio
import sys

from core.errors import LaneLost, PlanBError
from events.adapters.pulsar import PulsarLog
from events.ports import Top
from tests.support.lanes import records_after

OWNER = b"a child"


async def main(broker_url: str, admin_url: str, tenant: str, lane: int) -> None:
    log = await PulsarLog.connect(broker_url, admin_url, 1, tenant=tenant)
    top = await log.open(lane, OWNER)
    print("open", top.seq, flush=True)
    while True:
        records = records_after(top, lane, 3, "child")
        try:
            await log.append(lane, OWNER, records)
        except LaneLost:
            print("lost", top.seq, flush=True)
            return
        except PlanBError as error:
            print(error.code, top.seq, flush=True)
            continue
        top = Top.of(records[-1])
        print("ok", top.seq, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
