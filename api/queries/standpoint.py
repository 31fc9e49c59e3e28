"""Where a client stands once it has this answer: the cursor of the present."""

from collections.abc import Callable

from api.cursors import Cursor
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
        channels = await self.channels(user)
        owners = [user, *channels]
        pts = await self._hot.pts(owners)
        return Cursor(user, self.dc, epoch, pts[0], v, dict(zip(channels, pts[1:], strict=True)))

    async def channels(self, user: str) -> dict[str, Membership]:
        """The supergroups that the user is or was in, by id."""
        found = await self._view.memberships_of(user)
        return {chat: found[chat] for chat in sorted(found) if chat.startswith("C") and found[chat].ever}
