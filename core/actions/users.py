"""Profiles."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable
from typing import Any

import pydantic

from core import action
from core.action import Audience, Origin, Route, Touch, UserView
from core.actions.fields import About, Avatar, Name, Password, UserId
from core.errors import Forbidden, NotFound
from core.event import Event
from core.passwords import SALT_BYTES, hashed
from core.tables import Effect


class _ProfileArgs(action.Args, frozen=True, kw_only=True):
    user: str
    fields: dict[str, str]
    """Only what was given: each field has its own stamp."""
    basis: dict[str, int]


class _Profile(action.Action):
    """What both profile writes do with their arguments."""

    Args = _ProfileArgs
    answer = {"user": UserId}

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: _ProfileArgs = event.args
        return (Effect("users", (args.user,), args.fields, args.basis),)

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=(event.args.user,))

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("user", (event.args.user,)),)

    @staticmethod
    def result(event: Event) -> dict[str, Any]:
        return {"user": event.args.user}


def _args(user: str, fields: dict[str, str], present: UserView | None) -> _ProfileArgs:
    stamps = present.stamps if present else {}
    return _ProfileArgs(user=user, fields=fields, basis={name: stamps.get(name, 0) for name in fields})


class Upsert(_Profile):
    name = "user.upsert"
    summary = "Create a user, or overwrite fields of one"
    consistency = (
        "Accounts come from the customer's own system, which gives the id. One stamp per field; of two concurrent "
        "writes of a field the later wins (lww) and the other is listed as a conflict."
    )
    route = Route("PUT", "/sys/v1/users/{user}", listener="sys")
    example = {"name": "Ada", "about": "Numbers"}
    errors = (Forbidden,)

    class Request(action.Request):
        user: UserId
        name: Name
        avatar: Avatar | None = None
        about: About | None = None
        password: Password | None = None

    @staticmethod
    async def resolve(request: "Upsert.Request", origin: Origin) -> _ProfileArgs:
        if origin.actor not in ("sys", request.user):
            raise Forbidden("only the customer's own system, or the user at sign-up, may do this")
        fields = request.model_dump(exclude={"user", "password"}, exclude_none=True)
        if request.password is not None:
            fields["password"] = hashed(request.password, origin.entropy(SALT_BYTES))
        return _args(request.user, fields, await origin.view.user(request.user))


class Update(_Profile):
    name = "user.update"
    summary = "Change fields of my profile"
    consistency = (
        "One stamp per field, so that a new name leaves the avatar alone. Of two concurrent writes of a field the "
        "later wins (lww) and the other is listed as a conflict."
    )
    route = Route("PATCH", "/v1/me")
    example = {"name": "Ada Lovelace"}
    errors = (NotFound,)

    class Request(action.Request):
        name: Name | None = None
        avatar: Avatar | None = None
        about: About | None = None

        @pydantic.model_validator(mode="after")
        def _something(self) -> "Update.Request":
            if self.name is None and self.avatar is None and self.about is None:
                raise ValueError("give at least one of name, avatar, about")
            return self

    @staticmethod
    async def resolve(request: "Update.Request", origin: Origin) -> _ProfileArgs:
        present = await origin.view.user(origin.actor)
        if present is None:
            raise NotFound(f"there is no user {origin.actor}")
        return _args(origin.actor, request.model_dump(exclude_none=True), present)
