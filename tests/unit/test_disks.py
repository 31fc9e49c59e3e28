"""The room on the disks of a datacenter's folders."""

import asyncio
import contextlib
import os
import shutil
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.disks import Disks
from cli.waiting import until

SOON_S = 10.0


@contextlib.asynccontextmanager
async def watched(**folders: Path) -> AsyncIterator[Disks]:
    """Disks that have been looked at once."""
    disks = Disks(folders)
    assert disks.shown() == {} and disks.free() == {}, "nothing is known before the first look"
    task = asyncio.create_task(disks.run())

    async def looked() -> bool:
        return bool(disks.shown())

    try:
        assert await until(looked, SOON_S)
        yield disks
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_each_folder_has_the_room_of_its_disk(tmp_path: Path) -> None:
    async with watched(data_dir=tmp_path) as disks:
        found = disks.shown()["data_dir"]
        assert (found["folder"], found["error"]) == (str(tmp_path), "")
        assert found["bytes"] == shutil.disk_usage(tmp_path).total
        assert 0 < found["free_bytes"] == disks.free()["data_dir"] <= found["bytes"]


async def test_a_folder_that_is_gone_is_said_to_be_gone_and_hides_no_other(tmp_path: Path) -> None:
    async with watched(objects_dir=tmp_path / "unmounted", data_dir=tmp_path) as disks:
        assert disks.shown()["objects_dir"]["error"] == "No such file or directory"
        assert disks.free().keys() == {"data_dir"}


async def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was seen last is shown."""
    async with watched(data_dir=tmp_path) as disks:
        before = disks.shown()
        hung, released = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def statvfs(folder: Path) -> os.statvfs_result:
            loop.call_soon_threadsafe(hung.set)
            released.wait(SOON_S)
            raise OSError(5, "after all")

        monkeypatch.setattr("cli.disks.os.statvfs", statvfs)
        try:
            await asyncio.wait_for(hung.wait(), SOON_S)
            assert disks.shown() == before
        finally:
            released.set()
