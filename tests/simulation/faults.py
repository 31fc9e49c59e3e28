"""The bad luck of a history. Every fault ends by itself or is ended by `heal`; each that fires is counted by name."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from core.errors import PlanBError
from tests.simulation.datacenter import Home
from tests.simulation.disks import Disks
from tests.simulation.loop import OUTSIDE
from tests.simulation.stores import STORES


class Faults:
    def __init__(self, world: Any) -> None:
        self.world = world
        self.random = Random(f"{world.seed} faults")
        """Of the fault that begins now."""
        self._ending: list[Callable[[], None]] = []
        self._busy: set[str] = set()
        """Datacenters that something long happens to."""
        self.over = False
        self._running: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        plan = self.world.plan
        random = Random(f"{plan.seed} faults")
        for number in range(plan.faults):
            await asyncio.sleep(random.expovariate(plan.faults / plan.lasts_s))
            kind = random.choice(plan.kinds) if plan.kinds else ""
            if self.over or not kind:
                return
            if number not in plan.without_faults:
                self._running.append(self.world.loop.start(OUTSIDE, self._one(kind, number), kind))

    async def _one(self, kind: str, number: int) -> None:
        """What is drawn depends on its number alone."""
        self.random = Random(f"{self.world.seed} fault {number}")
        work: Callable[[], Awaitable[None]] = getattr(self, "_" + kind.replace(" ", "_").replace("-", "_"))
        await work()

    def _fired(self, kind: str, *what: object) -> None:
        self.world.counts[f"fault: {kind}"] += 1
        self.world.note("fault", kind, *what)

    def _home(self) -> Home:
        return self.random.choice(list(self.world.homes.values()))

    def _lasts_s(self) -> float:
        return min(self.random.expovariate(1 / 8), 60.0)

    async def _while(self, begin: Callable[[], None], end: Callable[[], None], lasts_s: float | None = None) -> None:
        """`end` comes after a time, or with `heal`."""
        begin()
        self._ending.append(end)
        await asyncio.sleep(self._lasts_s() if lasts_s is None else lasts_s)
        if end in self._ending:
            self._ending.remove(end)
            end()

    async def heal(self) -> None:
        """No more faults, and everything that is broken is repaired, as operators would."""
        self.over = True
        world = self.world
        world.note("heal")
        while self._ending:
            self._ending.pop()()
        await asyncio.gather(*self._running)
        for name, clock in world.clocks.items():
            clock.drift, clock.since_s = 0.0, world.loop.time()
            # So that none is further from the median than clocks may be.
            clock.skew_ms = max(-90.0, min(90.0, clock.skew_ms))
            del name
        for home in world.homes.values():
            home.trouble.clear()
            home.knows_new = True
            if home.process is not None:
                home.process.fuse = 0
                if home.process.knows_new is False:
                    home.kill()
            if home.process is None or home.process.dead:
                home.boot()

    # -- the wire

    def _cut_all(self, pairs: list[tuple[str, str]]) -> tuple[Callable[[], None], Callable[[], None]]:
        network = self.world.network

        def begin() -> None:
            for a, b in pairs:
                network.cut(a, b)

        def end() -> None:
            for a, b in pairs:
                network.mend(a, b)

        return begin, end

    async def _cut(self) -> None:
        a, b = self.random.sample(list(self.world.homes), 2)
        self._fired("cut", a, b)
        await self._while(*self._cut_all([(a, b), (b, a)]))

    async def _one_way_cut(self) -> None:
        a, b = self.random.sample(list(self.world.homes), 2)
        self._fired("one-way cut", a, b)
        await self._while(*self._cut_all([(a, b)]))

    async def _isolation(self) -> None:
        a = self._home().name
        self._fired("isolation", a)
        pairs = [pair for b in self.world.homes if b != a for pair in ((a, b), (b, a))]
        if self.random.random() < 0.3:
            pairs += [pair for b in self.world.users if b != a for pair in ((a, b), (b, a))]
        await self._while(*self._cut_all(pairs))

    async def _long_partition(self) -> None:
        names = list(self.world.homes)
        self.random.shuffle(names)
        left = names[: self.random.randint(1, len(names) - 1)]
        right = [name for name in names if name not in left]
        lasts_s = self.random.choice((120.0, 600.0, 3_600.0))
        self._fired("long partition", "+".join(left), "+".join(right), lasts_s)
        pairs = [pair for a in left for b in right for pair in ((a, b), (b, a))]
        await self._while(*self._cut_all(pairs), lasts_s)

    async def _client_cut(self) -> None:
        user, home = self.random.choice(list(self.world.users)), self._home().name
        pairs = [(user, home), (home, user)]
        if self.random.random() < 0.3:
            pairs = [pair for name in self.world.homes for pair in ((user, name), (name, user))]
        if self.random.random() < 0.3:
            pairs = pairs[:1]
        self._fired("client cut", *pairs)
        await self._while(*self._cut_all(pairs))

    # -- processes

    async def _crash(self) -> None:
        home = self._home()
        self._fired("crash", home.name)
        home.kill()

    async def _crash_at_a_step(self) -> None:
        home = self._home()
        if home.process is not None and not home.process.dead:
            steps = self.random.choice((1, 3, 10, 30, 100, 300))
            self._fired("crash at a step", home.process.name, steps)
            home.process.fuse = self.random.randint(1, steps)
            if self.random.random() < 0.3:  # the whole machine
                home.process.on_death.append(home.disks.hot.lose)

    async def _power_failure(self) -> None:
        home = self._home()
        if home.name in self._busy:
            return
        home.power_off()
        self._fired("power failure", home.name)
        lost = await home.disks.relational.power_failure(self.random)
        lost += await home.disks.messages.power_failure(self.random)
        if self.random.random() < 0.5:
            home.disks.hot.lose()
        self.world.watching.forget(home.name)
        self.world.note("lost", home.name, lost)

    async def _restart(self) -> None:
        home = self._home()
        if home.up and home.dc is not None and home.process is not None:
            self._fired("restart", home.process.name)
            home.dc._fail(PlanBError("told to stop"))

    async def _freeze(self) -> None:
        home = self._home()
        process = home.process
        if process is None or process.dead or process.frozen:
            return
        self._fired("freeze", process.name)
        loop = self.world.loop
        await self._while(lambda: loop.freeze(process), lambda: loop.thaw(process))

    async def _zombie(self) -> None:
        """Frozen, taken for dead, replaced; then it wakes up."""
        home = self._home()
        process = home.process
        if process is None or process.dead or process.frozen or home.name in self._busy:
            return
        self._fired("zombie", process.name)
        loop = self.world.loop

        def begin() -> None:
            loop.freeze(process)
            loop.call_later(1 + self.random.random() * 5, replace, context=OUTSIDE.context())

        def replace() -> None:
            if home.process is process and process.frozen:
                home.boot()

        def end() -> None:
            loop.thaw(process)

        await self._while(begin, end)

    # -- stores

    async def _hot_store_lost(self) -> None:
        home = self._home()
        self._fired("hot store lost", home.name)
        home.disks.hot.lose()

    async def _store_errors(self) -> None:
        home, store = self._home(), self.random.choice(STORES)
        share = self.random.choice((0.05, 0.3, 1.0))
        self._fired("store errors", home.name, store, share)
        errors = home.trouble.errors
        await self._while(lambda: errors.__setitem__(store, share), lambda: void(errors.pop(store, None)))

    async def _slow_stores(self) -> None:
        home, store = self._home(), self.random.choice(STORES)
        slow_s = self.random.choice((0.1, 1.0, 5.0))
        self._fired("slow stores", home.name, store, slow_s)
        slow = home.trouble.slow_s
        await self._while(lambda: slow.__setitem__(store, slow_s), lambda: void(slow.pop(store, None)))

    async def _object_store_down(self) -> None:
        home = self._home()
        self._fired("object store down", home.name)
        errors = home.trouble.errors
        await self._while(
            lambda: errors.__setitem__("objects", self.random.choice((0.3, 1.0))),
            lambda: void(errors.pop("objects", None)),
        )

    async def _deaf_brokers(self) -> None:
        home = self._home()
        self._fired("deaf brokers", home.name)

        def end() -> None:
            home.trouble.deaf = 0.0

        def begin() -> None:
            home.trouble.deaf = self.random.choice((0.2, 1.0))

        await self._while(begin, end)

    # -- clocks

    async def _clock_skew(self) -> None:
        """Within the error that clocks may have; drifts there too."""
        name = self._home().name
        clock = self.world.clocks[name]
        skew_ms = self.random.uniform(-200, 200)
        self._fired("clock skew", name, round(skew_ms))
        clock.skew_ms, clock.since_s = skew_ms, self.world.loop.time()

    async def _clock_jump(self) -> None:
        """Further than clocks may be off, until somebody puts it right."""
        name = self._home().name
        clock = self.world.clocks[name]
        jump_ms = self.random.choice((-1, 1)) * self.random.choice((700, 3_000, 20_000, 90_000))
        drift = self.random.choice((0.0, 0.001, -0.001))
        before = clock.skew_ms
        self._fired("clock jump", name, jump_ms, drift)

        def begin() -> None:
            clock.skew_ms, clock.since_s, clock.drift = before + jump_ms, self.world.loop.time(), drift

        def end() -> None:
            clock.skew_ms, clock.drift = before, 0.0

        await self._while(begin, end)

    # -- disasters

    async def _burnt_datacenter(self) -> None:
        """Everything but the bucket is gone; rebuilt from it and from the peers."""
        home = self._home()
        if self._busy:
            return
        self._busy.add(home.name)
        self._fired("burnt datacenter", home.name)
        await self.burn(home)
        await asyncio.sleep(self._lasts_s())
        await self.rebuilt(home)
        self._busy.discard(home.name)

    async def burn(self, home: Home) -> None:
        """Nothing is left but the bucket."""
        world = self.world
        home.down = True
        home.power_off()
        home.burns += 1
        world.lost_with.append(home.name)
        world.watching.forget(home.name)
        world.watching.frontiers.forget(home.name)
        home.disks = Disks(
            home.name, world.ledger, world.wall_ms, home.disks.bucket, updates_kept=world.plan.updates_kept
        )

    async def rebuilt(self, home: Home) -> None:
        """Operators build it up again while they can reach the others, as the manual has it."""
        world = self.world
        network = world.network
        while True:
            reaches = [
                other.serving and not network.is_cut(home.name, name) and not network.is_cut(name, home.name)
                for name, other in world.homes.items()
                if name != home.name
            ]
            if all(reaches):
                try:
                    snapshot = await world.as_operator(home, "restore", home.rebuild())
                except PlanBError as error:
                    world.note("restore", home.name, type(error).__name__, error.detail)
                else:
                    world.note("restored", home.name, snapshot or "nothing")
                    world.counts["restored from a snapshot" if snapshot else "restored from peers"] += 1
                    break
            await asyncio.sleep(1)
        home.down = False
        home.boot()

    async def _torn_log(self) -> None:
        """The log's disk had not written what it said."""
        home = self._home()
        world = self.world
        if self._busy or any(name != home.name for name in world.lost_with):
            return  # where two have lost something, and no snapshot is there, nobody may have the whole any more
        home.power_off()
        torn = home.disks.log.tear(self.random, 3)
        self._fired("torn log", home.name, [(record.lane, record.seq) for record in torn])
        world.watching.frontiers.forget(home.name)
        world.lost_with.append(home.name)

    async def _snapshot(self) -> None:
        home = self._home()
        world = self.world
        if home.name in self._busy:
            return
        self._fired("snapshot", home.name)
        try:
            made = await world.as_operator(home, "snapshot", home.take_snapshot())
        except PlanBError as error:
            world.note("snapshot", home.name, type(error).__name__, error.detail)
        else:
            world.counts["snapshots"] += 1
            world.note("snapshot", made.id)

    # -- people and versions

    async def _app_killed(self) -> None:
        user = self.random.choice(list(self.world.users.values()))
        self._fired("app killed", user.name)
        user.kill_app()
        user.busy = 0
        user.open(self.random.choice(user.regions))

    async def _upgrade(self) -> None:
        home = self._home()
        self._fired("upgrade", home.name)
        home.knows_new = True
        home.kill()


def void(_: object) -> None:
    """For lambdas that have to return nothing."""
