"""The ObjectStore contract over its adapters, and what a disk can do to the directory."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from core import limits
from core.errors import ConfigError, Corrupt, Invalid, NotFound, StoreUnavailable
from stores.adapters.directory_objects import DirectoryObjects
from stores.adapters.memory_objects import MemoryObjects
from stores.ports import ObjectStore
from tests.contract.objects import ObjectStoreContract, listed


async def folders_are_refused(store: ObjectStore) -> None:
    await store.put("folder/k", b"")
    for key in ("folder", "folder/k/deeper"):
        for write in (store.put(key, b""), store.put_new(key, b"")):
            with pytest.raises(Invalid, match=key):
                await write


class TestMemoryObjects(ObjectStoreContract):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return MemoryObjects()

    async def test_a_key_that_is_a_folder_of_another_is_refused(self, store: ObjectStore) -> None:
        """It is what simulations use: whoever writes so is noticed."""
        await folders_are_refused(store)


class TestDirectoryObjects(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return DirectoryObjects(tmp_path / "objects")

    async def test_another_process_sees_the_same_objects(self, tmp_path: Path) -> None:
        await DirectoryObjects(tmp_path).put("a/b", b"1")
        other = DirectoryObjects(tmp_path)
        assert await other.get("a/b") == b"1"
        assert await other.put_new("a/b", b"2") is False

    async def test_a_key_that_is_a_folder_of_another_is_refused(self, store: ObjectStore) -> None:
        await folders_are_refused(store)

    async def test_a_file_that_is_too_long_is_none_of_ours(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = DirectoryObjects(tmp_path)
        await store.put("k", b"123456789")
        monkeypatch.setattr(limits, "OBJECT_BYTES_MAX", 8)
        with pytest.raises(Corrupt, match="object k has 9 bytes"):
            await store.get("k")

    async def test_a_write_that_did_not_finish_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = DirectoryObjects(tmp_path)
        await store.put("k", b"old")

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            for write in (store.put("k", b"new"), store.put("deep/new/k", b""), store.put_new("k2", b"")):
                with pytest.raises(StoreUnavailable, match=r"object \S*k2? in .*: No space left"):
                    await write
        assert await store.get("k") == b"old"
        assert await listed(store) == ["k"]
        assert list((tmp_path / ".tmp").iterdir()) == []

    async def test_an_unreadable_object_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = DirectoryObjects(tmp_path)
        await store.put("a/k", b"x")

        def broken(self: Path) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        monkeypatch.setattr(Path, "read_bytes", broken)
        with pytest.raises(StoreUnavailable, match=r"object a/k in .*: Input/output error"):
            await store.get("a/k")

    async def test_a_folder_that_vanished_is_not_an_empty_store(self, tmp_path: Path) -> None:
        root = tmp_path / "mounted"
        store = DirectoryObjects(root)
        await store.put("a/k", b"x")
        root.rename(tmp_path / "elsewhere")
        for use in (store.get("a/k"), store.exists("a/k"), store.delete("a/k"), store.put("a/k", b""), listed(store)):
            with pytest.raises(StoreUnavailable, match="mounted"):
                await use
        (tmp_path / "elsewhere").rename(root)
        assert await store.get("a/k") == b"x"

    async def test_a_folder_removed_under_a_writer_is_made_again(self, tmp_path: Path) -> None:
        store = DirectoryObjects(tmp_path)
        await store.put("a/k", b"x")
        (tmp_path / "a" / "k").unlink()
        (tmp_path / "a").rmdir()
        with pytest.raises(StoreUnavailable):
            await store.put("a/k", b"y")
        await store.put("a/k", b"y")
        assert await store.get("a/k") == b"y"

    async def test_an_object_is_renamed_only_after_its_bytes_are_synced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Order on disk: bytes, then the name, then the folder that holds the name."""
        seen: list[str] = []
        fsync, replace, link = os.fsync, os.replace, os.link

        def spy_fsync(fd: int) -> None:
            seen.append("sync " + ("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "bytes"))
            fsync(fd)

        store = DirectoryObjects(tmp_path)
        monkeypatch.setattr(os, "fsync", spy_fsync)
        monkeypatch.setattr(os, "replace", lambda a, b: (seen.append("name"), replace(a, b)))
        monkeypatch.setattr(os, "link", lambda a, b: (seen.append("name"), link(a, b)))
        await store.put("k", b"x")
        await store.put_new("k2", b"x")
        assert seen == ["sync bytes", "name", "sync folder"] * 2
        seen.clear()
        await store.put("new/folder/k", b"x")
        assert seen == ["sync bytes", "sync folder", "sync folder", "name", "sync folder"]
        seen.clear()
        assert await store.put_new("k2", b"y") is False
        assert seen == ["sync folder"]

    async def test_files_of_writers_that_died_are_swept(self, tmp_path: Path) -> None:
        DirectoryObjects(tmp_path)
        old, fresh = tmp_path / ".tmp" / "old", tmp_path / ".tmp" / "fresh"
        old.write_bytes(b"")
        fresh.write_bytes(b"")
        os.utime(old, (0, 0))
        store = DirectoryObjects(tmp_path)
        assert not old.exists()
        assert fresh.exists()
        assert await listed(store) == []

    async def test_an_unusable_root_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StoreUnavailable, match="file/objects"):
            DirectoryObjects(tmp_path / "file" / "objects")

    async def test_a_key_cannot_leave_the_root_by_a_listing(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"")
        store = DirectoryObjects(tmp_path / "root")
        assert await listed(store, "../") == []
        assert await listed(store, "../secret") == []
        with pytest.raises(NotFound):
            await store.get("secret")

    async def test_a_missing_root_is_not_made_for_who_only_looks(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        for root in (tmp_path / "absent", tmp_path / "file", tmp_path / "file" / "objects"):
            with pytest.raises(ConfigError, match=f"no object folder {root}"):
                DirectoryObjects(root, create=False)
        assert os.listdir(tmp_path) == ["file"]

    async def test_who_only_looks_writes_nothing_into_a_root_that_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"1")
        store = DirectoryObjects(tmp_path, create=False)
        assert await listed(store) == ["a"]
        with pytest.raises(NotFound):
            await store.get("b")
        assert os.listdir(tmp_path) == ["a"]
        await store.put("b", b"2")
        assert await listed(store) == ["a", "b"]

    async def test_a_root_that_vanishes_under_who_only_looks_is_named(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        await DirectoryObjects(root).put("a", b"1")
        store = DirectoryObjects(root, create=False)
        shutil.rmtree(root / ".tmp")  # an empty mount point has none either
        with pytest.raises(StoreUnavailable, match="vanished"):
            await store.get("b")
