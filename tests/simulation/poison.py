"""Events that can't be applied: what the simulation expects of them. Their action is in poison_action.py."""

from collections.abc import Iterable

from core.event import Event
from core.tables import Effect

NAME = "poison.about"
HOPELESS = ("raises", "is refused by stores")
"""No version will ever apply them: they can only be dropped."""


def hopeless(event: Event) -> bool:
    """Can no version ever apply it?"""
    return event.action == NAME and event.args.how in HOPELESS


def healthy_effects(event: Event) -> Iterable[Effect]:
    """What it does where it can be applied, whichever version asks."""
    args = event.args
    return () if hopeless(event) else (Effect("users", (args.user,), {"about": args.about}, {"about": args.basis}),)
