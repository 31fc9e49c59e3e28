"""A process that starts while another of its datacenter is still at work: it was frozen, and taken for dead."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from cli.writer_lane import OPENED, WriterLane
from core.errors import StoreUnavailable
from core.ids import Lane
from events.ports import Top
from replicator.bootstrap import META_NAME
from replicator.incarnations import Incarnations
from stores.adapters.memory_objects import MemoryObjects
from tests.support.dc import OneDc


async def free(worker: int) -> bool:
    return True


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

    lane = WriterLane(1, dc.log, dc.relational, dc.messages, Incarnations(MemoryObjects(), 1))
    await lane.choose({"archive": Archive()}, lambda id: True, free)
    assert lane.incarnation == incarnation
    await dc.stop()


class Shut(MemoryObjects):
    """A bucket that can't be listed."""

    async def _none(self) -> AsyncIterator[str]:
        raise StoreUnavailable("the bucket does not answer")
        yield

    def list(self, prefix: str) -> AsyncIterator[str]:
        return self._none()


async def opened(objects: MemoryObjects, dc: OneDc) -> int:
    """The incarnation that a process on these disks opens; its first record is not written."""
    lane = WriterLane(1, dc.log, dc.relational, dc.messages, Incarnations(objects, 1))
    await lane.choose({}, lambda id: True, free)

    async def nothing(top: Top) -> None:
        pass

    await lane.taken(await dc.log.open(lane.number, b"process"), b"process", nothing)
    return lane.incarnation


async def test_what_burnt_before_anybody_heard_of_it_is_not_opened_again():
    """Nobody holds a record of it, neither a peer nor the archive: object storage alone remembers."""
    objects = MemoryObjects()
    assert [await opened(objects, OneDc()) for _ in range(3)] == [0, 1, 2]


async def test_the_same_disks_open_the_same_incarnation_also_without_object_storage():
    objects, dc = MemoryObjects(), await OneDc().start()
    await dc.relational.set_meta(META_NAME, "0")
    await dc.relational.set_meta(OPENED, "0")
    assert await opened(objects, dc) == 0
    assert await opened(Shut(), dc) == 0
    await dc.stop()


async def test_empty_disks_do_not_begin_without_object_storage():
    with pytest.raises(StoreUnavailable):
        await opened(Shut(), OneDc())
