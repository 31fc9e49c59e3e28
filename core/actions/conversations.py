"""What several actions look up at their origin: a chat, the caller's standing in it, recipients, a readable message.

Nothing here decides at replay; the answers end up in `Args`.
"""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable
from typing import NamedTuple

from core import ids, limits
from core.access import kind_of, may_read
from core.action import Args, Audience, ChatView, Origin, View
from core.errors import Conflict, Forbidden, Full, Gone, Invalid, NotFound, OutcomeUnknown, PlanBError, UserFull
from core.membership import Membership, Roll
from core.messages import Message


class Reach(NamedTuple):
    """Whom an event of a conversation goes to, as the origin sees it."""

    to: tuple[str, ...]
    """Present members of a group, both users of a direct; () for a supergroup, which has updates of its own."""
    knew: dict[int, int]
    """lane -> greatest membership event of the group that the origin had applied."""


class ChatArgs(Args, frozen=True, kw_only=True):
    """Arguments of what happens to a chat."""

    chat: str
    to: tuple[str, ...] = ()
    knew: dict[int, int] = {}


def audience_of(conversation: str, to: Iterable[str], knew: dict[int, int]) -> Audience:
    """Users by name; a group's members that the origin did not know yet; a supergroup's own updates."""
    kind = kind_of(conversation)
    return Audience(
        users=tuple(to),
        conversation=conversation if kind == "group" else None,
        knew=knew,
        channel=conversation if kind == "supergroup" else None,
    )


def new_id(prefix: str, action: str, origin: Origin) -> str:
    """The id of a thing created by this call: the same for every retry under one key, in any DC, and for ever. Another
    request under the key makes another thing."""
    if origin.key:
        return f"{prefix}{ids.derived_id(action, origin.actor, origin.key, origin.fingerprint.hex())}"
    return f"{prefix}{int.from_bytes(origin.entropy(8)) & ids.ID_MAX}"


def made_before(thing: str, made_ms: int, origin: Origin) -> PlanBError:
    """What to answer where the thing of this key is here already, and what made it no longer answers for the key:
    Conflict. To make it again would undo what was done to it since. OutcomeUnknown while its answer must be on its way:
    a store has the row first."""
    if origin.now_ms - made_ms < limits.RESULT_KEPT_S * 1000:
        return OutcomeUnknown(f"{thing} is being made")
    return Conflict(f"this key made {thing} long ago; take a new key for another one", made=thing)


async def known_chat(view: View, chat: str) -> ChatView:
    """NotFound where this DC has not heard of it."""
    found = await view.chat(chat)
    if found is None or not found.kind:
        raise NotFound(f"there is no chat {chat}")
    return found


async def live_chat(view: View, chat: str) -> ChatView:
    """As `known_chat`; Gone when it was dissolved."""
    found = await known_chat(view, chat)
    if found.dissolved:
        raise Gone(f"{chat} was dissolved")
    return found


async def require_users(view: View, users: Iterable[str]) -> None:
    """NotFound naming the first that does not exist here."""
    for user in users:
        if await view.user(user) is None:
            raise NotFound(f"there is no user {user}")


async def require_member(view: View, chat: str, user: str) -> Membership:
    """Forbidden for whoever is not a member now."""
    membership = await view.membership(chat, user)
    if not membership.present:
        raise Forbidden(f"you are not a member of {chat}")
    return membership


async def standing(view: View, chat: ChatView, user: str) -> str:
    """ "owner", "admin", "member" or "" (not in it)."""
    membership = await view.membership(chat.chat, user)
    if not membership.present:
        return ""
    owner = chat.owner if chat.owner == user else await owner_in_force(view, chat)
    return "owner" if owner == user else membership.valid_role or "member"


async def owner_in_force(view: View, chat: ChatView) -> str:
    """The owner, or who follows him while he is no member; "" for a chat that nobody is in."""
    if (await view.membership(chat.chat, chat.owner)).present:
        return chat.owner
    return await view.heir(chat.chat)


async def require_manager(view: View, chat: ChatView, user: str) -> None:
    """Forbidden for all but owner and admins."""
    if await standing(view, chat, user) not in ("owner", "admin"):
        raise Forbidden("only the owner and admins may do this")


async def reach_of(view: View, chat: str) -> Reach:
    """The recipients of what happens in this chat now."""
    if kind_of(chat) == "supergroup":
        return Reach((), {})
    return reach_in(await view.roll(chat))


def reach_in(roll: Roll) -> Reach:
    """The recipients in a group, and what is known of all who ever were in it."""
    return Reach(roll.users, roll.knew)


