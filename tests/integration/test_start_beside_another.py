"""A process that starts while another of its datacenter is still at work: it was frozen, and taken for dead."""

from types import SimpleNamespace
from typing import Any

from cli.datacenter import OPENED, Datacenter
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

    starting = object.__new__(Datacenter)
    starting.settings = SimpleNamespace(dc=SimpleNamespace(number=1))
    starting.relational, starting.messages, starting.log = dc.relational, dc.messages, dc.log
    assert await starting._incarnation({}, Archive()) == incarnation
    await dc.stop()
