"""A page of a conversation while messages come in."""

from collections.abc import Collection, Sequence
from typing import Any, cast

from api.queries.visible import Budget, Reader
from core.membership import Membership
from core.messages import Message
from stores.view import StoreView

CHAT = "D1"


class CopyComes:
    """A view in which message 70 gets an earlier copy, `copy`, after its id was looked at."""

    def __init__(self, copy: int) -> None:
        self._copy = copy

    async def page(
        self, conversation: str, *, before: int | None, after: int | None, limit: int, known: object
    ) -> list[int]:
        ids = [one for one in (50, 60, 70) if (before is None or one < before) and (after is None or one > after)]
        return (ids[::-1] if before is not None else ids)[:limit]

    async def messages(self, ids: Sequence[int], former: object) -> dict[int, Message]:
        return {id: _message(self._copy, id) if id == 70 else _message(id) for id in ids}

    async def hidden(self, user: str, ids: Collection[int]) -> set[int]:
        return set()


def _message(*ids: int) -> Message:
    return Message(ids[0], ids, CHAT, "Uada", f"k{ids[-1]}", ids[-1], "hi", 0, False, {}, ("Uada", "Ubob"), 0, False)


def reader(copy: int) -> Reader:
    return Reader(cast(StoreView, cast(Any, CopyComes(copy))), "Uada", CHAT, Membership(), {})


async def test_a_message_stands_where_its_copy_came_to_while_the_page_was_read() -> None:
    older = await reader(55).before(100, 10, Budget(100))
    assert [message.id for message in older.messages] == [50, 55, 60]
    newer = await reader(55).after(1, 10, Budget(100))
    assert [message.id for message in newer.messages] == [50, 55, 60]


async def test_a_message_that_became_another_of_the_page_is_shown_once() -> None:
    older = await reader(50).before(100, 10, Budget(100))
    assert [message.id for message in older.messages] == [50, 60]
