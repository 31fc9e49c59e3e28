"""Coming into a chat, by whatever call: what its event holds, and what follows from it."""

# ruff: noqa: RUF012  (class values of actions and defaults of frozen structs are never mutated)

from collections.abc import Iterable, Mapping
from typing import Any

from core import action, limits
from core.access import kind_of
from core.action import Audience, Origin, Touch
from core.actions.conversations import ChatArgs, audience_of, reach_of, require_room, require_room_of, require_unbanned
from core.actions.lines import line, line_touch
from core.errors import Conflict
from core.event import Event
from core.ids import lane_of
from core.tables import Effect

ADD_RULE = (
    "Registers per lane: an add holds until a leave that had seen it, or a kick that it did not know of. So a kick "
    "beats every concurrent add, whatever the clocks say, and an add beats a concurrent leave."
)


class AddArgs(ChatArgs, frozen=True, kw_only=True):
    adds: dict[str, dict[int, int]]
    """user -> the kicks of him that the origin had applied, lane -> id."""
    before: dict[str, dict[int, int]] = {}
    """user -> his earlier adds, lane -> id: the basis. Only of those who were members before."""
    ended: dict[int, str] = {}
    """Request -> who made it: those that are answered with this."""


async def adding(origin: Origin, chat: str, users: Iterable[str]) -> AddArgs:
    """Adds those who are not in it yet: adding a present member again would only make him a newer one."""
    registers = {user: await origin.view.membership(chat, user) for user in users}
    adds = {user: membership for user, membership in registers.items() if not membership.present}
    if not adds:
        raise Conflict("already a member")
    for user in adds:
        await require_unbanned(origin.view, chat, user)
    await require_room_of(origin.view, chat, origin.actor, adds)
    reach = await reach_of(origin.view, chat)
    require_room(chat, len(reach.to), len(adds))
    return AddArgs(
        chat=chat,
        to=tuple(sorted({*reach.to, *adds})),
        knew=reach.knew,
        adds={user: dict(membership.kicked) for user, membership in adds.items()},
        before={user: membership.known_adds() for user, membership in adds.items() if membership.ever},
        ended={one.event: user for user in adds for one in await origin.view.asked(chat, user) if not one.ended},
    )


class Adding(action.Action):
    """What all have in common by which somebody comes into a chat."""

    @staticmethod
    def turn(request: Any) -> str:
        return request.chat if kind_of(request.chat) == "group" else ""

    @staticmethod
    def effects(event: Event) -> Iterable[Effect]:
        args: AddArgs = event.args
        lane = lane_of(event.id)
        for user, kicks in args.adds.items():
            knew = {str(by): kick for by, kick in kicks.items()}
            basis = args.before.get(user, {}).get(lane, 0)
            yield Effect("member_adds", (args.chat, user, lane), {"knew": knew}, {"knew": basis})
        yield from ended(args.chat, args.ended)
        if args.adds:
            yield line(event, args.to, args.knew, users=args.adds)

    @staticmethod
    def audience(event: Event) -> Audience:
        return audience_of(event.args.chat, event.args.to, event.args.knew)

    @staticmethod
    def touches(event: Event) -> tuple[Touch, ...]:
        """The chat (new to the added), then the members; beyond a group's worth the chat stands for all of them."""
        args: AddArgs = event.args
        members = tuple(Touch("member", (args.chat, user)) for user in args.adds)
        told = members if len(members) <= limits.GROUP_MEMBERS_MAX else ()
        return (Touch("chat", (args.chat,)), *told, line_touch(event))


def ended(chat: str, requests: Mapping[int, str]) -> Iterable[Effect]:
    """These requests (event -> user) have an answer."""
    for event, user in requests.items():
        yield Effect("join_requests", (event,), {"chat": chat, "user": user, "ended": 1})
