"""Lines in a chat's history that tell what happened to it: who was added, by whom, and the like.

No event of their own: the event that changes the chat is the line, as a row under its own id, so it is there as often
as the event is, which is once in every datacenter. A line tells what was done, not what holds: of an add that a
concurrent kick undoes it still says that somebody was added. What is the case, members and chats say.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from core import ids
from core.access import kind_of
from core.action import Touch
from core.actions.messages import row
from core.event import Event
from core.tables import Effect

Told = Literal[
    "chat.ban", "chat.owner", "group.create", "group.dissolve", "group.update", "invite.accept", "member.add",
    "member.join", "member.kick", "member.leave", "member.role", "request.approve", "supergroup.create",
]  # fmt: skip
"""The actions that draw one."""


def line(
    event: Event,
    to: Iterable[str],
    knew: Mapping[int, int],
    *,
    users: Iterable[str] = (),
    old: Mapping[str, str] | None = None,
    new: Mapping[str, str] | None = None,
) -> Effect:
    """The row of `event.args.chat` that says what the event did: to `users`, and to what values it changed. `to` and
    `knew` as its audience has them: who is fed the event is fed its line.

    Copies are one line, as they are one message: a retry through another datacenter is of the same class.
    """
    chat = event.args.chat
    content: dict[str, Any] = {"kind": "system", "what": event.action}
    named = sorted(users)
    if named:
        content["users"] = named
    if old:
        content["old"] = dict(old)
    if new:
        content["new"] = dict(new)
    body: dict[str, Any] = {"text": "", "content": content, "system": True, "to": list(to)}
    if knew:
        body["knew"] = {str(lane): id for lane, id in knew.items()}
    class_ = ids.class_of(event.actor, event.key or str(event.id), chat, event.fingerprint)
    return row(event, chat, event.id, "send", body, class_)


def line_touch(event: Event) -> Touch:
    """The update by which those concerned get it: of a supergroup in its own updates, as its messages; whom it is about
    has his membership in his own."""
    chat = event.args.chat
    return Touch("message", (chat, event.id), chat if kind_of(chat) == "supergroup" else "")
