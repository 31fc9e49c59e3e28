"""Who is a contact of whom: two requests, one each way, each of registers per lane.

    asked[lane] = max id of a request
    ended[lane] = max of the requests that the origins of deletions had applied

A request holds <=> some lane's asked > ended[that lane]. Two that hold are an acceptance: they are contacts. So a
deletion takes away only what it had seen, from both sides, and nobody is a contact of one who has not asked for it
after all the deletions that knew of his asking (as core/membership.py, without kicks).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

State = Literal["contact", "asked", "asks", "none"]
"""A contact; I have asked him; he asks me."""


class Asking(NamedTuple):
    """One way. Immutable by convention."""

    asked: dict[int, int] = {}  # noqa: RUF012
    ended: dict[int, int] = {}  # noqa: RUF012

    def since(self) -> int:
        """The smallest request that still holds; 0: none does."""
        return min((id for lane, id in self.asked.items() if id > self.ended.get(lane, 0)), default=0)


class Contact(NamedTuple):
    """Both ways, from the side of one of the two."""

    mine: Asking = Asking()
    his: Asking = Asking()

    @property
    def state(self) -> State:
        mine, his = self.mine.since(), self.his.since()
        if mine and his:
            return "contact"
        return "asked" if mine else "asks" if his else "none"

    @property
    def since(self) -> int:
        """The event that has made it what it is; 0 for none."""
        return max(self.mine.since(), self.his.since())


def contacts(mine: Iterable[Mapping[str, Any]], his: Iterable[Mapping[str, Any]]) -> dict[str, Contact]:
    """peer -> what there is, from the rows of a user and those in which he is the peer. "none" is left out."""
    found: dict[str, Contact] = {}
    for rows, of, side in ((mine, "peer", "mine"), (his, "user", "his")):
        for row in rows:
            one = found.setdefault(row[of], Contact(Asking({}, {}), Asking({}, {})))
            asking: Asking = getattr(one, side)
            for register, value in ((asking.asked, row["asked"]), (asking.ended, row["ended"])):
                if value:
                    register[row["lane"]] = value
    return {peer: one for peer, one in found.items() if one.state != "none"}
