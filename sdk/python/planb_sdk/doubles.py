"""Noticing what tells nothing new. Bounded: what is older than that may pass twice, never be lost.

An update shows a thing as it is where it is rendered. After a change of datacenter an event may come again; it is a
double only if it shows what was shown last. A datacenter that lags behind the one before shows an older state for a
while, and then the same event again brings it back: dropped by its event id alone, it would leave the client behind
for good. Messages are known by their class, so a copy accepted in another datacenter is no second message.
"""

import hashlib
import itertools
import json
from collections import OrderedDict
from collections.abc import Sequence, Set
from typing import Any

Json = dict[str, Any]
Key = tuple[str, ...]


class Doubles:
    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max
        self._shown: OrderedDict[Key, bytes] = OrderedDict()
        """What it is about -> how it was shown last."""
        self._events: OrderedDict[Key, None] = OrderedDict()

    def fresh(self, updates: Sequence[Json]) -> list[tuple[Json, bool]]:
        """Those of one page or frame that tell something new, and whether it is a message not seen before.

        An event that came before is also dropped when the page brings a new one about the same thing: both show it
        as it is now.
        """
        told = [(update, about(update), _event(update)) for update in updates]
        news = {thing for _, thing, event in told if event not in self._events}
        found = []
        for update, thing, event in told:
            came = event in self._events
            self._remember(self._events, event, None)
            if came and thing in news:
                continue
            first = thing[0] == "message" and thing not in self._shown
            looks = _looks(update)
            if self._shown.get(thing) != looks:
                found.append((update, first))
            self._remember(self._shown, thing, looks)
        return found

    def saved(self, newest: int, but: Set[Key]) -> Json:
        """The newest of what is remembered, without these things."""
        shown = [(list(thing), looks.hex()) for thing, looks in self._newest(self._shown, newest) if thing not in but]
        events = [list(event) for event, _ in self._newest(self._events, newest) if event[1:] not in but]
        return {"shown": shown, "events": events}

    def restore(self, saved: Json) -> None:
        for thing, looks in saved["shown"]:
            self._remember(self._shown, tuple(thing), bytes.fromhex(looks))
        for event in saved["events"]:
            self._remember(self._events, tuple(event), None)

    @staticmethod
    def _newest(kept: "OrderedDict[Key, Any]", count: int) -> list[tuple[Key, Any]]:
        return list(itertools.islice(reversed(kept.items()), count))[::-1]

    def _remember(self, kept: "OrderedDict[Key, Any]", key: Key, value: Any) -> None:
        kept[key] = value
        kept.move_to_end(key)
        if len(kept) > self._kept_max:
            kept.popitem(last=False)


def _looks(update: Json) -> bytes:
    body = {name: value for name, value in update.items() if name != "event"}
    return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=8).digest()


def _event(update: Json) -> Key:
    return (update["event"], *about(update))


def _message(update: Json) -> Json | None:
    found = update["message"] if update["type"] == "message" else None
    return found if found and not found.get("missing") else None


def about(update: Json) -> Key:
    """The thing that it shows. A message is known by its class, one that has not arrived by its id."""
    kind = update["type"]
    message = _message(update)
    if message is not None:
        return ("message", message["class"])
    if kind == "message":
        return ("missing", update["message"]["id"])
    if kind == "hidden":
        return (kind, update["conversation"], update["message"])
    if kind == "member":
        return (kind, update["chat"], update["user"])
    if kind == "invite":
        return (kind, update["chat"], update["invite"])
    if kind == "scheduled":
        return (kind, update["scheduled"])
    if kind in ("request", "ban"):
        return (kind, update["chat"], update["user"])
    if kind == "session":
        return (kind, update["session"])
    if kind == "contact":
        return (kind, update["contact"]["user"]["id"])
    if kind == "handle":
        return (kind, update["handle"])
    if kind == "dnd":
        return (kind,)
    if kind == "device":
        return (kind, update["device"])
    if kind == "block":
        return (kind, update["user"])
    if kind == "dialog":
        return (kind, update["dialog"]["conversation"])
    inner = update.get(kind)
    # A type that this version does not know: only its own event tells it apart.
    return (kind, str(inner["id"])) if isinstance(inner, dict) and "id" in inner else (kind, update["event"])
