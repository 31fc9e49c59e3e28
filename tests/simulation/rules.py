"""The rules of membership, recall and the like, once more and by other means: from the events and what their origins
said they knew, without the registers, folds and stores of production."""

from collections.abc import Iterable, Mapping
from typing import Any

from core.event import Event
from core.ids import lane_of

Json = dict[str, Any]


class Chat:
    """What happened to one chat."""

    def __init__(self) -> None:
        self.adds: dict[str, list[tuple[int, Mapping[int, int]]]] = {}
        """user -> (add, kicks of him that its origin knew, per lane)."""
        self.kicks: dict[str, list[int]] = {}
        self.left: dict[str, set[int]] = {}
        """user -> adds that some leave had seen, and all before them in their lanes."""
        self.dissolved = False

    def living(self, user: str) -> list[int]:
        """Adds that no leave had seen, and that knew of every kick."""
        return [
            add
            for add, knew in self.adds.get(user, ())
            if add not in self.left.get(user, ())
            and all(knew.get(lane_of(kick), 0) >= kick for kick in self.kicks.get(user, ()))
        ]

    def present(self, user: str) -> bool:
        """Is a member."""
        return bool(self.living(user))


def ended(event: Event) -> str:
    """Whose membership of `args.chat` this ends, with `args.seen` for what he still reads; "" for nobody's."""
    if event.action == "member.leave":
        return event.actor
    # Who is banned when he is no member reads no further for it.
    if event.action == "member.kick" or (event.action == "chat.ban" and event.args.seen):
        return str(event.args.user)
    return ""


def addressed(event: Event) -> Iterable[str]:
    """To whom a message or line was by its own word."""
    args: Any = event.args
    users: Iterable[str] = args.users if event.action.endswith(".create") else args.to
    return users


def told(event: Event) -> Json | None:
    """What a line in the chat has to say of this event; None where nothing happened that there would be a line of."""
    args: Any = event.args
    users: list[str] = []
    values: tuple[Json, Json] = ({}, {})
    if event.action in ("group.create", "supergroup.create"):
        users, values = [user for user in args.users if user != event.actor], ({}, {"title": args.title})
    elif event.action in ("member.add", "member.join", "invite.accept", "request.approve") and args.adds:
        users = list(args.adds)
    elif ended(event):
        users = [ended(event)]
    elif event.action == "member.role" and args.was:
        users, values = [args.user], ({"role": args.was}, {"role": args.role})
    elif event.action == "chat.owner":
        users, values = [args.user], ({"owner": event.actor}, {"owner": args.user})
    elif event.action == "group.update" and args.old:
        values = (args.old, {name: args.fields[name] for name in args.old})
    elif event.action != "group.dissolve":
        return None
    found = {"users": sorted(users), "old": values[0], "new": values[1]}
    return {"kind": "system", "what": event.action} | {name: value for name, value in found.items() if value}


def chats(events: Iterable[Event]) -> dict[str, Chat]:
    """All chats, by id."""
    found: dict[str, Chat] = {}
    leaves: list[tuple[str, str, Mapping[int, int]]] = []
    for event in events:
        args: Any = event.args
        if event.action in ("group.create", "supergroup.create"):
            chat = found.setdefault(args.chat, Chat())
            for user in args.users:
                chat.adds.setdefault(user, []).append((event.id, {}))
        elif event.action in ("member.add", "member.join", "invite.accept", "request.approve"):
            chat = found.setdefault(args.chat, Chat())
            for user, knew in args.adds.items():
                chat.adds.setdefault(user, []).append((event.id, knew))
        elif event.action in ("member.kick", "chat.ban"):
            found.setdefault(args.chat, Chat()).kicks.setdefault(args.user, []).append(event.id)
        elif event.action == "member.leave":
            leaves.append((args.chat, event.actor, args.adds))
        elif event.action == "group.dissolve":
            found.setdefault(args.chat, Chat()).dissolved = True
    for name, user, seen in leaves:
        chat = found.setdefault(name, Chat())
        for add, _ in chat.adds.get(user, ()):
            if add <= seen.get(lane_of(add), 0):
                chat.left.setdefault(user, set()).add(add)
    return found


def dropped(events: Iterable[Event]) -> set[tuple[int, int]]:
    """Places (lane, seq) of parked events that everybody whom those who agreed had named has agreed to drop."""
    agreed: dict[tuple[int, int], set[int]] = {}
    named: dict[tuple[int, int], set[int]] = {}
    for event in events:
        if event.action == "parked.drop" and event.args.agreed:
            place = (event.args.lane, event.args.seq)
            agreed.setdefault(place, set()).add(lane_of(event.id) >> 11)
            named.setdefault(place, set()).update(event.args.dcs)
    return {place for place, who in agreed.items() if named[place] <= who}


def recalled(events: Iterable[Event]) -> set[int]:
    """Message ids that somebody recalled."""
    return {event.args.message for event in events if event.action == "message.recall"}


def revoked(events: Iterable[Event]) -> set[str]:
    """Sessions that were ended."""
    return {event.args.session for event in events if event.action == "session.revoke"}
