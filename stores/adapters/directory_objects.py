"""An ObjectStore in a directory: the embedded default, and for installations whose objects lie on a mounted disk.

An object is a file whose path is its key. A write goes to a file in `.tmp`, is synced, then renamed (`put`) or hard
linked (`put_new`) to its name, and the folder is synced: after a power cut there is the whole object or none. What
the disk damages later is found by the readers' checksums. After "Files are hard" (Pillai et al., OSDI 2014).
"""

import asyncio
import contextlib
import errno
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from core import limits
from core.cause import cause_of
from core.errors import ConfigError, Corrupt, Invalid, NotFound, StoreUnavailable
from stores.adapters.object_keys import checked, checked_size, is_key

MARK = ".tmp"
"""Where writes begin; it says that objects are kept here."""
_LIST_PAGE = 1_000
_ABANDONED_S = 86_400.0
"""A file in `.tmp` that is this much older than a new one belongs to a writer that died."""


class DirectoryObjects:
    """Objects below `root`. Should it vanish (a disk that was unmounted), every call raises StoreUnavailable instead of
    showing an empty store. Several processes may share it."""

    def __init__(self, root: Path, *, create: bool = True) -> None:
        """`create`: makes `root` when it is missing, for whoever is the first to write there. Without it a missing
        folder is a ConfigError, and nothing is written before the first `put`: the disk may be a read-only one."""
        self._root = root
        self._mark = root / MARK
        """While it is there, so are the objects."""
        self._synced: set[Path] = set()
        try:
            if create:
                self._mark.mkdir(parents=True, exist_ok=True)
                self._sweep()
            else:
                os.scandir(root).close()
                self._mark = self._mark if self._mark.is_dir() else root
        except OSError as error:
            if not create and isinstance(error, FileNotFoundError | NotADirectoryError):
                raise ConfigError(
                    f"there is no object folder {root}: is the setting right, and the disk mounted?"
                ) from error
            raise StoreUnavailable(f"the object folder {root} is not usable: {error.strerror}") from error

    async def put(self, key: str, data: bytes) -> None:
        await asyncio.to_thread(self._put, checked(key), checked_size(key, data), True)

    async def put_new(self, key: str, data: bytes) -> bool:
        return await asyncio.to_thread(self._put, checked(key), checked_size(key, data), False)

    async def get(self, key: str) -> bytes:
        return await asyncio.to_thread(self._get, checked(key))

    async def exists(self, key: str) -> bool:
        return await asyncio.to_thread(self._exists, checked(key))

    async def list(self, prefix: str) -> AsyncIterator[str]:
        folder = prefix.rpartition("/")[0]
        if folder and not is_key(folder):
            return  # no key begins like this, and it might lead out of the root
        keys = self._walk(folder, prefix)
        while page := await asyncio.to_thread(lambda: list(itertools.islice(keys, _LIST_PAGE))):
            for key in page:
                yield key

    async def delete(self, key: str) -> None:
        await asyncio.to_thread(self._delete, checked(key))

    # -- on a thread

    def _put(self, key: str, data: bytes, replace: bool) -> bool:
        path = self._root / key
        with self._errors(key):
            if not replace and path.is_file():
                _sync(path.parent)  # its writer may not have come to this yet, and we promise that it is durable
                return False
            if self._mark == self._root:
                (self._root / MARK).mkdir(exist_ok=True)
            fd, name = tempfile.mkstemp(dir=self._root / MARK)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                self._make_folder(path.parent)
                written = True
                if replace:
                    os.replace(name, path)
                else:
                    try:
                        os.link(name, path)
                    except FileExistsError:
                        if path.is_dir():
                            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path)) from None
                        written = False
                _sync(path.parent)
                return written
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)

    def _get(self, key: str) -> bytes:
        with self._errors(key):
            try:
                size = (self._root / key).stat().st_size
                if size > limits.OBJECT_BYTES_MAX:
                    raise Corrupt(f"object {key} has {size} bytes; it is none of ours", object=key)
                return (self._root / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._check_root(key)
                raise NotFound(f"there is no object {key}") from None

    def _exists(self, key: str) -> bool:
        with self._errors(key):
            try:
                (self._root / key).stat()
            except (FileNotFoundError, NotADirectoryError):
                self._check_root(key)
                return False
            return (self._root / key).is_file()

    def _delete(self, key: str) -> None:
        with self._errors(key):
            try:
                os.unlink(self._root / key)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._check_root(key)
                return
            _sync((self._root / key).parent)

    def _walk(self, folder: str, prefix: str) -> Iterator[str]:
        """Keys below a folder in order. A folder sorts as its name with "/", as it does in the keys."""
        with self._errors(folder or prefix):
            try:
                with os.scandir(self._root / folder) as found:
                    entries = sorted(
                        entry.name + "/" if entry.is_dir() else entry.name
                        for entry in found
                        if not entry.name.startswith(".")
                    )
            except (FileNotFoundError, NotADirectoryError):
                self._check_root(folder)
                return
        for name in entries:
            key = f"{folder}/{name}" if folder else name
            if not key.endswith("/"):
                if key.startswith(prefix):
                    yield key
            elif key.startswith(prefix) or prefix.startswith(key):
                yield from self._walk(key[:-1], prefix)

    def _make_folder(self, folder: Path) -> None:
        """Creates it, durably: each new folder's name is synced in its parent."""
        if folder in self._synced or folder == self._root:
            return
        self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)
        if len(self._synced) >= _LIST_PAGE:
            self._synced.clear()
        self._synced.add(folder)

    def _check_root(self, key: str) -> None:
        if not self._mark.is_dir():
            raise StoreUnavailable(f"object {key}: the object folder {self._root} has vanished")

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except (NotADirectoryError, IsADirectoryError, FileExistsError):
            raise Invalid(f"{key!r} is a folder of another key, or lies below one") from None
        except OSError as error:
            self._synced.clear()  # a folder may have been removed under us
            raise StoreUnavailable(f"object {key} in {self._root}: {cause_of(error)}") from error

    def _sweep(self) -> None:
        """Removes what writers that died have left. Ages are compared within the disk's own clock."""
        fd, name = tempfile.mkstemp(dir=self._root / MARK)
        now = os.fstat(fd).st_mtime
        os.close(fd)
        os.unlink(name)
        for entry in os.scandir(self._root / MARK):
            with contextlib.suppress(FileNotFoundError):  # another process sweeps too
                if now - entry.stat().st_mtime > _ABANDONED_S:
                    os.unlink(entry.path)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
