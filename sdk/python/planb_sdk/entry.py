"""How people come into chats, beside being added: part of the client."""

from collections.abc import AsyncGenerator

from planb_sdk.account import Json, part
from planb_sdk.files import Files
from planb_sdk.model import Invite, JoinRequest, Profile, Receipt


class Entry(Files):
    """A part of Client."""

    async def create_invite(
        self,
        chat: str,
        *,
        expires_ms: int | None = None,
        uses_max: int | None = None,
        approval: bool = False,
        key: str = "",
    ) -> Receipt:
        """A link into a chat that I manage: the answer's `link`. With `approval` it leads to a request."""
        body: Json = {"approval": approval}
        body |= {"expires_ms": expires_ms} if expires_ms is not None else {}
        body |= {"uses_max": uses_max} if uses_max is not None else {}
        return await self._write("POST", f"/v1/chats/{part(chat)}/invites", body, key=key)

    async def invites(self, chat: str) -> list[Invite]:
        """Those that still work."""
        found = (await self._transport.call("GET", f"/v1/chats/{part(chat)}/invites")).body
        return [Invite.of(one) for one in found["invites"]]

    async def revoke_invite(self, chat: str, invite: str, *, key: str = "") -> Receipt:
        return await self._write("DELETE", f"/v1/chats/{part(chat)}/invites/{part(invite)}", key=key)

    async def look_at_invite(self, link: str) -> Json:
        """What it leads to: {"chat", "kind", "title", "about", "avatar", "approval", "present"}."""
        found: Json = (await self._transport.call("POST", "/v1/invites/look", body={"link": link})).body
        return found

    async def accept_invite(self, link: str, *, key: str = "") -> Receipt:
        """The answer's `joined` is False where it made a request."""
        return await self._write("POST", "/v1/invites/accept", {"link": link}, key=key)

    async def ask_to_join(self, chat: str, *, key: str = "") -> Receipt:
        return await self._write("POST", f"/v1/chats/{part(chat)}/requests", key=key)

    async def withdraw_request(self, chat: str, *, key: str = "") -> Receipt:
        return await self._write("DELETE", f"/v1/chats/{part(chat)}/requests/me", key=key)

    async def my_requests(self) -> list[str]:
        """The chats that I ask to be let into, the last one first."""
        found = (await self._transport.call("GET", "/v1/me/requests")).body
        return [one["chat"] for one in found["requests"]]

    async def requests(self, chat: str) -> AsyncGenerator[JoinRequest, None]:
        """Who asks to be let into a chat that I manage, the first one first."""
        async for one in self._pages(f"/v1/chats/{part(chat)}/requests", "requests"):
            yield JoinRequest.of(one)

    async def let_in(self, chat: str, user: str, *, key: str = "") -> Receipt:
        """He has asked for it."""
        return await self._write("POST", f"/v1/chats/{part(chat)}/requests/{part(user)}/approve", key=key)

    async def refuse(self, chat: str, user: str, *, key: str = "") -> Receipt:
        """His request."""
        return await self._write("DELETE", f"/v1/chats/{part(chat)}/requests/{part(user)}", key=key)

    async def ban(self, chat: str, user: str, *, key: str = "") -> Receipt:
        """He is removed, and kept out until that is taken back."""
        return await self._write("PUT", f"/v1/chats/{part(chat)}/bans/{part(user)}", key=key)

    async def unban(self, chat: str, user: str, *, key: str = "") -> Receipt:
        """He may come in again."""
        return await self._write("DELETE", f"/v1/chats/{part(chat)}/bans/{part(user)}", key=key)

    async def bans(self, chat: str) -> AsyncGenerator[Profile, None]:
        """Who is kept out of a chat that I manage, by user id."""
        async for one in self._pages(f"/v1/chats/{part(chat)}/bans", "users"):
            yield Profile.of(one)
