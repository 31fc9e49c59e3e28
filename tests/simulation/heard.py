"""A history together with what each datacenter was given in it, in its order and with its repetitions."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

from core.action import registry
from core.event import Event
from events.codec import codec
from events.record import KIND_EVENT, Entry, Record
from stores.apply import Applier
from stores.digest import digest
from tests.simulation import final, world
from tests.simulation.plan import Plan

Place = tuple[int, int]
"""Lane and seq."""


class Feed:
    """What was applied to the disks of one datacenter while they lasted: a fire begins another one."""

    def __init__(self, relational: Any) -> None:
        self.relational = relational
        self.batches: list[list[Place]] = []


class Script(NamedTuple):
    """A feed as records, for a datacenter that begins empty: what had come by a snapshot comes by its lane."""

    dc: str
    fed: list[list[Record]]
    events: list[Event]
    chats: list[str]
    users: list[str]
    ended: bool
    """Are these the disks that stood when the history ended? Then what was judged there is to be found here."""

    def cut(self) -> Iterator[list[Record]]:
        yield from self.fed


class Lived(NamedTuple):
    """A history that was judged."""

    plan: Plan
    scripts: list[Script]
    digest: str
    shown: dict[str, Any]
    """User -> dialogs and histories, as every region showed them to him."""


class Broken(Exception):
    """The history itself broke an invariant."""


def lived(plan: Plan) -> Lived:
    """Raises Broken for what the simulation itself finds."""
    feeds: dict[int, Feed] = {}
    kept: list[Any] = []
    judge = final.judge

    async def judged(planet: Any) -> None:
        await judge(planet)
        home = next(iter(planet.homes.values()))
        total = (await digest(home.disks.relational, home.disks.messages)).total
        shown = {}
        for user in planet.users.values():
            found = await planet.loop.start(user.process, final._fetched(planet, user, home.name), "asks")
            # The same words as `asking.shown_to`, whatever the judge makes of them.
            present = [name for name, dialog in found["dialogs"].items() if dialog["present"]]
            shown[user.name] = {"order": present, "dialogs": found["dialogs"], "messages": found["messages"]}
        kept.append((planet, total, shown))

    with _listening(feeds), patch.object(final, "judge", judged):
        outcome = world.run(plan)
    if outcome.violations:
        raise Broken(outcome.violations[0])
    planet, total, shown = kept[0]
    standing = {id(home.disks.relational) for home in planet.homes.values()}
    scripts = [_script(feed, planet, key in standing) for key, feed in feeds.items()]
    return Lived(plan, scripts, total, shown)


def _applicable(event: Event) -> bool:
    """Some histories hold events that no version can apply: nobody is owed anything by them."""
    try:
        registry()[event.action].effects(event)
    except ValueError:
        return False
    return True


@contextmanager
def _listening(feeds: dict[int, Feed]) -> Iterator[None]:
    batch = Applier._batch

    async def heard(self: Applier, entries: Sequence[Entry], *, announce: bool = True) -> None:
        disk = getattr(self._relational, "target", None)
        if disk is not None:  # else a scratch datacenter of the judge's
            feed = feeds.setdefault(id(disk), Feed(disk))
            feed.batches.append([(entry.lane, entry.seq) for entry in entries])
        await batch(self, entries, announce=announce)

    with patch.object(Applier, "_batch", heard):
        yield


def _script(feed: Feed, planet: Any, ended: bool) -> Script:
    records, at = planet.ledger.records, dict[int, int]()
    fed = []
    for batch in feed.batches:
        given: list[Record] = []
        for lane, seq in batch:
            given += (records[lane, missing] for missing in range(at.get(lane, 0) + 1, seq))
            given.append(records[lane, seq])
            at[lane] = max(seq, at.get(lane, 0))
        fed.append(given)
    if ended:  # a restore may have brought the end of a lane from which nothing came later
        tops = planet.tops()
        fed.append([records[lane, seq] for lane in tops for seq in range(at.get(lane, 0) + 1, tops[lane] + 1)])
    events = {one.id: codec().decode(one.body) for given in fed for one in given if one.kind == KIND_EVENT}
    ordered = [events[id] for id in sorted(events) if _applicable(events[id])]
    return Script(
        feed.relational._dc, [given for given in fed if given], ordered, planet.chats_of_all(), planet.names, ended
    )
