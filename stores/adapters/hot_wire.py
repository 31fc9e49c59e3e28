"""How a HotBatch and its parts travel to planb_hot.lua, and what comes back.

One msgpack value per batch: a tenth of the arguments that a call with a field each would have. Only text is in it, for
Lua's cmsgpack does not know msgpack's type for bytes; the updates follow as arguments of their own, each once however
many owners it has. An id is 19 zero-padded digits, a lane 5 (a Lua number is a double).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from core import ids
from stores.ports import Feed, Frontier, HotBatch, Mark, Recent, Result

_pack = msgspec.msgpack.Encoder().encode
_pack_json = msgspec.json.Encoder().encode
_unpack_result = msgspec.json.Decoder(tuple[str, bytes, Any]).decode


def checked(id: int) -> int:
    """ValueError for what is no id: a sign or a 20th digit would break the order of strings."""
    if not 0 <= id <= ids.ID_MAX:
        raise ValueError(f"{id} is not a 63-bit id")
    return id


def digits(id: int) -> str:
    """19 digits; errors as `checked`."""
    return "%019d" % checked(id)  # noqa: UP031  (half the time of an f-string with a format)


def lane_digits(lane: int) -> str:
    return "%05d" % lane  # noqa: UP031


def score(id: int) -> int:
    """The part of an id that a double holds exactly: units of 10 ms."""
    return id >> 24


def _element(feed: Feed) -> bytes:
    id, conversation = checked(feed.event), feed.conversation.encode()
    return b"%019df%05d%c%b%b" % (id, id & 0xFFFF, len(conversation), conversation, feed.entry)


def entry_of(element: bytes) -> bytes:
    """The entry within a stored element."""
    return element[26 + element[25] :]


class _Entries:
    """Each update once, however many owners it has."""

    def __init__(self) -> None:
        self.elements: list[bytes] = []
        self._places: dict[tuple[int, bytes, str], int] = {}

    def by_owner(self, feeds: Sequence[Feed]) -> list[Any]:
        """owner, [indices from 1], owner, ..."""
        owners: dict[str, list[int]] = {}
        event, entry, conversation, at = -1, b"", "", 0
        for feed in feeds:
            # An update's owners mostly come one after the other.
            if feed.event != event or feed.entry != entry or feed.conversation != conversation:
                event, entry, conversation = feed.event, feed.entry, feed.conversation
                at = self._place(feed)
            if (mine := owners.get(feed.owner)) is None:
                owners[feed.owner] = [at]
            else:
                mine.append(at)
        return [part for pair in owners.items() for part in pair]

    def _place(self, feed: Feed) -> int:
        update = feed.event, feed.entry, feed.conversation
        at = self._places.get(update)
        if at is None:
            self.elements.append(_element(feed))
            at = self._places[update] = len(self.elements)
        return at


def _recents(recents: Iterable[Recent]) -> list[Any]:
    by_conversation: dict[str, list[str]] = {}
    for one in recents:
        if one.counts:
            id = one.message
            member = "%019d%05d%016x%s" % (id, id & 0xFFFF, one.class_, one.sender)  # noqa: UP031
            by_conversation.setdefault(one.conversation, []).append(member)
    return [part for pair in by_conversation.items() for part in pair]


def _tops(tops: Iterable[tuple[str, str, int]]) -> list[Any]:
    greatest: dict[tuple[str, str], int] = {}
    for user, conversation, id in tops:
        if id > greatest.get((user, conversation), -1):
            greatest[user, conversation] = id
    return [part for (user, dialog), id in greatest.items() for part in (user, dialog, digits(id))]


def pack_result(result: Result) -> str:
    """Begins with the event id, which Lua compares."""
    return digits(result.event) + _pack_json((result.action, result.fingerprint, result.answer)).decode()


def unpack_result(actor: str, key: str, value: bytes) -> Result:
    action, fingerprint, answer = _unpack_result(value[19:])
    return Result(actor, key, int(value[:19]), action, fingerprint, answer)


def moves_of(batch: HotBatch) -> list[str]:
    return [
        part
        for lane, (after, end) in batch.moves.items()
        for part in (lane_digits(lane), str(after), f"{digits(end.id)}:{end.seq}")
    ]


def pack_batch(batch: HotBatch) -> list[bytes]:
    """The arguments of `pb_apply`."""
    return pack_with_feeds(batch)[0]


def pack_with_feeds(batch: HotBatch) -> tuple[list[bytes], list[Any]]:
    """The same, and of it the feeds by owner."""
    entries = _Entries()
    feeds = entries.by_owner(batch.feeds)
    back_feeds = entries.by_owner(batch.back_feeds)
    payload = _pack((
        str(batch.epoch),
        moves_of(batch),
        feeds,
        back_feeds,
        _tops(batch.tops),
        [part for channel, id in batch.channel_tops for part in (channel, digits(id))],
        _recents(batch.recents),
        [part for conversation, id in batch.recalls for part in (conversation, digits(id))],
        [part for user, conversation, id in batch.hides for part in (user, conversation, digits(id))],
        [part for user, conversation, lane, id in batch.marks
         for part in (user, conversation, lane_digits(lane), digits(id))],
        [part for result in batch.results for part in (result.actor, result.key, pack_result(result))],
        [part for conversation, lane, id in batch.window_floors
         for part in (conversation, lane_digits(lane), digits(id))],
    ))  # fmt: skip
    return [payload, *entries.elements], feeds


def pack_floor(frontier: Mapping[int, tuple[int, int]], trimmed: Mapping[int, int]) -> bytes:
    """The payload of `pb_publish`."""
    return _pack((
        [part for lane, (seq, id) in frontier.items() for part in (lane_digits(lane), f"{digits(id)}:{seq}")],
        [part for lane, id in trimmed.items() for part in (lane_digits(lane), digits(id))],
    ))  # fmt: skip


def lanes_of(flat: Sequence[bytes]) -> dict[int, int]:
    """lane -> id, from a flat reply."""
    return {int(flat[i]): int(flat[i + 1]) for i in range(0, len(flat), 2)}


def frontier_of(flat: Sequence[bytes]) -> Frontier:
    """lane -> where it stands, from a flat reply."""
    return {int(flat[i]): Mark(int(flat[i + 1][20:]), int(flat[i + 1][:19])) for i in range(0, len(flat), 2)}
