"""The bytes of files: in the datacenter's object storage by their hash, and fetched from another where they are not.

An object without a row is what a crash between the two leaves: nobody can read it, and whoever puts the same bytes
again uses it.
"""

import hashlib
import logging
from collections.abc import Mapping
from typing import Protocol

from api.turns import Turns
from core.errors import LinkFailed, NotFound, PlanBError
from core.ids import Lane, lane_of
from stores.ports import ObjectStore

log = logging.getLogger(__name__)


class FileLink(Protocol):
    """Another datacenter, as a place to fetch from."""

    async def file(self, sha256: str) -> bytes | None:
        """What it has under this hash, unchecked; None where it has nothing. LinkFailed."""
        ...


class Files:
    """Of one process."""

    def __init__(self, objects: ObjectStore, links: Mapping[str, FileLink], names: Mapping[int, str]) -> None:
        """`names`: of all datacenters, by number."""
        self._objects = objects
        self._links = links
        self._names = names
        self._turns = Turns()
        self.fetched = 0
        """From other datacenters, by this process."""

    async def put(self, sha256: str, data: bytes) -> None:
        """Keeps the bytes that have this hash, durably. Repeatable."""
        await self._objects.put(_key(sha256), data)

    async def held(self, sha256: str) -> bytes | None:
        """What is here, whole; None where there is nothing, or something else."""
        try:
            data = await self._objects.get(_key(sha256))
        except NotFound:
            return None
        if hash_of(data) != sha256:
            log.warning("the object of file %s is damaged", sha256)
            return None
        return data

    async def get(self, sha256: str, made: int) -> bytes:
        """The bytes, from wherever they are; fetched ones are kept. `made`: the event that put them. NotFound where no
        datacenter has them; LinkFailed where one that may can't be reached; StoreUnavailable."""
        async with self._turns.of(sha256):
            data = await self.held(sha256)
            return data if data is not None else await self._fetched(sha256, made)

    async def _fetched(self, sha256: str, made: int) -> bytes:
        """The origin first: it has had them."""
        origin = self._names.get(Lane.of(lane_of(made)).dc, "")
        silent = []
        for name in sorted(self._links, key=lambda one: (one != origin, one)):
            try:
                data = await self._links[name].file(sha256)
            except LinkFailed as error:
                log.warning("file %s could not be fetched from %s: %s", sha256, name, error)
                silent.append(name)
                continue
            if data is None:
                continue
            if hash_of(data) != sha256:
                log.warning("what %s gave as file %s is something else", name, sha256)
                continue
            self.fetched += 1
            await self._keep(sha256, data)
            return data
        if silent:
            raise LinkFailed(f"{', '.join(silent)} may have the file, and can not be reached", retry_after_s=5)
        raise NotFound("no datacenter has the bytes of this file")

    async def _keep(self, sha256: str, data: bytes) -> None:
        """Who asks has them already: what fails here costs the next one a fetch."""
        try:
            await self._objects.put(_key(sha256), data)
        except PlanBError as error:
            log.warning("file %s was fetched and could not be kept: %s", sha256, error)


def hash_of(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def _key(sha256: str) -> str:
    return f"files/{sha256[:2]}/{sha256}"
