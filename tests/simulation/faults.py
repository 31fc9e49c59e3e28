"""The bad luck of a history: the wire, processes, stores and clocks. The rest is in disasters.py."""

import asyncio
from collections.abc import Callable

from tests.simulation.disasters import Disasters
from tests.simulation.loop import OUTSIDE
from tests.simulation.stores import STORES, Trap

RESTORING = ("relational.load", "messages.load", "relational.set_frontier", "messages.set_frontier", "log.seed")
TRAPS = (
    "log.append", "log.append", "log.store", "log.open", "log.trim", "relational.apply", "relational.apply",
    "relational.set_meta", "relational.collect", "messages.put", "hot.decide", "hot.apply", "hot.announce",
    "hot.begin", "hot.publish_epoch", "objects.put_new archive/", "objects.delete", "objects.put_new chunks/",
    "objects.put_new snapshots/", "objects.put_new incarnations/", *RESTORING,
)  # fmt: skip
"""What a process may die in: a call of a store and, of objects, the folder."""


class Faults(Disasters):
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

    async def _long_one_way_cut(self) -> None:
        """A network that lets through in one direction only, and nobody who repairs it."""
        names = list(self.world.homes)
        self.random.shuffle(names)
        left = names[: self.random.randint(1, len(names) - 1)]
        lasts_s = self.random.choice((120.0, 600.0, 3_600.0))
        self._fired("long one-way cut", "+".join(left), lasts_s)
        await self._while(*self._cut_all([(a, b) for a in left for b in names if b not in left]), lasts_s)

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

    async def _crash_in_a_store_call(self) -> None:
        """A call to a store is the last thing that a process does: before it is done there, or after."""
        home, call = self._home(), self.random.choice(TRAPS)
        method, _, prefix = call.partition(" ")
        done, whole_machine = self.random.random() < 0.5, self.random.random() < 0.3

        def sprung() -> None:
            if whole_machine:
                home.disks.hot.lose()
            self._fired("crash in a store call", home.name, call, "done" if done else "not done")

        await asyncio.sleep(self._lasts_s())
        if home.name in self._busy or self.over:
            return
        home.trouble.trap = Trap(method, prefix, done, sprung)
        if prefix in ("snapshots/", "chunks/"):
            await self._snapshot()
        elif call in RESTORING and not self._busy:
            await self._burnt(home)

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
        if home.up and home.process is not None:
            self._fired("restart", home.process.name)
            home.end()

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


def void(_: object) -> None:
    """For lambdas that have to return nothing."""
