"""Writes until they are safe: sent under one key until acknowledged, then kept while a lost region could take them.

An acknowledged write is dropped when it was acknowledged as held elsewhere too, when a cursor of another region
covers it, or when newer ones need the room. After a change of region, or a new epoch of one, the kept writes that the
new region does not cover are sent again under their keys; whatever arrives twice is one message, one chat, one value.
"""

from collections import OrderedDict
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any

from planb_sdk.errors import OutboxFull
from planb_sdk.model import Receipt
from planb_sdk.options import Options
from planb_sdk.stats import Stats

Json = dict[str, Any]
ALIASES_MAX = 1_000


@dataclass(slots=True)
class Write:
    """One intention."""

    key: str
    method: str
    path: str
    """`{message}` stands for the message that it is about."""
    body: Json | None = None
    query: dict[str, str] = field(default_factory=dict)
    message: str = ""
    durability: str = ""
    receipt: Receipt | None = None
    """Once acknowledged."""
    region: str = ""
    """Who acknowledged it."""
    generation: int = 0
    """Of the outbox when that was last known to hold."""
    busy: bool = False
    size: int = 0


def _told(write: Write) -> Json:
    receipt = write.receipt
    return {
        "key": write.key,
        "method": write.method,
        "path": write.path,
        "body": write.body,
        "query": write.query,
        "message": write.message,
        "durability": write.durability,
        "region": write.region,
        "receipt": receipt
        and {
            "id": receipt.id,
            "key": receipt.key,
            "durability": receipt.durability,
            "replayed": receipt.replayed,
            "answer": receipt.answer,
        },
    }


class Outbox:
    """Bounded. `generation` changes whenever what a region acknowledged may be gone."""

    def __init__(self, options: Options, stats: Stats) -> None:
        self._options = options
        self._stats = stats
        self._writes: OrderedDict[str, Write] = OrderedDict()
        self._bytes = 0
        self._aliases: OrderedDict[str, str] = OrderedDict()
        self.generation = 0

    def __len__(self) -> int:
        return len(self._writes)

    def add(self, write: Write) -> None:
        """OutboxFull when too much waits for its answer."""
        write.size = 256 + sum(len(str(value)) for value in (write.body or {}).values())
        earlier = self._writes.get(write.key)
        if earlier is not None:  # the application repeats it itself
            self._drop(earlier)
        self._make_room(write.size)
        self._writes[write.key] = write
        self._bytes += write.size

    def path(self, write: Write) -> str:
        """With the id under which the message is known now, should it have been sent again since."""
        return write.path.format(message=self._aliases.get(write.message, write.message))

    def acknowledged(self, write: Write, receipt: Receipt, region: str) -> None:
        """Keeps it, unless another datacenter holds it already."""
        if write.receipt is not None and write.receipt.id != receipt.id:
            self._aliases[write.receipt.id] = receipt.id
            if len(self._aliases) > ALIASES_MAX:
                self._aliases.popitem(last=False)
        write.receipt, write.region, write.generation = receipt, region, self.generation
        if receipt.durability == "remote":
            self._drop(write)

    def refused(self, write: Write) -> None:
        """The server said no: there is nothing to keep."""
        self._drop(write)

    def waiting(self) -> list[Write]:
        """Not acknowledged, and not on their way, in the order of writing."""
        return [write for write in self._writes.values() if write.receipt is None and not write.busy]

    def doubtful(self) -> list[Write]:
        """Acknowledged before the present generation."""
        return [one for one in self._writes.values() if one.receipt is not None and one.generation != self.generation]

    def ordered(self, keys: Container[str]) -> list[Write]:
        """Those of them that are still here, in the order of writing."""
        return [write for key, write in self._writes.items() if key in keys]

    def settled(self, covered: Iterable[Write], region: str) -> None:
        """These are applied in `region`: safe if another region acknowledged them, and as before if it was this."""
        for write in list(covered):
            write.generation = self.generation
            if write.region != region:
                self._drop(write)

    def saved(self) -> Json:
        """What is here, to be restored by another process."""
        return {"writes": [_told(write) for write in self._writes.values()], "aliases": dict(self._aliases)}

    def restore(self, saved: Json) -> None:
        """What was acknowledged may be gone since: it is in doubt."""
        self._aliases.update(saved["aliases"])
        for told in saved["writes"]:
            receipt = told["receipt"]
            write = Write(**told | {"receipt": Receipt(**receipt) if receipt is not None else None})
            self.add(write)
            write.generation = self.generation - 1

    def _make_room(self, size: int) -> None:
        options = self._options
        while len(self._writes) >= options.outbox_max or (
            self._writes and self._bytes + size > options.outbox_bytes_max
        ):
            kept = next((one for one in self._writes.values() if one.receipt is not None and not one.busy), None)
            if kept is None:
                raise OutboxFull(f"{len(self._writes)} writes wait to be acknowledged")
            self._stats.evicted += 1
            self._drop(kept)

    def _drop(self, write: Write) -> None:
        if self._writes.get(write.key) is write:
            del self._writes[write.key]
            self._bytes -= write.size
