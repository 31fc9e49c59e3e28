"""Which incarnation a DC writes as when it starts, and on which of its lanes.

A lane may be written on only if its log surely has its end. An incarnation counts up whenever that is in doubt: after
a restore, when somebody knows more of our lanes than we do, or something else. Old lanes are never opened again; after
15 the DC takes a new number.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from core import limits
from core.errors import ClockRefused, ConfigError, Conflict, PlanBError
from core.ids import Lane
from events.ports import LogReader, Top
from stores.ports import Mark

log = logging.getLogger(__name__)

META_NAME = "incarnation"
"""Where the choice is kept (RelationalStore.meta). Write it before the first lane is opened."""


class Knows(Protocol):
    """Who may know lanes of ours: a peer, the archive."""

    async def tops(self) -> Mapping[int, Top]:
        """The end of every lane it holds; ids may be 0."""
        ...


class Choice(NamedTuple):
    incarnation: int
    reason: str
    """Why, for the log."""


class Ends(NamedTuple):
    """Up to where our lanes are known, and by whom."""

    own: Mapping[int, Top]
    """By our log."""
    others: list[Mapping[int, Top]]
    """By whoever else could be asked, and by our own stores."""


def choose_incarnation(
    dc: int,
    meta: str | None,
    own: Mapping[int, Top],
    others: Iterable[Mapping[int, Top]],
    claimed: Collection[int] = (),
    *,
    restored: bool = False,
) -> Choice:
    """The incarnation to write as.

    `meta` is what was chosen last (META_NAME), `own` the tops of the local log, `others` the tops of whoever could be
    asked: peers, the archive, our own stores (`applied_ends`). Their hashes count, their ids don't. `claimed`: the
    incarnations that were ever opened (incarnations.py). Raises ConfigError when the DC's incarnations are used up.
    """
    known = [(lane, top) for tops in others for lane, top in tops.items() if Lane.of(lane).dc == dc and top.seq]
    mine = {lane: top for lane, top in own.items() if Lane.of(lane).dc == dc}
    used = [*claimed, *(Lane.of(lane).incarnation for lane in (*mine, *(lane for lane, _ in known)))]
    last = int(meta) if meta is not None else -1
    highest = max((last, *used))
    if highest < 0:
        return Choice(0, "a new datacenter")
    reason = "restored" if restored else _doubt(last, highest, mine, known)
    if not reason:
        return Choice(highest, "the log has its end")
    if highest == limits.INCARNATION_MAX:
        raise ConfigError(f"DC {dc} needs a new number: its {highest + 1} incarnations are used up ({reason})")
    return Choice(highest + 1, reason)


def _doubt(last: int, highest: int, mine: Mapping[int, Top], known: list[tuple[int, Top]]) -> str:
    """Why the present lanes can't be written on; "" if they can."""
    if last < highest:
        return f"incarnation {highest} was used, and this datacenter does not remember it"
    if not any(Lane.of(lane).incarnation == highest for lane in mine):
        return f"the log holds nothing of incarnation {highest}"
    for lane, top in known:
        if Lane.of(lane).incarnation != highest:
            continue
        here = mine.get(lane)
        if here is None or top.seq > here.seq:
            return f"others hold lane {lane} through {top.seq}, this log through {here.seq if here else 0}"
        if top.seq == here.seq and top.hash != here.hash:
            return f"others hold another record at seq {top.seq} of lane {lane}"
    return ""


def choose_lane(
    dc: int,
    incarnation: int,
    own: Mapping[int, Top],
    can_follow: Callable[[int], bool],
    leased: Collection[int] = (),
) -> int:
    """The number of the lane to write on: the first of this incarnation whose end can be followed now, and whose worker
    number is not among those that other processes have `leased`.

    Ids of a lane grow with its seq. One that was written with a clock that was ahead can't be written on before that
    time has come; until then another is. `can_follow`: could an id after this one be taken (HybridClock). Raises
    ClockRefused when all of them lie ahead, Conflict when all are leased.
    """
    for worker in range(limits.WORKER_MAX + 1):
        lane = Lane(dc, incarnation, worker).number
        if worker in leased:
            continue
        if lane not in own or can_follow(own[lane].id):
            return lane
    if len(leased) > limits.WORKER_MAX:
        raise Conflict(f"all {len(leased)} worker numbers of this datacenter are leased")
    raise ClockRefused(f"all lanes of incarnation {incarnation} end too far ahead of this machine's wall clock")


def applied_ends(own: Mapping[int, Top], frontier: Mapping[int, Mark]) -> dict[int, Top]:
    """What one of our stores has applied, as a source for `choose_incarnation`: nothing is applied that was not in the
    log, so a store that is ahead of it, or saw another event at its end, tells that the log has lost its end. The hash
    is that of the log where both agree on the event."""
    empty = Top(0, 0, b"")
    return {
        lane: Top(seq, id, own[lane].hash if own.get(lane, empty)[:2] == (seq, id) else b"")
        for lane, (seq, id) in frontier.items()
    }


async def ask(sources: Mapping[str, Knows], timeout_s: float) -> dict[str, Mapping[int, Top]]:
    """The tops of those who answer in time. Who does not is left out: the protection of own lanes (own_lane.py) sees
    the same later."""

    async def one(name: str, source: Knows) -> tuple[str, Mapping[int, Top] | None]:
        try:
            async with asyncio.timeout(timeout_s):
                return name, await source.tops()
        except (PlanBError, TimeoutError) as error:
            log.warning("%s does not say what it holds of our lanes: %s", name, error)
            return name, None

    answers = await asyncio.gather(*(one(name, source) for name, source in sources.items()))
    return {name: tops for name, tops in answers if tops is not None}


async def known_ends(
    log: LogReader,
    sources: Mapping[str, Knows],
    applied: Iterable[Callable[[], Awaitable[Mapping[int, Mark]]]],
    timeout_s: float,
) -> Ends:
    """What our log, the sources (see `ask`) and our own stores (`applied` reads each one's frontier) hold.

    The log is asked last. Another process of this datacenter may write meanwhile (an upgrade in which two overlap, one
    that was taken for dead): what others hold, the log held before. Raises what the log and the stores raise.
    """
    others = list((await ask(sources, timeout_s)).values())
    frontiers = [await frontier() for frontier in applied]
    own = await log.tops()
    return Ends(own, others + [applied_ends(own, frontier) for frontier in frontiers])
