"""Reads dialogs and histories, page by page."""

from collections.abc import AsyncGenerator, Iterable
from typing import Any
from urllib.parse import quote

from planb_sdk.errors import ApiError
from planb_sdk.state import State
from planb_sdk.transport import Answer, Transport

Json = dict[str, Any]
NEWEST = str((1 << 63) - 1)
"""The greatest id that there can be."""


async def dialogs(transport: Transport) -> AsyncGenerator[Json, None]:
    """All entries of GET /v1/dialogs: pinned ones, then by the newest message. One that moves up meanwhile may be
    passed over."""
    async for page in _dialog_pages(transport):
        for entry in page:
            yield entry


async def _dialog_pages(transport: Transport) -> AsyncGenerator[list[Json], None]:
    query = {"limit": str(transport.options.page)}
    while True:
        page = (await transport.call("GET", "/v1/dialogs", query=query)).body
        yield page["dialogs"]
        if not page["after"]:
            return
        query["after"] = page["after"]


async def _all_dialogs(transport: Transport) -> list[Json]:
    """Read again until nothing new is seen: what moved up while pages were read stands in none of them."""
    found: dict[str, Json] = {}
    while True:
        known, pages = len(found), 0
        async for page in _dialog_pages(transport):
            pages += 1
            found |= {entry["conversation"]: entry for entry in page}
        if pages == 1 or len(found) == known:
            return list(found.values())


Told = tuple[Json, Json | None]
"""A message, and what is known of replies to it."""


async def history(transport: Transport, peer: str, before: str | None = None) -> AsyncGenerator[Told, None]:
    """Messages below `before`, the newest first."""
    query = {"limit": str(transport.options.page)} | ({"before": before} if before else {})
    while True:
        page = (await transport.call("GET", f"/v1/dialogs/{quote(peer)}/messages", query=query)).body
        for message in reversed(page["messages"]):
            yield message, page["replies"].get(message["id"])
        if not page["next_before"]:
            return
        query["before"] = page["next_before"]


async def history_after(transport: Transport, peer: str, after: str) -> AsyncGenerator[Told, None]:
    """Messages above `after`, the oldest first."""
    query = {"limit": str(transport.options.page), "after": after}
    while True:
        page = (await transport.call("GET", f"/v1/dialogs/{quote(peer)}/messages", query=query)).body
        for message in page["messages"]:
            yield message, page["replies"].get(message["id"])
        if not page["next_after"]:
            return
        query["after"] = page["next_after"]


async def thread(transport: Transport, message: str, only: dict[str, str]) -> Answer:
    """A page of the thread of a message."""
    query = {"limit": str(transport.options.page)} | only
    return await transport.call("GET", f"/v1/messages/{quote(message)}/replies", query=query)


async def replies(transport: Transport, message: str, after: str | None = None) -> AsyncGenerator[Json, None]:
    """The replies in the thread of a message above `after`, the oldest first."""
    while True:
        page = (await thread(transport, message, {"after": after} if after else {})).body
        for reply in page["replies"]:
            yield reply
        after = page["next_after"]
        if not after:
            return


async def replies_before(transport: Transport, message: str, before: str) -> AsyncGenerator[Json, None]:
    """Those below `before`, the newest first."""
    while before:
        page = (await thread(transport, message, {"before": before})).body
        for reply in reversed(page["replies"]):
            yield reply
        before = page["next_before"]


async def mentions(transport: Transport, peer: str) -> AsyncGenerator[Json, None]:
    """Unread messages of a dialog that name the user, the oldest first."""
    query = {"limit": str(transport.options.page)}
    while True:
        page = (await transport.call("GET", f"/v1/dialogs/{quote(peer)}/mentions", query=query)).body
        for message in page["messages"]:
            yield message
        if not page["next_after"]:
            return
        query["after"] = page["next_after"]


async def load_all(transport: Transport, state: State) -> None:
    """Everything anew. Take the cursor before."""
    found = await _all_dialogs(transport)
    state.chats.clear()
    state.dialogs.clear()
    state.messages.clear()
    state.left.clear()
    state.stale.clear()
    for entry in found:
        state.load_dialog(entry)
    for entry in found:
        conversation = entry["conversation"]
        state.load_history(conversation, await _newest(transport, conversation, state.history_max))
    state.loaded = True


async def load_some(transport: Transport, state: State, conversations: Iterable[str]) -> None:
    """The histories of these conversations anew, and what of them names the user."""
    for conversation in list(conversations):
        state.load_history(conversation, await _newest(transport, conversation, state.history_max))
        state.load_mentions(conversation, *await _unread_mentions(transport, conversation))


async def _unread_mentions(transport: Transport, conversation: str) -> tuple[int, bool]:
    try:
        page = (await transport.call("GET", f"/v1/dialogs/{quote(conversation)}/mentions", query={"limit": "1"})).body
    except ApiError as error:
        if error.status not in (403, 404):  # it is none of mine any more
            raise
        return 0, False
    return page["count"], page["more"]


async def _newest(transport: Transport, conversation: str, count: int) -> list[Json]:
    found: list[Json] = []
    try:
        async for message, _ in history(transport, conversation):
            found.append(message)
            if len(found) >= count:
                break
    except ApiError as error:
        if error.status not in (403, 404):  # it is none of mine any more
            raise
    return found
