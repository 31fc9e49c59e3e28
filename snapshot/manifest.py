"""The manifest: what a snapshot consists of. It is written last and never changed; without one there is no snapshot.

`snapshots/<id>/manifest.json`; the format is described in docs/snapshots.md.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import msgspec

from core import ids
from core.errors import Corrupt, NotFound
from core.unreadable import UNREADABLE
from events.ports import Top
from stores.ports import ObjectStore

FORMAT = 1
PREFIX = "snapshots/"
_NAME = "/manifest.json"

Progress = Callable[[str, int, int], None]
"""Told what is going on: (stage, done, total); total 0 = not known. Must not raise."""


def silent(stage: str, done: int, total: int) -> None:
    """The Progress of someone who does not look."""


class Site(NamedTuple):
    """Which DC a snapshot is made of."""

    world: str
    dc: str
    number: int
    incarnation: int
    epoch: int


LaneNumber = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Hash = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One place of a lane. The id is a string of digits and the hash is hex: JSON readers are not all exact."""

    seq: Count
    id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,19}\Z")]
    hash: Hash

    def __post_init__(self) -> None:
        if int(self.id) > ids.ID_MAX:
            raise ValueError("not an id")

    def top(self) -> Top:
        return Top(self.seq, int(self.id), bytes.fromhex(self.hash))

    @classmethod
    def of(cls, top: Top) -> "Place":
        return cls(top.seq, str(top.id), top.hash.hex())


class Chunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One object `chunks/<hash>`; the hash is BLAKE2b-256 of the object's bytes."""

    hash: Hash
    rows: Count
    bytes: Count
    raw_bytes: Count


class TableCopy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One table's rows, in the order of the chunks."""

    rows: Count
    bytes: Count
    chunks: list[Chunk]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of a snapshot. `f0`: every event at or below is in the rows; `f1`: no event above is."""

    format: int
    id: str
    world: str
    dc: str
    number: int
    incarnation: int
    epoch: int
    created_ms: int
    took_ms: int
    f0: dict[LaneNumber, Place]
    f1: dict[LaneNumber, Place]
    tables: dict[str, TableCopy]
    encryption: None = None
    """Room for it: chunks of this format are not encrypted."""
    base: None = None
    """Room for it: a snapshot of this format is whole."""
    checksum: str = ""
    """BLAKE2b-256 of the canonical encoding with this field empty."""

    @property
    def key(self) -> str:
        return key_of(self.id)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    @property
    def bytes(self) -> int:
        return sum(table.bytes for table in self.tables.values())

    def chunks(self) -> dict[str, Chunk]:
        """All different chunks by hash."""
        return {chunk.hash: chunk for table in self.tables.values() for chunk in table.chunks}


def key_of(snapshot: str) -> str:
    return f"{PREFIX}{snapshot}{_NAME}"


def id_at(created_ms: int, dc: str) -> str:
    """UTC time and the DC's name: the order of ids is the order of time."""
    time = datetime.fromtimestamp(created_ms / 1000, UTC)
    return f"{time:%Y%m%dT%H%M%S}.{created_ms % 1000:03d}Z-{dc}"


def encode_manifest(manifest: Manifest) -> bytes:
    """Its JSON with the checksum filled in, for people to read too."""
    return msgspec.json.format(msgspec.json.encode(_sealed(manifest)), indent=1)


class _Version(msgspec.Struct):
    """What every format has, so that a reader can tell another version from damage."""

    format: int


def decode_manifest(key: str, data: bytes) -> Manifest:
    """Corrupt, naming the object, for what is damaged or of another format."""
    try:
        version = msgspec.json.decode(data, type=_Version).format
    except msgspec.ValidationError as error:
        raise _corrupt(key, "JSON, but no manifest", error) from error
    except UNREADABLE as error:
        ends = data.rstrip().endswith(b"}")
        what = "not JSON" if ends else f"cut short: it has {len(data):,} bytes, and its JSON does not end"
        raise _corrupt(key, what if data else "empty", error) from error
    if version != FORMAT:
        age = "a newer" if version > FORMAT else "an older"
        raise _corrupt(key, f"written by {age} version: in format {version}, this one reads {FORMAT}")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except UNREADABLE as error:
        raise _corrupt(key, f"says it is of format {FORMAT}, and is not", error) from error
    if _sealed(manifest).checksum != manifest.checksum:
        raise _corrupt(key, "changed after it was written (its checksum differs)")
    if manifest.key != key:
        raise _corrupt(key, f"it is the manifest of {manifest.id}: its folder has another name")
    return manifest


def _corrupt(key: str, what: str, error: Exception | None = None) -> Corrupt:
    return Corrupt(f"{key}: {what}", private=str(error or ""), object=key)


def _sealed(manifest: Manifest) -> Manifest:
    plain = msgspec.structs.replace(manifest, checksum="")
    data = msgspec.json.encode(msgspec.to_builtins(plain, str_keys=True), order="deterministic")
    return msgspec.structs.replace(plain, checksum=hashlib.blake2b(data, digest_size=32).hexdigest())


async def list_snapshots(objects: ObjectStore) -> list[str]:
    """The ids of all published snapshots, oldest first."""
    keys = [key async for key in objects.list(PREFIX)]
    return sorted(key[len(PREFIX) : -len(_NAME)] for key in keys if key.endswith(_NAME))


async def show(objects: ObjectStore, snapshot: str) -> Manifest:
    """One snapshot's manifest. NotFound; Corrupt names the object."""
    key = key_of(snapshot)
    try:
        data = await objects.get(key)
    except NotFound:
        raise NotFound(f"there is no snapshot {snapshot}") from None
    return decode_manifest(key, data)


def tops_of(places: Mapping[int, Place]) -> dict[int, Top]:
    return {lane: place.top() for lane, place in places.items()}


def seqs_of(places: Mapping[int, Place]) -> dict[int, int]:
    return {lane: place.seq for lane, place in places.items()}
