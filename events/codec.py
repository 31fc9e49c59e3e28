"""Event <-> record body, in msgpack, the same on every path: live, replay, archive, restore.

A body is the array of `core.event.Event`, with `args` as the map of the action's `Args`. Decoding is by (action,
version): an older version passes through its upcasters, one per version step, and comes out as the present one, so
nothing else ever sees an old shape. What this version can't read is Undecodable and nothing else: it is parked.
The body of an open record is the map of `Opened`. Described in docs/wire-formats.md.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from core.action import Action, registry
from core.errors import Undecodable
from core.event import Event
from events.record import KIND_EVENT, KIND_OPEN, Entry, Record


class Opened(msgspec.Struct, frozen=True):
    """Who opened a lane, for whoever reads the log. Members may be added; unknown ones are ignored."""

    process: str
    wall_ms: int
    """The opener's wall clock, milliseconds since 1970."""


class _Envelope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An `Event` whose args are still bytes."""

    id: int
    action: str
    version: int
    actor: str
    key: str
    fingerprint: bytes
    args: msgspec.Raw


_encode = msgspec.msgpack.Encoder().encode
_envelope = msgspec.msgpack.Decoder(_Envelope).decode
_opened = msgspec.msgpack.Decoder(Opened).decode
_plain = msgspec.msgpack.Decoder(dict[str, Any]).decode


class Codec:
    """Encodes and decodes the events of a set of actions. Pure; safe to share."""

    def __init__(self, actions: Mapping[str, type[Action]]) -> None:
        self._args_types = {(action.name, action.version): action.Args for action in actions.values()}
        self._decoders: dict[tuple[str, int], tuple[int, Callable[[msgspec.Raw], Any]]] = {}
        """(action, version in the log) -> (version that comes out, how its args are read)."""
        for action in actions.values():
            read = msgspec.msgpack.Decoder(action.Args).decode
            self._decoders[action.name, action.version] = (action.version, read)
            for version in range(min(action.upcasters, default=action.version), action.version):
                self._decoders[action.name, version] = (action.version, _upcasting(action, version))

    def encode(self, event: Event) -> bytes:
        """The body of an event. Undecodable when the args are not those of the action's present version."""
        if self._args_types.get((event.action, event.version)) is not type(event.args):
            raise Undecodable(f"{event.action} {event.version} is not an event of this version")
        try:
            return _encode(event)
        except Exception as error:  # an int beyond 64 bits, a lone surrogate: msgspec has no common class for them
            raise Undecodable(f"the arguments of {event.action} can not be written", private=repr(error)) from error

    def decode(self, body: bytes) -> Event:
        """The event of a body, its args typed and of the present version. Raises Undecodable, whatever the bytes."""
        try:
            envelope = _envelope(body)
        except Exception as error:
            raise Undecodable("the body is not an event", private=repr(error)) from error
        found = self._decoders.get((envelope.action, envelope.version))
        if found is None:
            raise Undecodable(f"{envelope.action[:80]} {envelope.version} is not known to this version")
        version, read = found
        try:
            args = read(envelope.args)
        except Exception as error:  # upcasters and __post_init__ may raise anything
            raise Undecodable(
                f"the arguments of {envelope.action} {envelope.version} are not readable", private=repr(error)
            ) from error
        return Event(envelope.id, envelope.action, version, envelope.actor, envelope.key, envelope.fingerprint, args)

    def entry(self, record: Record) -> Entry:
        """The record as `apply` takes it. Never fails: an event that can't be decoded carries its problem."""
        if record.kind == KIND_OPEN:
            return Entry(record.lane, record.seq, record.id, None)
        if record.kind != KIND_EVENT:
            problem = f"records of kind {record.kind} are not known to this version"
            return Entry(record.lane, record.seq, record.id, None, problem)
        try:
            event = self.decode(record.body)
        except Undecodable as error:
            return Entry(record.lane, record.seq, record.id, None, error.detail)
        if event.id != record.id:
            return Entry(record.lane, record.seq, record.id, None, "the body belongs to another record")
        return Entry(record.lane, record.seq, record.id, event)


@functools.cache
def codec() -> Codec:
    """The codec of all registered actions."""
    return Codec(registry())


def encode(event: Event) -> bytes:
    """`Codec.encode` for the registered actions."""
    return codec().encode(event)


def decode(body: bytes) -> Event:
    """`Codec.decode` for the registered actions."""
    return codec().decode(body)


def entry_of(record: Record) -> Entry:
    """`Codec.entry` for the registered actions."""
    return codec().entry(record)


def encode_opened(opened: Opened) -> bytes:
    """The body of an open record."""
    return _encode(opened)


def decode_opened(body: bytes) -> Opened:
    """Who opened the lane. Undecodable for anything else. Applying a lane never needs it."""
    try:
        return _opened(body)
    except Exception as error:
        raise Undecodable("the body does not say who opened the lane", private=repr(error)) from error


def _upcasting(action: type[Action], version: int) -> Callable[[msgspec.Raw], Any]:
    steps = [action.upcasters[step] for step in range(version, action.version)]

    def read(args: msgspec.Raw) -> Any:
        plain = _plain(args)
        for step in steps:
            plain = step(plain)
        return msgspec.convert(plain, action.Args)

    return read
