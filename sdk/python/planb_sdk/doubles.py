"""Noticing what tells nothing new. Bounded: what is older than that may pass twice, never be lost.

An update shows a thing as it is where it is rendered. After a change of datacenter an event may come again; it is a
double only if it shows what was shown last. A datacenter that lags behind the one before shows an older state for a
while, and then the same event again brings it back: dropped by its event id alone, it would leave the client behind
for good. Messages are known by (sender, key), so a copy accepted in another datacenter is no second message.
"""

import hashlib
import json
from collections import OrderedDict
from typing import Any

Json = dict[str, Any]


class Doubles:
    def __init__(self, kept_max: int) -> None:
        self._kept_max = kept_max
        self._shown: OrderedDict[tuple[str, ...], bytes] = OrderedDict()

    def is_first(self, update: Json) -> bool:
        """A message whose (sender, key) is new. To be asked before `is_double`."""
        return _message(update) is not None and _about(update) not in self._shown

    def is_double(self, update: Json) -> bool:
        """Asks and remembers."""
        about = _about(update)
        body = {name: value for name, value in update.items() if name != "event"}
        looks = hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=8).digest()
        same = self._shown.get(about) == looks
        self._shown[about] = looks
        self._shown.move_to_end(about)
        if len(self._shown) > self._kept_max:
            self._shown.popitem(last=False)
        return same


def _message(update: Json) -> Json | None:
    found = update["message"] if update["type"] == "message" else None
    return found if found and not found.get("missing") else None


def _about(update: Json) -> tuple[str, ...]:
    kind = update["type"]
    message = _message(update)
    if message is not None:
        return ("message", message["from"], message["key"])
    if kind == "message":
        return ("missing", update["message"]["id"])
    if kind == "hidden":
        return (kind, update["conversation"], update["message"])
    if kind == "member":
        return (kind, update["chat"], update["user"])
    if kind == "session":
        return (kind, update["session"])
    if kind == "dialog":
        return (kind, update["dialog"]["conversation"])
    inner = update.get(kind)
    # A type that this version does not know: only its own event tells it apart.
    return (kind, str(inner["id"])) if isinstance(inner, dict) and "id" in inner else (kind, update["event"])
