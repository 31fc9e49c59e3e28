"""A process that starts while another of its datacenter is still at work: it was frozen, and taken for dead."""

from typing import Any

from cli.writer_lane import OPENED, WriterLane
from core.ids import Lane
from replicator.bootstrap import META_NAME
from tests.support.dc import OneDc


async def test_what_another_process_writes_during_the_start_is_no_lost_end():
    """Peers tell of it, and it stands in the log: read before they were asked, the log would seem to lack it."""
    dc = await OneDc().start()
    await dc.do("user.upsert", "sys", user="Uada", name="Ada")
    incarnation = Lane.of(dc.lane).incarnation
    await dc.relational.set_meta(META_NAME, str(incarnation))
    await dc.relational.set_meta(OPENED, str(incarnation))

    class Archive:
        async def tops(self) -> dict[int, Any]:
            await dc.do("user.upsert", "sys", user="Ubob", name="Bob")
            return await dc.log.tops()

    lane = WriterLane(1, dc.log, dc.relational, dc.messages)
    await lane.choose({"archive": Archive()}, lambda id: True)
    assert lane.incarnation == incarnation
    await dc.stop()
