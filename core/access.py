"""Who may read what, as a pure function: history, and everything that names a message, ask it."""

from core.membership import Membership
from core.messages import Message

_KINDS = {"D": "direct", "G": "group", "C": "supergroup"}


def kind_of(conversation: str) -> str:
    """ "direct", "group" or "supergroup": the first letter of the id tells."""
    return _KINDS[conversation[0]]


def may_read(message: Message, user: str, membership: Membership, kind: str) -> bool:
    """May `user`, with this membership of the message's chat, read it?

    Always what was addressed to him and what he wrote. A present member reads the chat's whole history; a former one
    what the origin of the event that ended his membership had applied, and no other line about the chat, though one may
    name him among its recipients: it tells of a title and of members that he is not shown. A dissolved chat stays
    readable. In a direct conversation there is no membership: the two are the recipients of every message.
    """
    if user == message.sender or (user in message.to and not message.system):
        return True
    if kind == "direct":
        return False
    if membership.present:
        return True
    return membership.ever and not all(map(membership.ended_before, message.ids))
