"""What I have set for myself beside my dialogs: whom I have blocked, my contacts, my devices, and what
I have said that is to be sent later."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import pydantic

from api import answers
from api.calls import Call
from api.operations import Read
from api.queries.paging import LIMIT_DEFAULT, Limit
from core.action import Request
from core.actions.devices import token_hash
from core.actions.fields import UserId
from stores import render
from stores.view import StoreView

_LOCAL = "As this datacenter has applied it."
_AfterUser = Annotated[UserId, pydantic.Field(description="The last user of the page before")]


class OfUserRequest(Request):
    user: UserId


class UsersRequest(Request):
    limit: Limit = LIMIT_DEFAULT
    after: _AfterUser | None = None


class ContactsRequest(UsersRequest):
    state: Literal["contact", "asked", "asks"] | None = None


class Account:
    def __init__(self, view: StoreView) -> None:
        self._view = view

    def reads(self) -> list[Read]:
        return [
            Read(
                "block.get",
                "GET",
                "/v1/blocks/{user}",
                "Whether I have blocked a user",
                _LOCAL,
                self.block,
                answers.Block,
                OfUserRequest,
            ),
            Read(
                "blocks.list",
                "GET",
                "/v1/blocks",
                "Whom I have blocked, by user id",
                _LOCAL,
                self.blocks,
                answers.Blocks,
                UsersRequest,
            ),
            Read(
                "contacts.list",
                "GET",
                "/v1/contacts",
                "My contacts, whom I have asked and who asks me, by user id",
                _LOCAL,
                self.contacts,
                answers.Contacts,
                ContactsRequest,
            ),
            Read(
                "devices.list",
                "GET",
                "/v1/devices",
                "My devices that are registered for pushes, the newest first",
                _LOCAL,
                self.devices,
                answers.Devices,
            ),
            Read(
                "scheduled.list",
                "GET",
                "/v1/scheduled",
                "My messages that are to be sent later, and those that were not sent, the first that is due first",
                _LOCAL,
                self.scheduled,
                answers.ScheduledMessages,
            ),
        ]

    async def devices(self, call: Call, _: Request) -> dict[str, Any]:
        user = call.caller.user
        shown = []
        for one in await self._view.devices_of(user):
            owner, _stamp = await self._view.push_owner(token_hash(one.provider, one.token))
            pushes = owner == (user, one.device)
            shown.append({"device": one.device, "provider": one.provider, "home": one.home, "pushes": pushes})
        return {"devices": shown}

    async def scheduled(self, call: Call, _: Request) -> dict[str, Any]:
        found = await self._view.scheduled_of(call.caller.user)
        shown = [
            {"scheduled": one.scheduled, "at_ms": one.at_ms, "message": one.message, "failure": one.failure}
            for one in found
        ]
        return {"scheduled": shown}

    async def contacts(self, call: Call, request: ContactsRequest) -> dict[str, Any]:
        user = call.caller.user
        found = await self._view.contacts_of(user)
        page, after = _page((peer for peer, one in found.items() if request.state in (None, one.state)), request)
        return {"contacts": [await render.contact(self._view, user, peer) for peer in page], "after": after}

    async def block(self, call: Call, request: OfUserRequest) -> dict[str, Any]:
        return {"user": request.user, "blocked": request.user in await self._view.blocks_of(call.caller.user)}

    async def blocks(self, call: Call, request: UsersRequest) -> dict[str, Any]:
        page, after = _page(await self._view.blocks_of(call.caller.user), request)
        return {"users": [await render.profile(self._view, user) for user in page], "after": after}


def _page(users: Iterable[str], request: UsersRequest) -> tuple[list[str], str | None]:
    """Of these users those of this page, by id, and where the next one goes on."""
    left = sorted(user for user in users if user > (request.after or ""))
    page = left[: request.limit]
    return page, page[-1] if len(left) > request.limit else None
