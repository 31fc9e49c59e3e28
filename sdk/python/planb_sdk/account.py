"""What of the API is about my own account, and concerns my own devices: part of the client."""

from collections.abc import AsyncGenerator, Iterable
from typing import Any
from urllib.parse import quote

from planb_sdk.model import Contact, Profile, PushDevice, Receipt, ScheduledMessage
from planb_sdk.options import Options
from planb_sdk.transport import Transport

Json = dict[str, Any]


def part(text: str) -> str:
    """As one segment of a path."""
    return quote(text, safe="")


class Account:
    """A part of Client, which has what is declared here."""

    _transport: Transport
    options: Options

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

    def _key(self) -> str:
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

    # -- people

    async def block(self, user: str, *, key: str = "") -> Receipt:
        """I get no direct messages from him any more."""
        return await self._write("PUT", f"/v1/blocks/{part(user)}", key=key)

    async def unblock(self, user: str, *, key: str = "") -> Receipt:
        return await self._write("DELETE", f"/v1/blocks/{part(user)}", key=key)

    async def is_blocked(self, user: str) -> bool:
        """By me."""
        return bool((await self._transport.call("GET", f"/v1/blocks/{part(user)}")).body["blocked"])

    async def blocked(self) -> AsyncGenerator[Profile, None]:
        """Whom I have blocked, by user id."""
        async for one in self._pages("/v1/blocks", "users"):
            yield Profile.of(one)

    async def ask_contact(self, user: str, *, key: str = "") -> Receipt:
        """Two who ask each other are contacts."""
        return await self._write("POST", "/v1/contacts", {"user": user}, key=key)

    async def accept_contact(self, user: str, *, key: str = "") -> Receipt:
        """He has asked me."""
        return await self._write("POST", f"/v1/contacts/{part(user)}/accept", key=key)

    async def delete_contact(self, user: str, *, key: str = "") -> Receipt:
        """Also takes my request back, or refuses his."""
        return await self._write("DELETE", f"/v1/contacts/{part(user)}", key=key)

    async def contacts(self, state: str = "") -> AsyncGenerator[Contact, None]:
        """By user id. `state`: only "contact", "asked" (by me) or "asks" (me)."""
        async for one in self._pages("/v1/contacts", "contacts", {"state": state} if state else {}):
            yield Contact.of(one)

    async def claim_handle(self, handle: str, *, key: str = "") -> Receipt:
        """And give up the one before. Should somebody have claimed it earlier elsewhere, an update `handle` says so."""
        return await self._write("PUT", "/v1/me/handle", {"handle": handle}, key=key)

    async def release_handle(self, *, key: str = "") -> Receipt:
        return await self._write("DELETE", "/v1/me/handle", key=key)

    async def find(self, handle: str) -> Profile:
        """Whose a handle is."""
        return Profile.of((await self._transport.call("GET", f"/v1/handles/{part(handle)}")).body["user"])

    async def dnd(self) -> Json | None:
        """When I am not to be disturbed: {"until_ms", "schedule"}."""
        found: Json | None = (await self._transport.call("GET", "/v1/me")).body["dnd"]
        return found

    async def set_dnd(self, until_ms: int | None, schedule: Json | None = None, *, key: str = "") -> Receipt:
        """`schedule`: {"zone", "from", "to", "days"?}, times as HH:MM, days from 1 for Monday. Both None: nothing."""
        return await self._write("PUT", "/v1/me/dnd", {"until_ms": until_ms, "schedule": schedule}, key=key)

    # -- messages that are to be sent later

    async def schedule(
        self,
        to: str,
        text: str = "",
        *,
        at_ms: int,
        content: Json | None = None,
        mentions: Iterable[str] = (),
        reply_to: str | None = None,
        draft: str | None = None,
        key: str = "",
    ) -> Receipt:
        """As `send`, at a time in milliseconds since 1970. The answer's `scheduled` is for `unschedule`."""
        fields = {"text": text or None, "content": content, "mentions": list(mentions) or None}
        fields |= {"reply_to": reply_to, "draft": draft}
        body = {"to": to, "at_ms": at_ms} | {name: value for name, value in fields.items() if value is not None}
        return await self._write("POST", "/v1/scheduled", body, key=key)

    async def unschedule(self, scheduled: str, *, key: str = "") -> Receipt:
        """It is not sent, or not shown any more if it was not. `gone`: it was sent."""
        return await self._write("DELETE", f"/v1/scheduled/{part(scheduled)}", key=key)

    async def scheduled(self) -> list[ScheduledMessage]:
        """What waits, and what was not sent, the first that is due first."""
        found = (await self._transport.call("GET", "/v1/scheduled")).body["scheduled"]
        return [ScheduledMessage.of(one) for one in found]

    # -- devices

    async def devices(self) -> list[PushDevice]:
        """Those that are registered for pushes."""
        return [PushDevice.of(one) for one in (await self._transport.call("GET", "/v1/devices")).body["devices"]]

    async def register_device(self, device: str, provider: str, token: str, *, key: str = "") -> Receipt:
        """The region that takes it would push."""
        body = {"provider": provider, "token": token}
        return await self._write("PUT", f"/v1/devices/{part(device)}", body, key=key)

    async def forget_device(self, device: str, *, key: str = "") -> Receipt:
        return await self._write("DELETE", f"/v1/devices/{part(device)}", key=key)

    # -- inside

    async def _pages(self, path: str, what: str, only: dict[str, str] | None = None) -> AsyncGenerator[Json, None]:
        query = {"limit": str(self.options.page), **(only or {})}
        while True:
            page = (await self._transport.call("GET", path, query=query)).body
            for one in page[what]:
                yield one
            if not page["after"]:
                return
            query["after"] = page["after"]
