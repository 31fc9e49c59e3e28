"""One history: a planet is set up, lives through its plan, is healed, and has to be whole again."""

import asyncio
import contextlib
import hashlib
import json
import logging
import traceback
from collections import Counter
from collections.abc import Coroutine, Iterator
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

import aiohttp

from api.internal_auth import InternalAuth
from core import ids, limits
from core.clock import HybridClock
from core.errors import PlanBError
from core.ids import Lane
from stores.adapters.memory_objects import MemoryObjects
from tests.simulation import crashpoints, final, loop, seams
from tests.simulation.datacenter import NAMES, SYS, SYS_KEY, Home
from tests.simulation.disks import Disks
from tests.simulation.faults import Faults
from tests.simulation.ledger import Acknowledged, Ledger, Violation
from tests.simulation.loop import OUTSIDE, PROCESS, Process, SimLoop
from tests.simulation.network import FAIR, Network, Session
from tests.simulation.plan import Plan
from tests.simulation.stores import Trouble
from tests.simulation.users import User
from tests.simulation.watching import Watching

PEOPLE = ("Uada", "Ubob", "Ucyd", "Udan", "Ueve")
BEGIN_MS = 1_790_000_000_000
CONVERGE_S_MAX = 900.0
"""How long after the last fault everything may take to be whole again, in virtual seconds."""


class Clock:
    """A host's wall clock."""

    def __init__(self) -> None:
        self.skew_ms = 0.0
        self.drift = 0.0
        self.since_s = 0.0

    def now_ms(self, now_s: float) -> int:
        return int(BEGIN_MS + now_s * 1_000 + self.skew_ms + (now_s - self.since_s) * 1_000 * self.drift)


class Outcome(NamedTuple):
    seed: str
    violations: list[str]
    trace: str
    """A hash over all that happened."""
    history: list[str]
    simulated_s: float
    steps: int
    counts: Counter[str]
    """Faults that fired, things that were done."""
    places: Counter[str]
    """Awaits of production code at which crashes found a task."""


