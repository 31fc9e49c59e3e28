"""What the design says of two actions at once, as far as the law of a column does not say it already.

Where both write different values to one lww column the later one holds; where nothing else is said, both hold.
"""

from tests.pairs.outcomes import rivals

Rule = tuple[str, str]
"""As `Outcome.rule`, and why."""

_DELETED = "nobody is a contact of whom he has deleted meanwhile; a request remains"
_KICKED = "a kick beats every add that did not know it"
_BANNED = "with a ban goes a kick, which beats every add that did not know it"
_STAYS = "the kick that went with the ban stays"
_LEFT = "a leave takes with it only what it had seen"
_OWNER = "an owner who is no member owns nothing"

RULES: dict[tuple[str, str], Rule] = {
    ("contact.accept", "contact.delete"): ("contact.delete", _DELETED),
    ("contact.delete", "contact.request"): ("contact.delete", _DELETED),
    ("dialog.mark_unread", "dialog.read"): (
        "dialog.read; the other where it is later", "a read takes back the marks before it, and never goes back itself",
    ),
    ("handle.claim", "handle.claim"): ("earlier", "a claim takes only a free name; the loser is told"),
    ("member.add", "member.kick"): ("member.kick", _KICKED),
    ("member.join", "member.kick"): ("member.kick", _KICKED),
    ("member.add", "member.leave"): ("member.add", _LEFT),
    ("member.join", "member.leave"): ("member.join", _LEFT),
    ("member.kick", "member.role"): (
        "member.kick; the other where it is later", "a role is valid only with a stamp after every kick",
    ),
    ("chat.owner", "member.kick"): ("member.kick", _OWNER),
    ("chat.owner", "member.leave"): ("member.leave", _OWNER),
    ("chat.ban", "invite.accept"): ("chat.ban", _BANNED),
    ("chat.ban", "member.add"): ("chat.ban", _BANNED),
    ("chat.ban", "member.join"): ("chat.ban", _BANNED),
    ("chat.ban", "member.role"): (
        "chat.ban; the other where it is later", "a role is valid only with a stamp after every kick",
    ),
    ("chat.owner", "chat.unban"): ("chat.unban", _OWNER),
    ("chat.unban", "invite.accept"): ("chat.unban", _STAYS),
    ("chat.unban", "member.add"): ("chat.unban", _STAYS),
    ("chat.unban", "member.join"): ("chat.unban", _STAYS),
    ("invite.accept", "member.kick"): ("member.kick", _KICKED),
    ("invite.accept", "member.leave"): ("invite.accept", _LEFT),
    ("request.approve", "request.ask"): ("request.approve", "a member asks no more"),
    ("message.edit", "message.edit"): ("later", "the newest revision is shown, all are kept"),
    ("message.edit", "message.recall"): ("message.recall", "recalled beats any edit, whatever its stamp"),
    ("message.recall", "reaction.set"): ("message.recall", "of a recalled message nothing is shown"),
    ("reaction.clear", "reaction.set"): ("later", "per message, user and emoji the greatest stamp is shown"),
}  # fmt: skip


def expected(a: str, b: str) -> Rule:
    """What is to become of the two (in the order of their names)."""
    found = RULES.get((a, b))
    if found is not None:
        return found
    return ("later", "one value: the later write is kept (lww)") if rivals(a, b) else ("both", "")
