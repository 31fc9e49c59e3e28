"""What may not be taken any more: by what its origin says it knew, and by what the same datacenter had answered."""

from typing import Any, NamedTuple

from core.event import Event
from core.ids import lane_of
from tests.simulation import rules

SPEAKS = ("message.send", "message.edit", "reaction.set", "reaction.clear")
ADDS = ("member.add", "member.join", "invite.accept", "request.approve")
CHANGES = (*SPEAKS, "group.update", *ADDS)
MEMBERSHIP = ("group.create", "supergroup.create", *ADDS, "member.kick", "chat.ban", "member.leave")


def accepted_from_outside(event: Event, membership: list[Event]) -> str:
    """Why this should have been refused at its origin, "" if it was rightly taken: whoever speaks in a group is in it,
    and it goes to nobody who is not, by all that the origin had applied. `membership`: all such events of the group."""
    args: Any = event.args
    if event.action not in SPEAKS or not args.conversation.startswith("G"):
        return ""
    known = [one for one in membership if one.id <= args.knew.get(lane_of(one.id), 0)]
    chat = rules.chats(known).get(args.conversation, rules.Chat())
    if not chat.present(event.actor):
        return f"{event.actor} is in no group {args.conversation} by what was known, and {event.action} was taken"
    # Of several leaves `knew` names the last one only, so what is reckoned here may be too many.
    if strangers := [user for user in args.to if not chat.present(user)]:
        return f"{event.action} of {args.conversation} goes to {strangers}, who are not in it by what was known"
    return ""


class Final(NamedTuple):
    """Something that cannot be undone, as a datacenter told its author."""

    event: int
    what: str
    chat: str
    user: str
    dc: str
    burns: int
    told_s: float


class Finals:
    """Once a datacenter has told that somebody is out, or a chat is over, it takes nothing more from him or in it."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self._told: list[Final] = []

    def told(self, event: Event, dc: str) -> None:
        """`dc` has answered this write."""
        world, args = self._world, event.args
        if event.action == "member.kick":
            user = args.user
        elif event.action == "group.dissolve":
            user = ""
        else:
            return
        burns = world.homes[dc].burns
        self._told.append(Final(event.id, event.action, args.chat, user, dc, burns, world.loop.time()))

    def check(self, event: Event, dc: str, begun_s: float) -> None:
        """A write that was begun at that time was taken by `dc`."""
        args: Any = event.args
        chat = getattr(args, "chat", None) or getattr(args, "conversation", None)
        for final in self._told:
            if (final.chat, final.dc) != (chat, dc) or final.told_s >= begun_s or not self._holds(final, event):
                continue
            if final.what == "group.dissolve" and event.action in CHANGES:
                self._world.ledger.broken(f"{dc} took {event.action} in {chat}, which it had told to be over")
            if final.user == event.actor and event.action in SPEAKS and not chat.startswith("D"):
                self._world.ledger.broken(f"{dc} took {event.action} from {event.actor}, whom it had told to be out")

    def _holds(self, final: Final, event: Event) -> bool:
        """Nothing was lost since, and nobody has added him again."""
        world = self._world
        if world.homes[final.dc].burns != final.burns or final.dc in world.lost_with:
            return False
        return not any(
            other.action in ADDS
            and other.args.chat == final.chat
            and final.user in other.args.adds
            and other.id > final.event
            for other in world.watching.events.values()
        )
