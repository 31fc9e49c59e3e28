"""Events that can't be applied, by an action of the simulation's own. Imported by a simulation's own process only: it
registers itself.

What an action does is the same in every datacenter of one version. `raises before` is a fault of the version before:
the next one applies what that had to park.
"""

from collections.abc import Iterable
from typing import ClassVar, Literal

from core import action
from core.action import Audience, Origin, Route, Touch
from core.event import Event
from core.tables import Effect
from tests.simulation.loop import PROCESS
from tests.simulation.poison import NAME

How = Literal["raises", "raises before", "is refused by stores"]


class Poison(action.Action):
    """Changes the caller's own description, or would like to."""

    name = NAME
    summary = "Change my description, or fail to"
    consistency = "The later write wins (lww), where it can be applied."
    route = Route("POST", "/v1/sim/poison")
    example: ClassVar[dict[str, str]] = {"about": "new", "how": "raises"}

    class Request(action.Request):
        about: str
        how: How

    class Args(action.Args, frozen=True, kw_only=True):
        user: str
        about: str
        basis: int
        how: str

    @staticmethod
    async def resolve(request: "Poison.Request", origin: Origin) -> "Poison.Args":
        present = await origin.view.user(origin.actor)
        basis = present.stamps.get("about", 0) if present else 0
        return Poison.Args(user=origin.actor, about=request.about, basis=basis, how=request.how)

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: Poison.Args = event.args
        if args.how == "raises" or (args.how == "raises before" and not PROCESS.get().knows_new):
            raise ValueError("poison")
        about = 17 if args.how == "is refused by stores" else args.about
        return (Effect("users", (args.user,), {"about": about}, {"about": args.basis}),)

    @staticmethod
    def audience(event: Event) -> Audience:
        return Audience(users=(event.args.user,))

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        return (Touch("user", (event.args.user,)),)
