"""How a HotBatch is cut into the parts of a cluster's nodes, and how such a part travels to planb_hot_cluster.lua."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

import msgspec

from stores.adapters.cluster_map import slot_of, tags
from stores.adapters.hot_wire import digits, moves_of, pack_with_feeds
from stores.ports import Frontier, HotBatch, Mark

_pack = msgspec.msgpack.Encoder().encode
K = TypeVar("K")

_OWNER, _FIRST, _SECOND = attrgetter("owner"), itemgetter(0), itemgetter(1)
TAGGED: Mapping[str, Callable[[Any], str]] = {
    "feeds": _OWNER, "back_feeds": _OWNER, "tops": _FIRST, "channel_tops": _FIRST,
    "recents": attrgetter("conversation"), "recalls": _FIRST, "hides": _SECOND, "marks": _SECOND,
    "results": attrgetter("actor"), "window_floors": _FIRST,
}  # fmt: skip
"""The tag of the keys of what is in a batch."""


def cut(batch: HotBatch, place: Callable[[int], K]) -> dict[K, HotBatch]:
    """A part for each place that a slot of the batch is at; all have its moves."""
    parts: dict[K, dict[str, list[Any]]] = {}
    for section, tag in TAGGED.items():
        for item in getattr(batch, section):
            part = parts.setdefault(place(slot_of(tag(item))), {})
            if section in part:
                part[section].append(item)
            else:
                part[section] = [item]
    return {key: HotBatch(batch.epoch, batch.moves, **part) for key, part in parts.items()}


def slots_in(batch: HotBatch) -> dict[int, int]:
    """Slot -> its place among all that the batch touches, from 1."""
    slots = {slot_of(tag(item)) for section, tag in TAGGED.items() for item in getattr(batch, section)}
    return {slot: place for place, slot in enumerate(slots, 1)}


def pack_part(batch: HotBatch, bounds: Mapping[str, int], frontier: Frontier) -> list[bytes]:
    """The arguments of `pb_apply_at`. `frontier` is where the moved lanes stand."""
    slots = slots_in(batch)
    arguments, feeds = pack_with_feeds(batch)
    none = Mark(0, 0)
    head = _pack((
        [tags()[slot] for slot in slots],
        [slots[slot_of(owner)] for owner in feeds[::2]],
        [slots[slot_of(result.actor)] for result in batch.results],
        bounds,
        [digits(frontier.get(lane, none).id) for lane in batch.moves],
    ))  # fmt: skip
    return [*arguments, head]


def pack_head(epoch: int, slots: Iterable[int], floor: Sequence[str], recent: int) -> bytes:
    """The first argument of a reader."""
    return _pack((str(epoch), [tags()[slot] for slot in set(slots)], floor, recent))


def pack_tags(slots: Iterable[int]) -> bytes:
    return _pack([tags()[slot] for slot in slots])


def pack_moves(batch: HotBatch) -> bytes:
    return _pack(moves_of(batch))
