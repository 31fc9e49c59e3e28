"""A small mesh without any I/O: DCs with a state, a clock and lanes of their own, records that travel when told to.

Every event is made through its action's `resolve` at one DC, encoded as in the log, and applied everywhere by its
`effects`. Updates of users and supergroups are fed as the stores do it, by `core.audience`.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from random import Random
from typing import Any, NamedTuple, TypeVar

from api.links import Links
from core import audience as audience_rule
from core.action import Audience, Origin, Position, registry
from core.clock import HybridClock
from core.event import Event
from core.fold import State
from core.ids import EPOCH_MS, Lane, lane_of
from core.membership import Membership
from core.tables import Effect
from events.codec import decode, encode
from tests.support.view import StateView, members_of

ACTIONS = registry()
LINKS = Links(bytes(32))
START_MS = EPOCH_MS + 400_000_000_000
T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("it waited")


class Update(NamedTuple):
    """One update in the list of a user or supergroup; its pts is its place from 1."""

    event: int
    conversation: str
    message: int


Feeding = Callable[["Dc", Event, Audience, str, Membership], bool]
"""(dc, event, audience, user, membership) -> is a local user who is no recipient fed now?"""


def by_audience_rule(dc: "Dc", event: Event, audience: Audience, user: str, membership: Membership) -> bool:
    """The rule of production."""
    return audience_rule.owed(audience, membership, dc.v) == "feed"


class Dc:
    """One DC: applied state, V, updates; reads nothing but what was applied here."""

    def __init__(self, name: str, number: int, lanes: int, wall: Callable[[], int], feeding: Feeding) -> None:
        self.name = name
        self.wall = wall
        self.lanes = [Lane(number, 0, worker).number for worker in range(lanes)]
        self.clock = HybridClock(wall)
        self.state = State()
        self.v: dict[int, int] = {}
        self.applied: dict[int, Event] = {}
        """Applied events by their ids, in the order of their application."""
        self.updates: dict[str, list[Update]] = {}
        self.epoch = 1
        self._feeding = feeding
        self._groups: dict[str, list[tuple[Event, Audience]]] = {}
        self._fed: set[tuple[str, int]] = set()

    @property
    def view(self) -> StateView:
        return StateView(
            self.state,
            {owner: [(u.conversation, u.message) for u in updates] for owner, updates in self.updates.items()},
            self.applied,
        )

    def position(self, user: str, behind: int = 0) -> Position:
        """Where a client stands that has all but the last `behind` updates."""
        channels = {owner: max(0, len(u) - behind) for owner, u in self.updates.items() if owner[0] == "C"}
        return Position(self.name, self.epoch, max(0, len(self.updates.get(user, ())) - behind), dict(self.v), channels)

    def apply(self, event: Event) -> None:
        action = ACTIONS[event.action]
        self.clock.see(event.id)
        self.v[lane_of(event.id)] = event.id
        self.applied[event.id] = event
        for effect in action.effects(event):
            self.state.apply(event.id, effect)
        audience = action.audience(event)
        for owner in (*audience.users, *((audience.channel,) if audience.channel else ())):
            self._feed(owner, event)
        if audience.conversation is not None:
            self._groups.setdefault(audience.conversation, []).append((event, audience))
            self._feed_members(audience.conversation)

    def _feed_members(self, chat: str) -> None:
        """Asks the rule again for everything of this group: a membership event may have changed the answers."""
        members = members_of(self.state, chat)
        for event, audience in self._groups[chat]:
            for user, membership in members.items():
                if user not in audience.users and self._feeding(self, event, audience, user, membership):
                    self._feed(user, event)

    def _feed(self, owner: str, event: Event) -> None:
        if (owner, event.id) in self._fed:
            return
        self._fed.add((owner, event.id))
        touch = next((t for t in ACTIONS[event.action].touches(event) if t.type == "message"), None)
        conversation, message = touch.ref if touch else ("", 0)
        self.updates.setdefault(owner, []).append(Update(event.id, str(conversation), int(message)))


class Mesh:
    """DCs, the lanes' logs and how far each DC has come in each."""

    def __init__(
        self,
        dcs: int = 3,
        lanes: int = 2,
        off_ms: tuple[int, ...] = (),
        feeding: Feeding = by_audience_rule,
    ) -> None:
        self.now_ms = START_MS
        self.dcs = [
            Dc(f"dc{n}", n, lanes, self._wall(off_ms[n] if n < len(off_ms) else 0), feeding) for n in range(dcs)
        ]
        self.logs: dict[int, list[bytes]] = {lane: [] for dc in self.dcs for lane in dc.lanes}
        self.at = [dict.fromkeys(self.logs, 0) for _ in self.dcs]
        self.events: list[Event] = []
        self.past: dict[int, frozenset[int]] = {}
        """Event -> the events that its origin had applied."""
        self._entropy = Random(1)

    def _wall(self, off_ms: int) -> Callable[[], int]:
        return lambda: self.now_ms + off_ms

    def write(
        self,
        dc: int,
        action: str,
        actor: str,
        request: Mapping[str, Any],
        *,
        key: str = "",
        lane: int = 0,
        position: Position | None = None,
    ) -> Event:
        """One call of the API at one DC. Raises what `resolve` and the request's validation raise."""
        here = self.dcs[dc]
        origin = Origin(
            actor,
            key,
            here.name,
            here.wall(),
            here.view,
            self._entropy.randbytes,
            position,
            v=lambda: here.v,
            link=LINKS.opened,
        )
        kind = ACTIONS[action]
        args = run(kind.resolve(kind.Request.model_validate(request), origin))
        return self.commit(dc, action, actor, args, key=key, lane=lane)

    def commit(self, dc: int, action: str, actor: str, args: Any, *, key: str = "", lane: int = 0) -> Event:
        """The event of decided arguments: in its lane, and applied at its DC."""
        here = self.dcs[dc]
        number = here.lanes[lane % len(here.lanes)]
        id = here.clock.take(number)
        past = frozenset(here.applied)
        event = Event(id, action, ACTIONS[action].version, actor, key or f"k{id}", b"", args)
        self.logs[number].append(encode(event))
        self.at[dc][number] += 1
        event = decode(self.logs[number][-1])
        self.events.append(event)
        self.past[id] = past
        here.apply(event)
        return event

    def deliver(self, dc: int, lane: int, limit: int = 1 << 30) -> int:
        """Applies up to `limit` further records of a lane at a DC; how many there were."""
        at = self.at[dc][lane]
        through = min(len(self.logs[lane]), at + limit)
        for place in range(at, through):
            self.dcs[dc].apply(decode(self.logs[lane][place]))
        self.at[dc][lane] = through
        return through - at

    def settle(self) -> None:
        """Everything is applied everywhere."""
        for dc in range(len(self.dcs)):
            for lane in self.logs:
                self.deliver(dc, lane)

    def drift(self, random: Random, share: float, cut: Iterable[tuple[int, int]] = ()) -> None:
        """Some records of some lanes arrive at some DCs, save over the `cut` (dc, lane) links."""
        blocked = set(cut)
        for dc in range(len(self.dcs)):
            for lane in self.logs:
                while (
                    (dc, lane) not in blocked and self.at[dc][lane] < len(self.logs[lane]) and random.random() < share
                ):
                    self.deliver(dc, lane, 1)

    def effects(self) -> list[tuple[int, Effect]]:
        """All effects of all events with their stamps, in the order of writing."""
        return [(event.id, effect) for event in self.events for effect in ACTIONS[event.action].effects(event)]
