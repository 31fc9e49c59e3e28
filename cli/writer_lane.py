"""The lane that this process writes on: which one, from when on it is ours, and how it is seen to be lost."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from core import limits
from core.errors import ConfigError, LaneLost, Unavailable
from core.ids import Lane, earlier_lives
from events.lane_writer import LaneWriter
from events.ports import EventLog, Top
from replicator.bootstrap import META_NAME, Knows, ask, choose_incarnation, choose_lane, known_ends
from replicator.incarnations import Incarnations
from stores.ports import MessageStore, RelationalStore

log = logging.getLogger(__name__)

ASK_S_MAX = 2.0
"""How long a start waits for peers to say what they hold of our lanes."""
OBJECTS_S_MAX = 5.0
"""How long it waits for object storage that it can start without."""
OPENED = "incarnation_opened"
"""Meta: the last incarnation that a lane was opened in."""


async def who_knows(dc: int, others: Mapping[str, Knows]) -> str:
    """The name of one of the others that holds a lane of this datacenter; "" when none says so in time."""
    answers = await ask(others, ASK_S_MAX)
    return next((name for name, tops in answers.items() if any(Lane.of(lane).dc == dc for lane in tops)), "")


async def lease_lane(
    dc: int,
    incarnation: int,
    tops: Mapping[int, Top],
    can_follow: Callable[[int], bool],
    take_worker: Callable[[int], Awaitable[bool]],
) -> tuple[int, set[int]]:
    """The lane to write on, whose worker number is taken; and the numbers that others were found to have. Raises as
    `choose_lane`, and what `take_worker` raises."""
    leased: set[int] = set()
    while True:
        lane = choose_lane(dc, incarnation, tops, can_follow, leased)
        worker = Lane.of(lane).worker
        if await take_worker(worker):
            return lane, leased
        leased.add(worker)


class WriterLane:
    """`choose` first; what it found is there afterwards."""

    incarnation: int
    number: int
    """The lane's."""

    def __init__(
        self,
        dc: int,
        event_log: EventLog,
        relational: RelationalStore,
        messages: MessageStore,
        incarnations: Incarnations,
        alone: bool = True,
    ) -> None:
        """`alone`: no other process of this datacenter writes on lanes of its own."""
        self._alone = alone
        self._dc = dc
        self._incarnations = incarnations
        self._log = event_log
        self._relational = relational
        self._messages = messages
        self._left: dict[int, int] = {}
        """Other lanes of our incarnation -> their ends: whoever still writes there took this process for dead."""

    async def choose(
        self,
        others: Mapping[str, Knows],
        can_follow: Callable[[int], bool],
        take_worker: Callable[[int], Awaitable[bool]],
    ) -> None:
        """`others` may know our lanes: peers, the archive. For `can_follow` see choose_lane; `take_worker` leases a
        worker number, unless another process has it. Raises ConfigError when the incarnations are used up, ClockRefused
        when every lane ends too far ahead, and what `take_worker` raises."""
        self.incarnation = await self._incarnation(others)
        tops = await self._log.tops()
        self.number, leased = await lease_lane(self._dc, self.incarnation, tops, can_follow, take_worker)
        if not self._alone:
            return
        ours = Lane.of(self.number)[:2]
        self._left = {
            lane: top.seq
            for lane, top in tops.items()
            if lane != self.number and Lane.of(lane)[:2] == ours and Lane.of(lane).worker not in leased
        }

    async def _incarnation(self, others: Mapping[str, Knows]) -> int:
        """The incarnation to write as. A restore, or a start that did not come as far as the lane, reserved one
        (META_NAME); what was opened is kept apart, so that a reserved one is used once and an opened one is only
        opened again if the log surely has its end."""
        reserved = await self._relational.meta(META_NAME)
        opened = await self._relational.meta(OPENED)
        stores = (self._relational.frontier, self._messages.frontier)
        own, known = await known_ends(self._log, others, stores, ASK_S_MAX)
        claimed = await self._claimed(opened)
        used = {Lane.of(lane).incarnation for tops in (own, *known) for lane in tops if Lane.of(lane).dc == self._dc}
        used |= claimed
        if reserved is not None and reserved != opened and int(reserved) not in used:
            chosen = int(reserved)
        else:
            choice = choose_incarnation(self._dc, opened, own, known, claimed)
            log.info("incarnation %d: %s", choice.incarnation, choice.reason)
            chosen = choice.incarnation
        if chosen > limits.INCARNATION_MAX:  # one more would be a lane of the next DC's number
            raise ConfigError(f"datacenter number {self._dc} has used up its incarnations: it needs a new number")
        await self._relational.set_meta(META_NAME, str(chosen))
        return chosen

    async def _claimed(self, opened: str | None) -> set[int]:
        """Disks that remember what they opened need no object storage to start; others can't know without it."""
        if opened is None:
            return await self._incarnations.opened()
        try:
            async with asyncio.timeout(OBJECTS_S_MAX):
                return await self._incarnations.opened()
        except (Unavailable, TimeoutError) as error:
            log.warning("object storage does not say which incarnations were opened: %s", str(error) or "too slow")
            return set()

    def live(self) -> frozenset[int]:
        """The lanes that nobody but this process may write on."""
        return frozenset({self.number, *self._left})

    async def taken(self, top: Top, owner: bytes, catch_up: Callable[[Top], Awaitable[None]]) -> None:
        """The log answers, and nothing is appended yet: from here on the incarnation counts as used. `owner` is who
        took it, and takes those that were left as well."""
        if await self._relational.meta(OPENED) != str(self.incarnation):
            await self._incarnations.claim(self.incarnation)
            await self._relational.set_meta(OPENED, str(self.incarnation))
        await catch_up(top)
        for lane in self._left:  # whoever writes there is fenced as on our own
            end = await self._log.open(lane, owner)
            await catch_up(end)
            self._left[lane] = end.seq

    async def give_up(self) -> None:
        """Somebody knows it better than our log: never write on it; the next start takes a new incarnation."""
        opened = await self._relational.meta(OPENED) or "0"
        await self._relational.set_meta(META_NAME, str(int(opened) + 1))

    def lost(self, tops: Mapping[int, Top], writer: LaneWriter) -> LaneLost | None:
        """A lane that grows while we write nothing is written by another process, and so is a later incarnation: ours
        would serve what is old."""
        top = tops.get(self.number)
        if top is not None and top.seq > writer.top.seq and not writer.pending:
            return LaneLost(private=f"the log holds seq {top.seq}, we wrote {writer.top.seq}")
        for lane in tops:
            if earlier_lives(lane, (self.number,)):
                return LaneLost(f"this datacenter writes as incarnation {Lane.of(lane).incarnation} now")
        for lane, seq in self._left.items():
            if (end := tops.get(lane)) is not None and end.seq > seq:
                return LaneLost(private=f"lane {lane} holds seq {end.seq}, we left it at {seq}")
        return None
