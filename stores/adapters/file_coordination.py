"""Coordination in a folder, for the processes of one machine: the embedded default.

    members/<session>     what it says of itself; locked (flock) by its process as long as the session lasts
    claims/<name>         the token of the last holder, and who that was
    datacenters/<number>  the map
    mutex                 locked by whoever reads or changes any of it

The kernel lets go of a process's locks when it dies, however it dies, and never before: nobody waits for a time to
pass, and a process that is frozen keeps what it has.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from core import limits
from core.errors import Corrupt, LeaseLost, StoreUnavailable
from stores.coordination import Datacenter, Held, Member, View, checked, datacenter_of, member_of, to_json

log = logging.getLogger(__name__)

T = TypeVar("T")
_NEW = ".new"
_TRY_S = 0.01


class FileCoordination:
    """Sessions end with `close`, or the process. The folder is made by the first call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locked: dict[str, int] = {}
        """Session -> the descriptor that keeps its lock."""

    async def open(self, member: Member, lease_ms: int) -> int | None:
        return await self._alone(lambda: self._open(member))

    async def renew(self, session: str) -> int | None:
        """Without a lock of the folder: looks whether the own file is still the one that is locked."""
        self._living(session)
        return None

    async def end(self, session: str) -> None:
        await self._alone(lambda: self._end(session))

    async def announce(self, member: Member) -> None:
        await self._alone(lambda: self._announce(member))

    async def take(self, session: str, name: str) -> Held:
        path = self._claim(name)
        return await self._alone(lambda: self._take(session, name, path))

    async def give(self, session: str, name: str) -> None:
        path = self._claim(name)
        await self._alone(lambda: self._give(session, name, path))

    async def chart(self, datacenter: Datacenter) -> Datacenter:
        return await self._alone(lambda: self._chart(datacenter))

    async def rechart(self, datacenter: Datacenter) -> None:
        await self._alone(lambda: _replace(self._entry(datacenter.number), to_json(datacenter)))

    async def unchart(self, number: int) -> None:
        await self._alone(lambda: self._entry(number).unlink(missing_ok=True))

    async def look(self) -> View:
        return await self._alone(self._look)

    async def watch(self) -> AsyncIterator[View]:
        seen: View | None = None
        troubled = False
        while True:
            try:
                view = await self.look()
            except (StoreUnavailable, Corrupt) as error:
                if not troubled:
                    log.warning("coordination can't be watched: %s", error)
                troubled = True
            else:
                troubled = False
                if view != seen:
                    seen = view
                    yield view
            await asyncio.sleep(limits.COORDINATION_LOOK_MS / 1_000)  # a period: locks tell nobody that they are gone

    async def close(self) -> None:
        for session in list(self._locked):
            os.close(self._locked.pop(session))

    # -- with the folder's lock

    def _open(self, member: Member) -> None:
        path = self._member(member.id)
        if member.id not in self._locked:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                os.close(descriptor)
                raise
            self._locked[member.id] = descriptor
        self._announce(member)

    def _announce(self, member: Member) -> None:
        self._living(member.id)
        data = to_json(member)
        os.pwrite(self._locked[member.id], data, 0)
        os.ftruncate(self._locked[member.id], len(data))

    def _living(self, session: str) -> None:
        descriptor = self._locked.get(session)
        try:
            if descriptor is not None and os.path.samestat(os.stat(self._member(session)), os.fstat(descriptor)):
                return
        except FileNotFoundError:
            pass
        if descriptor is not None:
            os.close(self._locked.pop(session))
        raise LeaseLost(f"the session is over: its file in {self._folder} is gone")

    def _end(self, session: str) -> None:
        descriptor = self._locked.pop(session, None)
        if descriptor is not None:
            self._member(session).unlink(missing_ok=True)
            os.close(descriptor)

    def _take(self, session: str, name: str, path: Path) -> Held:
        self._living(session)
        token, holder = self._read(path)
        if holder is None or self._alive(holder.id) is None:
            token, holder = token + 1, member_of(self._content(session), session)
            _replace(path, json.dumps({"token": token, "member": holder._asdict()}).encode())
        return Held(name, token, holder)

    def _give(self, session: str, name: str, path: Path) -> None:
        token, holder = self._read(path)
        if holder is not None and holder.id == session:
            _replace(path, json.dumps({"token": token, "member": None}).encode())

    def _chart(self, datacenter: Datacenter) -> Datacenter:
        path = self._entry(datacenter.number)
        if not path.exists():
            _replace(path, to_json(datacenter))
        return datacenter_of(path.read_bytes(), str(path))

    def _look(self) -> View:
        members = {}
        for path in _files(self._folder / "members"):
            content = self._alive(path.name)
            if content is None:
                path.unlink(missing_ok=True)  # of a process that died
            else:
                members[path.name] = member_of(content, str(path))
        held = {}
        for path in _files(self._folder / "claims"):
            token, holder = self._read(path)
            if holder is not None and holder.id in members:
                name = path.name.replace(":", "/")
                held[name] = Held(name, token, holder)
        entries = [datacenter_of(path.read_bytes(), str(path)) for path in _files(self._folder / "datacenters")]
        return View(held, members, {entry.number: entry for entry in entries})

    def _alive(self, session: str) -> bytes | None:
        """What a session says of itself, as long as its process lives."""
        if session in self._locked:
            return self._content(session)
        try:
            descriptor = os.open(self._member(session), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        finally:
            os.close(descriptor)
        return None

    def _content(self, session: str) -> bytes:
        descriptor = self._locked[session]
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    @staticmethod
    def _read(path: Path) -> tuple[int, Member | None]:
        """The last token, and who holds it; (0, None) for a claim that nobody ever held."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return 0, None
        try:
            found = json.loads(data)
            token, holder = found["token"], found["member"]
            if type(token) is not int:
                raise TypeError(token)
        except (ValueError, TypeError, KeyError) as error:
            raise Corrupt(f"coordination: {path} is not what Plan B wrote", private=repr(error)) from error
        return token, None if holder is None else member_of(json.dumps(holder).encode(), str(path))

    # -- the folder

    def _member(self, session: str) -> Path:
        return self._folder / "members" / session

    def _claim(self, name: str) -> Path:
        return self._folder / "claims" / checked(name).replace("/", ":")

    def _entry(self, number: int) -> Path:
        return self._folder / "datacenters" / str(number)

    async def _alone(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(self._locked_out, work)

    def _locked_out(self, work: Callable[[], T]) -> T:
        try:
            for part in ("members", "claims", "datacenters"):
                (self._folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._mutex():
                return work()
        except OSError as error:
            why = error.strerror or str(error)
            raise StoreUnavailable(f"the coordination folder {self._folder} is not usable: {why}") from error

    @contextlib.contextmanager
    def _mutex(self) -> Iterator[None]:
        """flock can't be asked to wait for so long only."""
        deadline = time.monotonic() + limits.COORDINATION_CALL_MS_MAX / 1_000
        with (self._folder / "mutex").open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StoreUnavailable(
                            f"somebody has kept {self._folder / 'mutex'} locked for"
                            f" {limits.COORDINATION_CALL_MS_MAX / 1_000:.0f} s: is a process frozen?"
                        ) from None
                    time.sleep(_TRY_S)
            yield


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.endswith(_NEW))


def _replace(path: Path, data: bytes) -> None:
    """All of it or nothing, and durable: tokens never go back, also not by a power cut."""
    new = path.with_name(path.name + _NEW)
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