def require_room(chat: str, present: int, more: int) -> None:
    """Full when a group would grow beyond its bound. Asked at the origin only: two DCs may overshoot together, the
    overshoot stays and blocks further adds."""
    if kind_of(chat) == "group" and present + more > limits.GROUP_MEMBERS_MAX:
        raise Full(f"a group has at most {limits.GROUP_MEMBERS_MAX} members; this one has {present}")


async def require_room_of(view: View, chat: str, actor: str, users: Iterable[str]) -> None:
    """UserFull when a user would be in more supergroups than he may. Asked at the origin only, as above; a cursor bears
    the overshoot."""
    if kind_of(chat) != "supergroup":
        return
    for user in users:
        most = limits.SUPERGROUPS_OF_USER_MAX if user == actor else limits.SUPERGROUPS_ADDED_MAX
        found = await view.memberships_of(user)
        if sum(its.present and kind_of(one) == "supergroup" for one, its in found.items()) >= most:
            raise UserFull(f"{user} is in {most} supergroups")


async def conversation_of(view: View, actor: str, peer: str) -> str:
    """The conversation that `actor` has with `peer`. NotFound where there is none, or where it is not his."""
    if peer[0] == "U":
        await require_users(view, (peer,))
        return ids.direct_conversation(actor, peer)
    if peer[0] == "D":
        pair = await view.direct(peer)
        if pair is None or actor not in pair:
            raise NotFound(f"there is no conversation {peer}")
    else:
        await known_chat(view, peer)
        if not (await view.membership(peer, actor)).ever:
            raise NotFound(f"there is no conversation {peer}")
    return peer


async def readable(view: View, actor: str, message: int, conversation: str | None = None) -> Message:
    """The message, if `actor` may read it (and, if given, it is of `conversation`). NotFound otherwise: what one may
    not read does not exist for him."""
    found = await view.message(message)
    if found is not None and conversation in (None, found.conversation):
        kind = kind_of(found.conversation)
        membership = Membership() if kind == "direct" else await view.membership(found.conversation, actor)
        if may_read(found, actor, membership, kind):
            return found
    raise NotFound(f"there is no message {message}")


async def shown_to(view: View, actor: str, message: int) -> Message:
    """As `readable`, and as this one may see it: who left a chat sees no later edit."""
    found = await readable(view, actor, message)
    if kind_of(found.conversation) != "direct":
        membership = await view.membership(found.conversation, actor)
        if membership.former:
            return await view.message(found.id, membership.seen) or found
    return found


async def require_may_write(view: View, conversation: str, actor: str) -> None:
    """In a chat: Gone when dissolved, Forbidden for whoever is not a member now. In a direct: Forbidden for whom the
    other one has blocked."""
    if kind_of(conversation) != "direct":
        await live_chat(view, conversation)
        await require_member(view, conversation, actor)
    elif pair := await view.direct(conversation):
        await require_unblocked(view, actor, pair[1] if pair[0] == actor else pair[0])


async def require_unbanned(view: View, chat: str, user: str) -> None:
    """Forbidden for whom the chat is closed, as far as it is applied here."""
    if (await view.ban(chat, user))[0]:
        raise Forbidden(f"{user} is banned from {chat}")


async def require_unblocked(view: View, actor: str, other: str) -> None:
    """Forbidden for whom the other one has blocked, as far as it is applied here."""
    if actor in await view.blocks_of(other):
        raise Forbidden(f"{other} takes nothing from you")


async def require_takers(view: View, actor: str, users: Iterable[str]) -> None:
    """Users who can be put into a chat by this one. NotFound for whom there is not; Forbidden for who has blocked
    him."""
    others = sorted(set(users) - {actor})
    await require_users(view, users)
    for other in others:
        await require_unblocked(view, actor, other)


def require_written(message: Message) -> None:
    """Forbidden for a line that tells what happened to a chat: nobody wrote it, so nobody changes, repeats, judges it
    or takes it back."""
    if message.system:
        raise Forbidden("this line tells what happened to the chat: it may be hidden and replied to, nothing else")


async def reach_about(view: View, message: Message) -> Reach:
    """The recipients of what happens to a message now."""
    if kind_of(message.conversation) == "direct":
        return Reach(message.to, {})
    return await reach_of(view, message.conversation)


async def covered(origin: Origin, conversation: str, message: int) -> dict[int, int]:
    """lane -> id: what a mark set at `message` may cover, by what the client says it has.

    Invalid without a position: a mark that covers what the client never got would hide it for ever.
    """
    await readable(origin.view, origin.actor, message, conversation)
    if origin.position is None:
        raise Invalid("a mark needs the client's position: the cursor of the last frame or page that it has")
    return await origin.view.seen(origin.actor, conversation, message, origin.position)
