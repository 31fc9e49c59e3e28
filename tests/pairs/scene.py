"""The world in which pairs are played: two datacenters that agree on everything, with one of each thing."""

from typing import Any

from core.event import Event
from core.fold import State
from core.handles import Row as HandleRow
from core.handles import holder_of
from core.invites import claimed
from core.messages import Message
from events.codec import decode
from tests.support.mesh import ACTIONS, LINKS, Mesh, run
from tests.support.view import StateView, members_of, message_of

ADA, BEN, CY, DAN = USERS = ("Uada", "Uben", "Ucy", "Udan")
EMOJI = "+1"


class Scene(Mesh):
    """Ada owns a group and a supergroup with Ben (an admin there) and Cy, who has a draft in it. She has reacted to her
    own message, has a session, a device, a handle, and a name that another one lost against; she has blocked Ben, who
    asks her to be a contact. There is a link into the group, Dan asks to be let into a third chat of hers, and a
    message of hers waits to be sent."""

    def __init__(self) -> None:
        super().__init__(dcs=2, lanes=1)
        self.group = self.supergroup = self.session = self.door = self.invite = self.link = self.later = ""
        self.message = self.draft = self.lost = self.kept = 0

    def do(self, dc: int, action: str, actor: str, request: dict[str, Any], key: str = "") -> Event:
        """A call at one datacenter; later than all before, by its stamp."""
        self.now_ms += 20
        return self.write(dc, action, actor, request, key=key, position=self.dcs[dc].position(actor))

    def furnish(self) -> "Scene":
        """Everything that samples name."""
        for user in USERS:
            self.do(0, "user.upsert", "sys", {"user": user, "name": user})
        people = {"title": "Lunch", "users": [BEN, CY]}
        self.group = self.do(0, "group.create", ADA, {"kind": "group", **people}, "g").args.chat
        self.supergroup = self.do(0, "supergroup.create", ADA, {"kind": "supergroup", **people}, "c").args.chat
        self.do(0, "member.role", ADA, {"chat": self.group, "user": BEN, "role": "admin"})
        self.message = self.do(0, "message.send", ADA, {"to": self.group, "text": "sent"}, "m").id
        about = {"message": str(self.message)}
        self.do(0, "reaction.set", ADA, {**about, "emoji": EMOJI})
        self.session = self.do(0, "token.issue", ADA, {"user": ADA, "device": "phone"}, "s").args.session
        self.do(0, "device.register", ADA, {"device": "phone", "provider": "fcm", "token": "first"})
        self.do(0, "handle.claim", ADA, {"handle": "ada"})
        self.do(0, "contact.request", BEN, {"user": ADA})
        self.do(0, "block.set", ADA, {"user": BEN})
        made = self.do(0, "invite.create", ADA, {"chat": self.group}, "i")
        link = claimed(ACTIONS["invite.create"].result(made)["link"])
        assert link is not None
        self.invite, self.link = link.invite, LINKS.signed(link)
        asked_for = {"kind": "supergroup", "title": "By request", "entry": "approval"}
        self.door = self.do(0, "supergroup.create", ADA, asked_for, "d").args.chat
        self.do(0, "request.ask", DAN, {"chat": self.door})
        later = {"to": self.group, "text": "later", "at_ms": self.now_ms + 3_600_000}
        self.later = self.do(0, "message.schedule", ADA, later, "l").args.scheduled
        self.settle()
        self.lost = self.do(0, "user.update", ADA, {"name": "lost"}).id
        self.kept = self.do(1, "user.update", ADA, {"name": "kept"}).id
        self.draft = self.do(1, "draft.set", CY, {"peer": self.group, "text": "begun"}).id
        self.settle()
        return self

    def again(self) -> "Scene":
        """Another one in the same state, made from the lanes."""
        other = Scene()
        other.__dict__.update(
            {
                name: getattr(self, name)
                for name in (
                    *("group", "supergroup", "session", "message", "draft", "lost", "kept", "door", "invite", "link"),
                    "later",
                )
            }
        )
        other.now_ms = self.now_ms
        other.logs = {lane: list(records) for lane, records in self.logs.items()}
        other.settle()
        return other


class Seen:
    """What one state shows, for those who ask whether an action holds."""

    def __init__(self, scene: Scene, state: State) -> None:
        self.scene = scene
        self.state = state
        self.view = StateView(state)

    def row(self, table: str, **key: Any) -> dict[str, Any]:
        """The row; {} where there is none."""
        rows = self.state.rows(table, key)
        return rows[0] if rows else {}

    def message(self, id: int) -> Message | None:
        return message_of(self.state.message_rows(), id)

    def member(self, chat: str, user: str) -> Any:
        return run(self.view.membership(chat, user))

    def present(self, chat: str) -> set[str]:
        return {user for user, one in members_of(self.state, chat).items() if one.present}

    def holder(self, handle: str) -> str:
        rows = [
            HandleRow(row["event"], row["user"], row["kind"]) for row in self.state.rows("handles", {"handle": handle})
        ]
        return holder_of(rows).user

    def contact(self, user: str, peer: str) -> str:
        found = run(self.view.contacts_of(user)).get(peer)
        return found.state if found else "none"


def applied(scene: Scene) -> dict[int, Event]:
    """All events of a scene by their ids."""
    events = [decode(record) for records in scene.logs.values() for record in records]
    return {event.id: event for event in sorted(events, key=lambda one: one.id)}
