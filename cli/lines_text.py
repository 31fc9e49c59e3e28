"""The words for lines about a chat: the backend tells what was done, each client says it in its own language."""

import json

from cli.called import Called
from planb_sdk import Message

_DONE = {
    "chat.ban": "banned",
    "chat.owner": "handed the chat over to",
    "group.create": "created the group",
    "group.dissolve": "dissolved the chat",
    "group.update": "changed",
    "invite.accept": "came in by a link",
    "member.add": "added",
    "member.join": "joined",
    "member.kick": "removed",
    "member.leave": "left",
    "member.role": "changed the role of",
    "request.approve": "let in",
    "supergroup.create": "created the supergroup",
}


async def words_of(message: Message, called: Called) -> str:
    """After the name of who did it. What a newer datacenter tells of is called by its action's name."""
    told = message.content or {}
    what = str(told.get("what", ""))
    users = [await called.user(user) for user in told.get("users", ()) if user != message.sender]
    old, new = told.get("old", {}), told.get("new", {})
    # Who owns a chat, and how a new one is called, the rest of the line says.
    values = [f"{name} from {_quoted(old[name])} to {_quoted(new.get(name))}" for name in old if name != "owner"]
    return " ".join(filter(None, (_DONE.get(what, what), ", ".join(users), ", ".join(values))))


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
