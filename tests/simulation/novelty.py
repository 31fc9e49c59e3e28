"""An action that only one of two versions knows. Imported by a simulation's own process only: it registers itself."""

from collections.abc import Iterable
from typing import ClassVar

from core import action
from core.action import Audience, Origin, Route, Touch
from core.event import Event
from core.tables import Effect


class Novelty(action.Action):
    """Changes the caller's own description, in a way the version before has not heard of."""

    name = "sim.about"
    summary = "Change my description"
    consistency = "The later write wins (lww)."
    route = Route("POST", "/v1/sim/about")
    example: ClassVar[dict[str, str]] = {"about": "new"}

    class Request(action.Request):
        about: str

    class Args(action.Args, frozen=True, kw_only=True):
        user: str
        about: str
        basis: int

    @staticmethod
    async def resolve(request: "Novelty.Request", origin: Origin) -> "Novelty.Args":
        present = await origin.view.user(origin.actor)
        basis = present.stamps.get("about", 0) if present else 0
        return Novelty.Args(user=origin.actor, about=request.about, basis=basis)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Novelty.Args = event.args
        return (Effect("users", (args.user,), {"about": args.about}, {"about": args.basis}),)

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=(event.args.user,))

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("user", (event.args.user,)),)
