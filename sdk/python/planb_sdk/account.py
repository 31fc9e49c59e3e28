"""What of the API is about my own account, and concerns my own devices: part of the client."""

from typing import Any
from urllib.parse import quote

from planb_sdk.model import Receipt
from planb_sdk.transport import Transport

Json = dict[str, Any]


def part(text: str) -> str:
    """As one segment of a path."""
    return quote(text, safe="")


class Account:
    """A part of Client, which has what is declared here."""

    _transport: Transport

    async def _write(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: dict[str, str] | None = None,
        message: str = "",
        key: str = "",
        durability: str = "",
    ) -> Receipt:
        raise NotImplementedError

    # -- dialogs

    async def mark_unread(self, peer: str, on: bool = True, *, key: str = "") -> Receipt:
        """Until it is read, or taken back with `on=False`."""
        return await self._write("PUT", f"/v1/dialogs/{part(peer)}/unread", {"on": on}, key=key)

    async def set_draft(self, peer: str, text: str, *, reply_to: str | None = None, key: str = "") -> Receipt:
        """The answer's `id` is its revision: for `send(..., draft=…)`."""
        body = {"text": text} | ({"reply_to": reply_to} if reply_to else {})
        return await self._write("PUT", f"/v1/dialogs/{part(peer)}/draft", body, key=key)

    async def clear_draft(self, peer: str, *, key: str = "") -> Receipt:
        return await self._write("DELETE", f"/v1/dialogs/{part(peer)}/draft", key=key)
