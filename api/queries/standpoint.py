"""Where a client stands once it has this answer: the cursor of the present."""

from collections.abc import Callable, Mapping

from api.cursors import Cursor
from core.audience import covers
from core.membership import Membership
from stores.ports import HotStore
from stores.progress import Progress
from stores.view import StoreView


class Standpoint:
    """Makes cursors at the present of this DC."""

    def __init__(self, dc: str, view: StoreView, hot: HotStore, progress: Progress, epoch: Callable[[], int]) -> None:
        self.dc = dc
        self._view = view
        self._hot = hot
        self._progress = progress
        self.epoch = epoch

    def v(self) -> dict[int, int]:
        """Read it before the state that a cursor is to cover."""
        return self._progress.v()

    async def present(self, user: str) -> Cursor:
        """A cursor that covers everything applied before this call; take it before the state that it comes with."""
        v = self.v()
        epoch = self.epoch()
        channels = await self.channels(user, v)
        owners = [user, *channels]
        pts = await self._hot.pts(owners)
        return Cursor(user, self.dc, epoch, pts[0], v, dict(zip(channels, pts[1:], strict=True)))

    async def channels(self, user: str, v: Mapping[int, int]) -> dict[str, Membership]:
        """The supergroups whose lists concern the user, by id: those that he is in, and those that he was in as long
        as `v` does not cover his end. From then on nothing in them is for him, nor is how much there is."""
        found = await self._view.memberships_of(user)
        return {chat: found[chat] for chat in sorted(found) if chat.startswith("C") and concerns(found[chat], v)}


def concerns(membership: Membership, v: Mapping[int, int]) -> bool:
    """Can a supergroup's list hold anything for this member that a client at `v` has not had?"""
    return membership.present or (membership.ever and not covers(v, membership.seen))
