"""An action that only tests know. Not a subclass of Action, so the registry does not find it."""

from types import SimpleNamespace
from typing import Any, cast

from core.action import Args
from events.codec import Codec


class NoteArgs(Args):
    text: str
    n: int = 0


NOTE: Any = SimpleNamespace(name="test.note", version=1, Args=NoteArgs, upcasters={})


def note_codec() -> Codec:
    return Codec(cast("Any", {NOTE.name: NOTE}))
