"""Everything that a user is shown: his dialogs and their whole histories, page by page."""

from collections.abc import Awaitable, Callable
from typing import Any

from core import limits


async def everything(get: Callable[[str], Awaitable[Any]]) -> tuple[list[Any], dict[str, list[Any]]]:
    """Dialogs in the order of the list, and by conversation its messages, oldest first. `get`: the answer to a path."""
    dialogs: list[Any] = []
    after = ""
    while True:
        page = await get(f"/v1/dialogs?limit={limits.PAGE_MAX}{after}")
        dialogs += page["dialogs"]
        if not page["after"]:
            break
        after = f"&after={page['after']}"
    histories = {}
    for dialog in dialogs:
        name, before, found = dialog["conversation"], "", []
        while True:
            page = await get(f"/v1/dialogs/{name}/messages?limit={limits.PAGE_MAX}{before}")
            found = page["messages"] + found
            if not page["next_before"]:
                break
            before = f"&before={page['next_before']}"
        histories[name] = found
    return dialogs, histories
