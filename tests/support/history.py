"""Random histories over all actions: a list of small numbers, read as calls at DCs and as deliveries between them.

A plain list, so Hypothesis can shrink it; a seed makes one where many are to be counted.
"""

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import pydantic

from core.actions.undo import UNDONE
from core.contacts import contacts
from core.errors import PlanBError
from core.refreshing import NUMBER_BITS
from core.rivalry import Write, conflicts
from core.scheduled import key_of
from core.tables import canonical
from stores.entry_view import invite_of
from tests.support.mesh import ACTIONS, LINKS, Mesh, run
from tests.support.view import message_of

USERS = ("Ua", "Ub", "Uc", "Ud")
NIGHT = {"zone": "Europe/Berlin", "from": "22:00", "to": "07:00"}
ENTRIES = ("open", "open", "open", "approval")
_EMOJI = ("+1", "😀")


def _poll(number: int) -> dict[str, Any]:
    return {"kind": "custom", "type": "poll", "data": {"votes": [number, 0.5, None]}}


class Step(NamedTuple):
    """`op` chooses the call, `dc` and `lane` where it is made; `who`, `whom`, `what` choose among what there is."""

    op: int
    dc: int
    lane: int
    who: int
    whom: int
    what: int
    wait_ms: int


STEP_MAX = Step(op=43, dc=2, lane=1, who=3, whom=3, what=11, wait_ms=40)


def random_steps(seed: int, count: int) -> list[Step]:
    """The same steps for the same seed."""
    random = Random(seed)
    return [Step(*(random.randint(0, most) for most in STEP_MAX)) for _ in range(count)]