class World:
    def __init__(self, plan: Plan, loop: SimLoop) -> None:
        self.plan = plan
        self.seed = plan.seed
        self.loop = loop
        self.random = Random(f"{plan.seed} world")
        self.ledger = Ledger()
        self.history: list[str] = []
        self.counts: Counter[str] = Counter()
        self.acts: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.places: Counter[str] = Counter()
        """Awaits of production code at which some crash found a task."""
        self._misstamped: set[int] = set()
        self.promises: list[Acknowledged] = []
        self.network = Network(loop, Random(f"{plan.seed} network"))
        self.clocks: dict[str, Clock] = {}
        self.homes: dict[str, Home] = {}
        self.links: list[str] = []
        """Links into chats that somebody has made."""
        self.users: dict[str, User] = {}
        self.names: list[str] = []
        self.lost_with: list[str] = []
        """Datacenters that lost what only they held: (name, when)."""
        self.lost: dict[int, Any] = {}
        """Events that no log holds at the end."""
        self.faults = Faults(self)
        self.watching = Watching(self)
        self.network.watch = self.watching.answered
        self.network.served = self.watching.served
        self.loop.killing = self.killing
        self._trace = hashlib.blake2b(digest_size=16)

    # -- what everybody needs

    def note(self, kind: str, *what: object) -> None:
        """A line of the history."""
        line = f"{self.loop.time():10.3f} {kind:10} {' '.join(map(str, what))}"
        self.history.append(line)
        self._trace.update(line.encode())

    def unexpected(self, what: str, error: BaseException) -> None:
        """An error that no fault explains."""
        self.ledger.broken(f"{what}: {type(error).__name__}: {error} {getattr(error, 'private', '')}")

    def wall_ms(self) -> int:
        """Of the present process's host."""
        clock = self.clocks.get(self.network.hosts.get(PROCESS.get(), ""))
        return clock.now_ms(self.loop.time()) if clock else int(BEGIN_MS + self.loop.time() * 1_000)

    def taken(self, id: int) -> None:
        """Judges the clock that has just stamped this id."""
        off_ms = ids.time_ms_of(id) - int(BEGIN_MS + self.loop.time() * 1_000)
        if abs(off_ms) > limits.CLOCK_ERROR_MS_MAX + limits.CARRY_MS_MAX:
            self._misstamped.add(id)

    def misstamped(self, id: int) -> bool:
        """Was it stamped by a clock that was off by more than may be? Then it has lost its order."""
        return id in self._misstamped

    def dc_of(self, id: int) -> str:
        number = Lane.of(ids.lane_of(id)).dc
        return next(home.name for home in self.homes.values() if home.number == number)

    def host_of(self, url: str) -> str:
        return url.removeprefix("http://").partition(":")[0]

    def chats_of_all(self) -> list[str]:
        return sorted({chat for user in self.users.values() for chat in user.chats})

    def acknowledged(self, made: Acknowledged) -> None:
        self.promises.append(made)

    def shown(self, user: User, message: dict[str, Any]) -> None:
        self.watching.shown(user, message)

    async def as_operator(self, home: Home, name: str, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs `work` in a process of its own on the datacenter's host. PlanBError if that loses power meanwhile."""
        process = home.operator(name)
        done: asyncio.Future[Any] = self.loop.create_future()

        def gone() -> None:
            if not done.done():
                done.set_exception(PlanBError("the process was killed"))
                done.exception()  # who waited may be gone himself

        process.on_death.append(gone)

        async def run() -> None:
            try:
                result = await work
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(result)
            process.over = True
            self.loop.kill(process)

        self.loop.start(process, run(), name)
        return await done

    async def sys(self, home: Home, method: str, path: str, fields: dict[str, Any], key: str = "") -> dict[str, Any]:
        """A call of the customer's own system, repeated until it is done."""
        while True:
            status, found = await self.asked(home, method, path, fields, key)
            if 0 < status < 400:
                return found
            self.look()
            await asyncio.sleep(0.5)

    async def asked(
        self, home: Home, method: str, path: str, fields: dict[str, Any], key: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """A call of the customer's own system or an operator, made once: status and answer; 0 if none came."""

        async def call() -> tuple[int, dict[str, Any]]:
            auth = InternalAuth(SYS_KEY, "customer", self.wall_ms)
            body = json.dumps(fields).encode()
            headers = auth.sign(home.name, method, path, body, {"Idempotency-Key": key} if key else {})
            try:
                async with Session(self.network).request(
                    method, f"http://{home.name}:{SYS}{path}", data=body, headers=headers
                ) as answer:
                    return answer.status, json.loads(await answer.read())
            except (OSError, TimeoutError, aiohttp.ClientError):
                return 0, {}

        try:
            found: tuple[int, dict[str, Any]] = await self.as_operator(home, "customer", call())
        except PlanBError:
            return 0, {}
        return found

    def killing(self, process: Process) -> None:
        """A process dies: where does it stand?"""
        if process.over or self.network.hosts.get(process) not in self.homes:
            return
        points, places = crashpoints.reached(process.tasks)
        self.counts["crashes"] += 1
        self.counts.update(f"crashed at: {point}" for point in points)
        self.places.update(places)

    # -- the life of a planet

    async def live(self) -> None:
        await self._begin()
        self.network.weather = self.plan.weather
        self.loop.start(OUTSIDE, self.faults.run(), "faults")
        await self._days()
        await self.faults.heal()
        self.network.weather = FAIR
        await final.judge(self)

    async def _begin(self) -> None:
        plan = self.plan
        names = NAMES[: plan.dcs]
        numbers = {name: at + 1 for at, name in enumerate(names)}
        for name in names:
            self.build(name, numbers)
        await self.until(lambda: all(home.serving for home in self.homes.values()), "the first start")
        first = next(iter(self.homes.values()))
        self.names = list(PEOPLE[: plan.users])
        for name in self.names:
            await self.sys(first, "PUT", f"/sys/v1/users/{name}", {"name": name}, f"user {name}".replace(" ", "-"))
            fields = {"user": name, "device": "d"}
            token = (await self.sys(first, "POST", "/sys/v1/tokens", fields, f"token-{name}"))["token"]
            self.users[name] = User(self, name, token, list(names))
        await self.until(self.even, "the first convergence")
        for (
            clock
        ) in self.clocks.values():  # not before: of three, one that is off refuses writes, and nobody could begin
            clock.skew_ms = self.random.uniform(-plan.skew_ms, plan.skew_ms)
        for user in self.users.values():
            user.open(self.random.choice(names))
        self.note("begin", *names)

    def build(self, name: str, numbers: dict[str, int]) -> None:
        """A datacenter on empty disks, and its first start."""
        plan = self.plan
        self.clocks[name] = Clock()
        home = self.homes[name] = Home(self, name, numbers)
        home.trouble = Trouble(Random(f"{plan.seed} {name} trouble"))
        home.disks = Disks(name, self.ledger, self.wall_ms, MemoryObjects(), updates_kept=plan.updates_kept)
        home.knows_new = not plan.versions or self.random.random() < 0.5
        home.boot()

    async def _days(self) -> None:
        """People do what they do."""
        plan = self.plan
        users = list(self.users.values())
        random = Random(f"{plan.seed} days")
        for number in range(plan.acts):
            await asyncio.sleep(random.expovariate(plan.acts / plan.lasts_s))
            user = random.choice(users)
            if user.busy < 3 and user.broken is None and number not in plan.without_acts:
                self.loop.start(user.process, user.act(number), f"{user.name} acts")
            self.look()

    def look(self) -> None:
        """Ends the history as soon as something is found."""
        for context in self.loop.errors:
            error = context.get("exception")
            self.ledger.broken(f"nobody handled: {context.get('message')}: {error!r}")
        self.loop.errors.clear()
        if self.ledger.violations:
            raise Violation(self.ledger.violations[0])

    def tops(self) -> dict[int, int]:
        """lane -> the greatest seq that any log holds."""
        tops: dict[int, int] = {}
        for home in self.homes.values():
            for lane, held in home.disks.log._lanes.items():
                tops[lane] = max(held.top.seq, tops.get(lane, 0))
        return tops

    def even(self) -> bool:
        """Has every datacenter applied all that any of them holds?"""
        tops = self.tops()
        for home in self.homes.values():
            if not home.serving or home.dc is None:
                return False
            if {lane: seq for lane, seq in tops.items() if seq} != {
                lane: mark.seq for lane, mark in home.dc.applier.progress.applied.items() if mark.seq
            }:
                return False
        return True

    async def until(self, true: Any, what: str, most_s: float = CONVERGE_S_MAX) -> None:
        """Looks until it is so; a Violation if it takes too long."""
        ends = self.loop.time() + most_s
        while not true():
            self.look()
            if self.loop.time() > ends:
                raise Violation(f"{what} does not come within {most_s:.0f} s: {final.where(self)}")
            await asyncio.sleep(0.25)


class _Heard(logging.Handler):
    """What production logs as an unexpected error is one."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._world.note("log", record.getMessage()[:200])
        if error is not None and not isinstance(error, PlanBError) and not getattr(error, "expected", False):
            self._world.unexpected(record.getMessage(), error)


@contextlib.contextmanager
def _bounds(plan: Plan) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name, value in plan.bounds.items():
            stack.enter_context(patch.object(limits, name, value))
        yield


def run(plan: Plan) -> Outcome:
    """The whole history of a plan. Never raises for what it finds."""
    with _bounds(plan), loop.running(Random(f"{plan.seed} loop"), plan.perturbed) as running:
        return _lived(plan, running)


def _lived(plan: Plan, running: SimLoop) -> Outcome:
    world = World(plan, running)
    found: list[str] = []
    with _heard(world), _stamping(world), seams.simulated(lambda: Session(world.network), world.wall_ms):
        try:
            running.run_until_complete(world.live())
        except Violation as violation:
            found = world.ledger.violations or [str(violation)]
        except loop.Stuck as stuck:
            found = [f"stuck: {stuck}"]
        except Exception as error:
            found = [f"the simulation broke: {error!r}: {''.join(traceback.format_exception(error))}"]
    counts = world.counts
    for home in world.homes.values():
        counts.update({f"store: {what}": n for what, n in home.trouble.counts.items()})
    counts.update({f"wire: {what}": n for what, n in world.network.counts.items()})
    counts.update({f"act: {what}": n for what, n in world.acts.items()})
    counts.update(Counter(f"action: {event.action}" for event in world.watching.events.values()))
    counts.update({f"refused: {what}": n for what, n in world.refusals.items()})
    trace = world._trace.hexdigest()
    return Outcome(plan.seed, found, trace, world.history, running.time(), running.steps, counts, world.places)


@contextlib.contextmanager
def _stamping(world: World) -> Iterator[None]:
    """The world sees each id as it is taken."""
    take = HybridClock.take

    def taking(clock: HybridClock, lane: int) -> int:
        id = take(clock, lane)
        world.taken(id)
        return id

    with patch.object(HybridClock, "take", taking):
        yield


@contextlib.contextmanager
def _heard(world: World) -> Iterator[None]:
    root, handler = logging.getLogger(), _Heard(world)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
