"""Hot state is rebuilt from stores of any size with little in memory at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from core import ids, limits
from core.messages import Row
from core.system import wall_clock_ms
from events.adapters.memory import MemoryLog
from stores import rebuild_hot
from stores.adapters.memory_hot import MemoryHot
from stores.ports import MessageStore, RelationalBatch, RelationalStore, Result
from stores.view import StoreView
from tests.support.stores import ADAPTERS, message_store, relational_store

TEXT = "a text that hot state has no use for"
PAGE = 7


class Watched:
    """A store whose every answer is measured: how many things are in it, and whether a text is among them."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.most: dict[str, int] = {}
        self.texts: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "dump":
            return found

        async def call(*given: Any, **named: Any) -> Any:
            answer = await found(*given, **named)
            if isinstance(answer, Sequence | Mapping):
                self.most[name] = max(self.most.get(name, 0), len(answer))
                if TEXT in repr(answer):
                    self.texts.add(name)
            return answer

        return call


def row(number: int, kind: str, message: int = 0, key: str = "") -> Row:
    """Two conversations of many messages, and many of one."""
    conversation = f"D{number % 2}" if number % 3 else f"D{1000 + number}"
    id = ids.make_id(ids.tick_at(wall_clock_ms() - 60_000) + number, 1)
    body = {"text": TEXT, "key": key, "fingerprint": "00ff00ff00ff00ff", "to": ["Ua", "Ub"]}
    return Row(id, conversation, message or id, kind, "Ua", id, body)


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_rebuild_reads_pages_and_no_texts(
    adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuild_hot, "_PART", PAGE)
    monkeypatch.setattr(limits, "RECENT_KEPT_MAX", 5)
    rows = [row(number, "send", key=f"k{number}" if number % 5 else "") for number in range(200)]
    done = [
        Result("Ua", f"r{n}", one.event + 65_536, "user.update", b"12345678", {"n": n}) for n, one in enumerate(rows)
    ]
    async with message_store(adapter, tmp_path) as messages, relational_store(adapter, tmp_path) as relational:
        messages.put(rows, {})
        messages.put(
            [replace(row(300 + n, "edit", one.message), conversation=one.conversation) for n, one in enumerate(rows)],
            {},
        )
        await relational.apply(RelationalBatch((), done, (), (), {}))
        hot = MemoryHot()
        watched, facts = Watched(messages), Watched(relational)
        await rebuilt(facts, watched, hot)
        assert not watched.texts
        assert watched.most and max(watched.most.values()) <= PAGE, watched.most
        assert facts.most and max(facts.most.values()) <= PAGE, facts.most
        for number, one in enumerate(rows):
            known = await hot.result("Ua", f"k{number}")
            wanted = {"id": str(one.event), "conversation": one.conversation}
            assert (known and known.answer) == (wanted if number % 5 else None)
            assert await hot.result("Ua", f"r{number}") == done[number]
        tops = {one.conversation: one.message for one in rows}
        assert dict(await hot.dialogs("Ub", (), (), None, 500)) == tops


async def rebuilt(relational: RelationalStore, messages: MessageStore, hot: MemoryHot) -> None:
    """Epoch 1, of what is in the stores."""
    log = MemoryLog()
    floor = await rebuild_hot.rebuild_hot(
        epoch=1,
        through={},
        v={},
        event_log=log,
        relational=relational,
        messages=messages,
        hot=hot,
        view=StoreView("fra", relational, messages, hot),
        planner=lambda records: [],
        since_ms=0,
    )
    await hot.publish_epoch(1, {}, floor)
