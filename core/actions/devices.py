"""Devices that are pushed to. They concern their user only."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

import hashlib
from collections.abc import Iterable

from core import action, limits
from core.action import Origin, Route, Touch
from core.actions.fields import Device, Provider, PushToken
from core.errors import AccountFull, NotFound
from core.event import Event
from core.tables import Effect

_RULE = (
    "Per (user, device) a push token and a home datacenter, the one that took the call: only that one would push. The "
    "later write wins (lww); the home is listed as a conflict, the token is a secret and is not. A token belongs to "
    "whom registered it last (lww): where a device changed hands, the new owner gets no pushes of the old one."
)


def token_hash(provider: str, token: str) -> str:
    """What a push token is found by."""
    return hashlib.blake2b(f"{provider} {token}".encode(), digest_size=16, person=b"push token").hexdigest()


class _Own(action.OwnAction):
    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("device", (event.actor, event.args.device)),)


class Register(_Own):
    name = "device.register"
    summary = "Register a device of mine for pushes"
    consistency = _RULE
    route = Route("PUT", "/v1/devices/{device}")
    example = {"provider": "fcm", "token": "dGhpcyBpcyBub3QgYSB0b2tlbg"}
    errors = (AccountFull,)

    class Request(action.Request):
        device: Device
        provider: Provider
        token: PushToken

    class Args(action.Args, frozen=True, kw_only=True):
        device: str
        provider: str
        token: str
        home: str
        basis: dict[str, int]
        owned: int
        """The stamp of whose the token was."""

    @staticmethod
    async def resolve(request: "Register.Request", origin: Origin) -> "Register.Args":
        view, most = origin.view, limits.DEVICES_OF_USER_MAX
        present = await view.device(origin.actor, request.device)
        if not present.provider and len(await view.devices_of(origin.actor)) >= most:
            raise AccountFull(f"at most {most} devices are registered at a time: forget one first")
        _, owned = await view.push_owner(token_hash(request.provider, request.token))
        return Register.Args(
            device=request.device,
            provider=request.provider,
            token=request.token,
            home=origin.dc,
            basis=present.stamps,
            owned=owned,
        )

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Register.Args = event.args
        device = {"push": {"provider": args.provider, "token": args.token}, "home": args.home}
        basis = {name: args.basis.get(name, 0) for name in device}
        yield Effect("devices", (event.actor, args.device), device, basis)
        token = token_hash(args.provider, args.token)
        yield Effect("push_tokens", (token,), {"owner": [event.actor, args.device]}, {"owner": args.owned})


class Forget(_Own):
    name = "device.forget"
    summary = "Push nothing more to a device of mine"
    consistency = _RULE
    route = Route("DELETE", "/v1/devices/{device}")
    errors = (NotFound,)

    class Request(action.Request):
        device: Device

    class Args(action.Args, frozen=True, kw_only=True):
        device: str
        basis: dict[str, int]

    @staticmethod
    async def resolve(request: "Forget.Request", origin: Origin) -> "Forget.Args":
        present = await origin.view.device(origin.actor, request.device)
        if not present.provider:
            raise NotFound(f"{request.device} is not registered")
        return Forget.Args(device=request.device, basis=present.stamps)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Forget.Args = event.args
        device = {"push": None, "home": ""}
        basis = {name: args.basis.get(name, 0) for name in device}
        return (Effect("devices", (event.actor, args.device), device, basis),)
