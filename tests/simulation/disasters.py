"""Disasters, and what operators and new versions do."""

import asyncio

from core.errors import PlanBError
from tests.simulation.datacenter import NAMES, Home
from tests.simulation.disks import Disks
from tests.simulation.fate import Fate
from tests.simulation.poison import HOPELESS, hopeless

BEGINS_ANEW = {"burnt datacenter", "torn log", "datacenter added", "crash in a store call"}


class Disasters(Fate):
    # -- fire and torn disks

    async def _burnt_datacenter(self) -> None:
        """Everything but the bucket is gone; rebuilt from it and from the peers."""
        if not self._busy:
            await self._burnt(self._home())

    async def _burnt(self, home: Home) -> None:
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

    async def _datacenter_added(self) -> None:
        """By the manual: a new one starts on empty disks, the others get its address and key and are restarted one by
        one, and people come when its state is theirs."""
        world = self.world
        if self._busy or len(world.homes) == len(NAMES):
            return
        name = NAMES[len(world.homes)]
        self._busy.add(name)
        self._fired("datacenter added", name)
        others = list(world.homes.values())
        numbers = {**others[0].numbers, name: max(others[0].numbers.values()) + 1}
        late = self.random.random() < 0.5
        if not late:
            world.build(name, numbers)
        for home in others:
            await asyncio.sleep(self.random.random() * 3)
            home.learn(numbers)
            home.kill() if self.random.random() < 0.5 else home.end()
        if late:
            world.build(name, numbers)
        while not world.homes[name].serving or not world.even():
            await asyncio.sleep(0.5)
            if self.over:
                break
        self._busy.discard(name)
        for user in world.users.values():
            user.regions.append(name)

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

    # -- what can't be applied, and who looks after it

    async def _poison_event(self) -> None:
        user = self.random.choice(list(self.world.users.values()))
        how = self.random.choice((*HOPELESS, "raises before") if self.world.plan.versions else HOPELESS)
        later = self.random.choice((None, self._parked_retried, self._parked_dropped))
        pause_s = self._lasts_s()
        self._fired("poison event", user.name, how)
        self.world.loop.start(user.process, user.poison(how), "poison")
        if later is not None:
            await asyncio.sleep(pause_s)
            await later()

    async def _parked_retried(self) -> None:
        """As `planb parked retry`."""
        home = self._home()
        if parked := await home.disks.relational.parked():
            self._fired("parked retried", home.name, len(parked))
            await self.world.asked(home, "POST", "/sys/v1/parked/retry", {})

    async def _parked_dropped(self) -> None:
        """As `planb parked drop`, for one event; at times somebody does it for some datacenters only, or unasked."""
        homes = list(self.world.homes.values())
        self.random.shuffle(homes)
        everywhere = self.random.random() < 0.7
        for home in homes:
            if parked := [one for one in await home.disks.relational.parked() if self._may_drop(one.id)]:
                place = self.random.choice(parked)
                self._fired("parked dropped", home.name, place.lane, place.seq)
                for other in homes if everywhere else homes[: self.random.randint(1, len(homes))]:
                    await self.give_word(other, place.lane, place.seq)
                return

    def _may_drop(self, id: int) -> bool:
        """What a newer program could apply is not dropped where a datacenter may begin again from nothing: it would
        meet the event before the words (docs/decisions/0011)."""
        self.world.watching.learn()
        return hopeless(self.world.watching.events[id]) or BEGINS_ANEW.isdisjoint(self.world.plan.kinds)

    async def give_word(self, home: Home, lane: int, seq: int) -> None:
        """One datacenter says whether the event is to be dropped; asked twice if it does not answer."""
        for _ in range(2):
            key = f"drop:{lane}:{seq}:{home.number}"
            fields = {"lane": lane, "seq": seq}
            status, answer = await self.world.asked(home, "POST", "/sys/v1/parked/drop", fields, key)
            self.world.note("word", home.name, lane, seq, status, answer.get("agreed"), answer.get("code"))
            if status and status < 500:
                return
