"""Who is in a chat: registers per (chat, user), each a sparse vector per lane.

    add[lane]    = (id, kicks of this user known there, per lane); the greatest id wins
    left[lane]   = max of the add ids that the leaver's origin had applied
    kicked[lane] = max id of a kick
    seen[lane]   = max of what the origins of his leaves and kicks had applied

Member <=> some lane's add > left[that lane] and its known kicks cover every kicked[lane]. So a leave removes only
what it had seen, and a kick beats every join that did not know it, whatever the clocks say. Scalars in place of the
vectors, or stamps in place of knowledge, break this (tests/models/test_membership.py). After observed-remove
sets (Shapiro et al. 2011), with a remove that wins for kicks.
"""

from collections.abc import Mapping
from typing import NamedTuple

from core.ids import lane_of


class Add(NamedTuple):
    id: int
    knew: dict[int, int]
    """lane -> greatest kick of this member that the adder's DC had applied."""


class Membership(NamedTuple):
    """The registers of one (chat, user). Immutable by convention: the dicts are never changed in place."""

    adds: dict[int, Add] = {}  # noqa: RUF012
    left: dict[int, int] = {}  # noqa: RUF012
    kicked: dict[int, int] = {}  # noqa: RUF012
    role: str = ""
    role_at: int = 0
    left_at: int = 0
    seen: dict[int, int] = {}  # noqa: RUF012

    def live_adds(self) -> list[Add]:
        """The adds that still hold."""
        return [
            add
            for lane, add in self.adds.items()
            if add.id > self.left.get(lane, 0) and all(add.knew.get(by, 0) >= kick for by, kick in self.kicked.items())
        ]

    @property
    def present(self) -> bool:
        """Is a member now."""
        return bool(self.live_adds())

    @property
    def ever(self) -> bool:
        """Is or was a member."""
        return bool(self.adds)

    @property
    def former(self) -> bool:
        """Was a member, and is none now."""
        return self.ever and not self.present

    @property
    def joined_at(self) -> int:
        """The smallest add that still holds; 0 for one who is not a member. Unread counts begin after it."""
        return min((add.id for add in self.live_adds()), default=0)

    @property
    def end(self) -> int:
        """The greatest id that a former member's last leave or kick knew, mostly its own: where his dialog stands."""
        return max(self.seen.values(), default=0)

    def ended_before(self, id: int) -> bool:
        """Did a former member's last leave or kick come before this event? What its origin had applied came before
        it, and nothing else: a stamp that lies ahead, because a clock does, lets nobody read on."""
        return id > self.seen.get(lane_of(id), 0)

    def as_told_to(self, former: "Membership") -> "Membership":
        """What a former member's end knew of this one, as far as registers tell: they keep the newest only, so an add
        that came again since is not known to have been there before."""
        after = former.ended_before
        return Membership(
            {lane: add for lane, add in self.adds.items() if not after(add.id)},
            {} if after(self.left_at) else self.left,
            {lane: kick for lane, kick in self.kicked.items() if not after(kick)},
            "" if after(self.role_at) else self.role,
            self.role_at,
            self.left_at,
        )

    @property
    def valid_role(self) -> str:
        """ "owner" is not kept here (chats.owner); "admin" counts only with a stamp after every kick."""
        return self.role if self.role_at > max(self.kicked.values(), default=0) else ""

    def known_adds(self) -> dict[int, int]:
        """lane -> greatest add: what a leave takes with it."""
        return {lane: add.id for lane, add in self.adds.items()}

    def knowledge(self) -> dict[int, int]:
        """lane -> greatest add, leave or kick seen: this member's part of a message's `knew`."""
        known = self.known_adds()
        for lane, id in self.kicked.items():
            known[lane] = max(known.get(lane, 0), id)
        if self.left_at:
            known[self.left_at & 0xFFFF] = max(known.get(self.left_at & 0xFFFF, 0), self.left_at)
        return known


class Roll(NamedTuple):
    """Who is in a chat, and what is known of everybody who ever was. Those who were may be many thousands, and no write
    may cost more for it: a change of one member makes the next roll from the last one. Immutable by convention."""

    present: dict[str, Membership] = {}  # noqa: RUF012
    users: tuple[str, ...] = ()
    """Those present, sorted."""
    knew: dict[int, int] = {}  # noqa: RUF012
    """lane -> greatest add, leave or kick seen, of former members too. Registers keep a user's last leave alone: of the
    one before it only a roll that was there then knows."""

    def told(self, changed: Mapping[str, Membership]) -> "Roll":
        """The roll after these users' registers have become so. Registers only grow, and `knew` with them."""
        present, knew = dict(self.present), dict(self.knew)
        for user, membership in changed.items():
            if membership.present:
                present[user] = membership
            else:
                present.pop(user, None)
            for lane, id in membership.knowledge().items():
                knew[lane] = max(knew.get(lane, 0), id)
        return Roll(present, tuple(sorted(present)), knew)