class History:
    """Plays steps on a mesh. A call that is refused leaves nothing behind; `refused` counts them."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.refused: list[str] = []
        self.chats: list[str] = []
        self.sessions: list[tuple[str, str]] = []
        self.keys = 0
        for user in USERS:
            mesh.write(0, "user.upsert", "sys", {"user": user, "name": user})
        mesh.settle()
        for kind, name in (("group", "group.create"), ("supergroup", "supergroup.create")):
            made = mesh.write(0, name, USERS[0], {"kind": kind, "title": kind, "users": [USERS[1]]}, key=kind)
            self.chats.append(made.args.chat)
        fields = {"kind": "supergroup", "title": "asked for", "entry": "approval"}
        self.asked = str(mesh.write(0, "supergroup.create", USERS[0], fields, key="asked").args.chat)
        mesh.settle()

    def play(self, steps: Sequence[Step]) -> "History":
        for step in steps:
            self.mesh.now_ms += step.wait_ms
            if step.op < 5:
                self._deliver(step)
                continue
            try:
                self._call(step)
            except (PlanBError, pydantic.ValidationError) as error:
                self.refused.append(type(error).__name__)
        return self

    def _deliver(self, step: Step) -> None:
        lanes = list(self.mesh.logs)
        lane = lanes[(step.what + step.lane) % len(lanes)]
        self.mesh.deliver(step.dc, lane, step.whom + 1)

    def _write(self, step: Step, action: str, actor: str, request: dict[str, Any], key: str = "") -> Any:
        here = self.mesh.dcs[step.dc]
        position = here.position(actor, behind=step.what % 3)
        self.keys += 1
        made = self.mesh.write(
            step.dc, action, actor, request, key=key or f"key{self.keys}", lane=step.lane, position=position
        )
        return made.args

    def _messages(self, step: Step) -> list[int]:
        """Mostly what somebody wrote; a line about a chat may be hidden and replied to, the rest is refused."""
        sends = [row for row in self.mesh.dcs[step.dc].state.message_rows() if row.kind == "send"]
        return [row.message for row in sends if step.what == 7 or not row.body.get("system")]

    def _call(self, step: Step) -> None:
        who, whom = USERS[step.who], USERS[step.whom]
        chat = self.chats[step.what % len(self.chats)]
        peer = whom if step.what % 3 == 0 else chat
        named = f"n{step.what}"
        messages = self._messages(step)
        message = str(messages[-1 - step.what % len(messages)]) if messages else "1"
        emoji = _EMOJI[step.what % 2]
        match step.op:
            case 5:
                self._write(step, "user.upsert", "sys", {"user": whom, "name": named, "about": named})
            case 6:
                self._write(step, "user.update", who, {"name": named} if step.what % 2 else {"avatar": named})
            case 7:
                session = self._write(step, "token.issue", who, {"user": who, "device": named}, f"t{step.what % 3}")
                self.sessions.append((who, session.session))
            case 8 if self.sessions:
                owner, id = self.sessions[step.what % len(self.sessions)]
                if step.whom % 2:
                    self._write(step, "session.revoke", owner, {"session": id})
                else:
                    used = (1 + step.what % 4) << NUMBER_BITS | step.who
                    self._write(step, "token.refresh", owner, {"session": id, "user": owner, "used": used})
            case 9:
                kind = ("group", "supergroup")[step.what % 2]
                made = self._write(step, f"{kind}.create", who, {"kind": kind, "title": named, "users": [whom]})
                self.chats.append(made.chat)
            case 10:
                changed = {"title": named} if step.lane else {"entry": ENTRIES[step.what % 4]}
                self._write(step, "group.update", who, {"chat": chat, **changed})
            case 11 | 12:
                self._write(step, "member.add", who, {"chat": chat, "users": [whom]})
            case 13:
                self._write(step, "member.join", who, {"chat": chat})
            case 14:
                self._write(step, "member.leave", who, {"chat": chat})
            case 15 | 16:
                self._write(step, "member.kick", who, {"chat": chat, "user": whom})
            case 17 if step.wait_ms % 3 == 0:
                self._write(step, "chat.owner", self._boss(step, chat), {"chat": chat, "user": whom})
            case 17:
                role = ("admin", "member")[step.what % 2]
                self._write(step, "member.role", who, {"chat": chat, "user": whom, "role": role})
            case 18 if step.what == 0:
                self._write(step, "group.dissolve", who, {"chat": chat})
            case 19 | 20 | 21:
                reply = {"reply_to": message} if messages and step.what % 4 == 0 else {}
                drafts = self.mesh.dcs[step.dc].state.rows("drafts", {"user": who})
                draft = {"draft": str(drafts[0]["draft_at"])} if drafts and step.what % 3 == 1 else {}
                said = {"text": named} if step.what % 3 else {"content": _poll(step.what)}
                if messages and step.what % 7 == 6:
                    said = {"forward_of": message}
                said |= {"mentions": [(whom, "all")[step.lane]]} if step.whom % 2 else {}
                # Another request is another intention.
                key = f"m{step.what} {said.get('mentions')}" + (f" {message}" if reply or messages else "")
                self._write(step, "message.send", who, {"to": peer, **said, **reply, **draft}, key)
            case 22:
                said = {"text": named} if step.what % 3 else {"content": _poll(step.lane)}
                self._write(step, "message.edit", who, {"message": message, **said})
            case 23:
                which = ("all", "me")[step.what % 2]
                name = {"all": "message.recall", "me": "message.hide"}[which]
                self._write(step, name, who, {"message": message, "for": which})
            case 24:
                name = ("reaction.set", "reaction.clear")[step.what % 2]
                self._write(step, name, who, {"message": message, "emoji": emoji})
            case 25 | 26:
                shown = message_of(self.mesh.dcs[step.dc].state.message_rows(), int(message))
                place = shown.conversation if shown else peer
                name = ("dialog.read", "dialog.clear")[step.op - 25]
                self._write(step, name, who, {"peer": place, "message": message})
            case 27:
                self._write(step, "dialog.pin", who, {"peer": peer, "rank": "i" if step.what % 2 else None})
            case 30:
                self._write(step, "dialog.mark_unread", who, {"peer": peer, "on": bool(step.what % 3)})
            case 31:
                self._draft(step, who, peer, named)
            case 32:
                self._block(step, who, whom)
            case 33:
                self._contact(step, who, whom)
            case 38:
                self._link(step, who, chat)
            case 39:
                self._request(step, who)
            case 40:
                name = "chat.ban" if step.what % 3 else "chat.unban"
                self._write(step, name, self._boss(step, self.asked), {"chat": self.asked, "user": whom})
            case 36 if step.what % 3:
                self._write(step, "handle.claim", who, {"handle": f"name{step.what % 2}"})
            case 36:
                self._write(step, "handle.release", who, {})
            case 34:
                dnd = {"until_ms": step.what or None, "schedule": NIGHT if step.lane else None}
                self._write(step, "user.dnd", who, dnd)
            case 35 if step.what % 3:
                push = {"device": f"d{step.what % 2}", "provider": "fcm", "token": f"t{step.whom}"}
                self._write(step, "device.register", who, push)
            case 35:
                self._write(step, "device.forget", who, {"device": f"d{step.what % 2}"})
            case 41:
                at_ms = self.mesh.now_ms + 1 + step.wait_ms
                said = {"to": peer, "text": named, "at_ms": at_ms}
                self._write(step, "message.schedule", who, said | ({"mentions": [whom]} if step.lane else {}))
            case 42:
                self._scheduled(step)
            case 43:
                fields = {"sha256": f"{step.what:064x}", "bytes": step.what, "name": named if step.lane else None}
                self._write(step, "file.put", who, fields)
            case 29:
                self._write(step, "parked.drop", "sys", {"lane": step.lane, "seq": step.what + 1})
            case 37:
                self._undo(step)
            case 28:
                self._write(step, "dialog.mute", who, {"peer": peer, "until_ms": step.what or None})
            case _:
                self.mesh.settle()

    def _undo(self, step: Step) -> None:
        """One of what has lost here; now and then of what has not."""
        applied = self.mesh.dcs[step.dc].applied
        writes = [
            Write(effect.table, canonical(list(effect.key)).decode(), column, id, effect.basis[column], value)
            for id, event in sorted(applied.items())
            for effect in ACTIONS[event.action].effects(event)
            for column, value in effect.columns.items()
            if (effect.table, column) in UNDONE
        ]
        lost = list(conflicts(sorted(writes, key=lambda one: one[:4])))
        if lost:
            one = lost[step.what % len(lost)]
            wanted = {"event": str(one["stamp"]), "table": one["table"], "column": one["column"]}
            self._write(step, "conflict.undo", "sys", wanted | {"winner": str(one["winner_stamp"])})

    def _boss(self, step: Step, chat: str) -> str:
        """Somebody who manages it, if anybody is in it."""
        return (run(self.mesh.dcs[step.dc].view.managers(chat)) or [USERS[0]])[-1]

    def _link(self, step: Step, who: str, chat: str) -> None:
        rows = self.mesh.dcs[step.dc].state.rows("invites", {"revoked": 0})
        link = invite_of(rows[step.whom % len(rows)], {}).link if rows else None
        if link is None or step.what < 3:
            fields = {"approval": step.what == 1} | ({"uses_max": 2} if step.lane else {})
            self._write(step, "invite.create", self._boss(step, chat), {"chat": chat, **fields})
        elif step.what < 5:
            request = {"chat": link.chat, "invite": link.invite}
            self._write(step, "invite.revoke", self._boss(step, link.chat), request)
        else:
            self._write(step, "invite.accept", who, {"link": LINKS.signed(link)})

    def _request(self, step: Step, who: str) -> None:
        asked = self.mesh.dcs[step.dc].state.rows("join_requests", {"ended": 0})
        if not asked or step.what < 3:
            self._write(step, "request.ask", who, {"chat": self.asked})
            return
        one = asked[step.whom % len(asked)]
        if step.what < 5:
            self._write(step, "request.withdraw", one["user"], {"chat": one["chat"]})
        else:
            name = ("request.approve", "request.reject")[step.what % 2]
            request = {"chat": one["chat"], "user": one["user"]}
            self._write(step, name, self._boss(step, one["chat"]), request)

    def _scheduled(self, step: Step) -> None:
        """What is done with one: by its sender, or by a datacenter."""
        rows = self.mesh.dcs[step.dc].state.rows("scheduled", {})
        if not rows:
            return
        one = rows[step.whom % len(rows)]
        place = {"user": one["user"], "scheduled": one["scheduled"]}
        match step.what % 4:
            case 0:
                self._write(step, "message.unschedule", one["user"], {"scheduled": one["scheduled"]})
            case 1:
                self._write(step, "schedule.take", "sys", place)
            case 2:
                self._write(step, "schedule.fail", "sys", {**place, "code": "gone", "detail": f"{step.what}"})
            case _ if one["made"]:
                self._write(step, "message.send", one["user"], one["message"], key_of(one["scheduled"]))

    def _draft(self, step: Step, who: str, peer: str, text: str) -> None:
        if step.what % 4:
            self._write(step, "draft.set", who, {"peer": peer, "text": text})
        else:
            self._write(step, "draft.clear", who, {"peer": peer})

    def _block(self, step: Step, who: str, whom: str) -> None:
        blocks = self.mesh.dcs[step.dc].state.rows("blocks", {"blocked": 1})
        if step.what % 2 and blocks:
            one = blocks[step.what % len(blocks)]
            self._write(step, "block.clear", one["user"], {"user": one["target"]})
        else:
            self._write(step, "block.set", who, {"user": whom})

    def _contact(self, step: Step, who: str, whom: str) -> None:
        found = contacts((), self.mesh.dcs[step.dc].state.rows("contacts", {"peer": who}))
        if step.what % 3 == 0 and found:
            self._write(step, "contact.accept", who, {"user": min(found)})
        elif step.what % 3 == 1 and found:
            self._write(step, "contact.delete", who, {"user": min(found)})
        else:
            self._write(step, "contact.request", who, {"user": whom})
