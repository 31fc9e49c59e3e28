"""Who owns a chat when the owner is gone: decided by state alone, so every DC names the same one."""

from collections.abc import Mapping

from core.membership import Membership


def owner_of(owner: str, members: Mapping[str, Membership]) -> str:
    """The owner in force: `owner` (chats.owner) while a present member; else the longest-standing admin, then the
    longest-standing member (smallest add id, then user id); "" for a chat that nobody is in.

    Nothing is written when it falls to another: an owner who comes back owns the chat again.
    """
    present = {user: membership for user, membership in members.items() if membership.present}
    if owner in present:
        return owner
    admins = [user for user, membership in present.items() if membership.valid_role == "admin"]
    return min(admins or present, key=lambda user: (present[user].joined_at, user), default="")
