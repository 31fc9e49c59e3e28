"""What has to be true once no fault is left."""

import asyncio
from typing import Any

from core.fold import State
from core.tables import ALL_TABLES
from planb_sdk import ApiError
from planb_sdk.errors import PlanBError as SdkError
from stores.digest import Digest, digest, digest_of
from tests.simulation.ledger import Violation
from tests.simulation.watching import registry_effects


async def judge(world: Any) -> None:
    """Raises Violation for the first thing that is not as promised."""
    await world.until(lambda: world.even() or stale(world), "convergence")
    await _mend_logs(world)
    await _retry_parked(world)
    await world.until(world.even, "convergence after the upgrade")
    await _settle_clients(world)
    await world.until(world.even, "convergence after what was sent again")
    world.look()
    await _digests(world)
    _promises(world)
    await _clients(world)
    world.look()


def where(world: Any) -> dict[str, Any]:
    """How far each datacenter is."""
    found = {}
    for name, home in world.homes.items():
        if home.dc is None or home.process.dead or not hasattr(home.dc, "serving"):
            found[name] = f"down ({home.process.name}, frozen {home.process.frozen})"
            continue
        found[name] = {
            "applied": {lane: mark.seq for lane, mark in home.dc.applier.progress.applied.items()},
            "log": {lane: held.top.seq for lane, held in home.disks.log._lanes.items()},
            "serving": home.serving,
            "missing": {n: await_now(check) for n, check in home.dc.serving.checks.items()},
            "blocked": {lane: b.reason for lane, b in home.dc.replicator.replayer.blocked.items()},
            "links": {loop.name: loop.error for loop in home.dc.replicator.loops},
            "forked": {lane: state.forked for lane, state in home.dc.replicator.intake.lanes().items() if state.forked},
        }
    return found


def await_now(check: Any) -> str:
    """A check that never really waits."""
    work = check()
    try:
        work.send(None)
    except StopIteration as done:
        return str(done.value)
    work.close()
    return "?"


def stale(world: Any) -> list[Any]:
    """Datacenters whose stores hold what no log holds, or whose log lacks what their archive has, when all else is
    done: their log has lost its end for good."""
    tops = world.tops()
    found = []
    for home in world.homes.values():
        if not home.serving:
            return []
        applied = {lane: mark.seq for lane, mark in home.dc.applier.progress.applied.items()}
        if any(applied.get(lane, 0) < seq for lane, seq in tops.items()):
            return []
        if home.name in world.lost_with and any(seq > tops.get(lane, 0) for lane, seq in applied.items()):
            found.append(home)
    return found


async def _mend_logs(world: Any) -> None:
    """Operators see digests differ, and rebuild what is not the fold of its lanes."""
    for home in stale(world):
        world.counts["rebuilt because of a torn log"] += 1
        await world.faults.burn(home)
        await world.faults.rebuilt(home)
    await world.until(world.even, "convergence after a torn log")


async def _retry_parked(world: Any) -> None:
    """Now that every version knows every action."""
    for home in world.homes.values():
        if await home.disks.relational.parked():
            await world.sys(home, "POST", "/sys/v1/parked/retry", {})
        if left := await home.disks.relational.parked():
            raise Violation(f"{home.name}: still parked: {left}")


async def _settle_clients(world: Any) -> None:
    """Everything in an outbox is sent, and sent again where a datacenter lost it."""
    users = list(world.users.values())
    await world.until(lambda: all(not user.busy for user in users), "the end of all calls", 200.0)
    done = [world.loop.start(user.process, _settled(user), f"{user.name} settles") for user in users]
    await world.until(lambda: all(task.done() for task in done), "an empty outbox", 300.0)
    for task in done:
        task.result()


async def _settled(user: Any) -> None:
    while True:
        try:
            await user.client.settled()
        except ApiError:
            await asyncio.sleep(0.5)
        except SdkError:
            await asyncio.sleep(0.5)
        else:
            return


async def _digests(world: Any) -> None:
    """All datacenters hold the fold of all lanes, and nothing else."""
    world.watching.learn()
    fold = State()
    held: dict[int, Any] = {}
    for home in world.homes.values():
        for lane in home.disks.log._lanes.values():
            for record in lane.records.values():
                held[record.id] = record
    for id in sorted(held):
        event = world.watching.events.get(id)
        if event is not None:
            for effect in registry_effects(event):
                fold.apply(id, effect)
    wanted = digest_of({name: fold.rows(name, {}) for name in ALL_TABLES})
    for home in world.homes.values():
        await home.dc.messages.flush()
        found: Digest = await digest(home.disks.relational, home.disks.messages)
        if found.total != wanted.total:
            raise Violation(f"{home.name} is not the fold of its lanes: {found.differences(wanted)}")


def _promises(world: Any) -> None:
    """No acknowledged write is lost; what only a burnt datacenter held under `local` may be."""
    held = {
        record.id
        for home in world.homes.values()
        for lane in home.disks.log._lanes.values()
        for record in lane.records.values()
    }
    for id, event in world.watching.events.items():
        if id not in held:
            world.lost[id] = event
            if world.dc_of(id) not in world.lost_with:
                raise Violation(f"an event is gone, and no disk was lost: {event}")
    for made in world.promises:
        if made.id in world.lost:
            world.counts["acknowledged, lost with its datacenter"] += 1
            # `remote` bears the loss of one datacenter.
            if made.durability != "local" and len(set(world.lost_with)) < 2:
                raise Violation(f"acknowledged as {made.durability} and lost: {made}")


async def _clients(world: Any) -> None:
    """Everybody ends with what a fresh fetch gives, in every region."""
    for user in world.users.values():
        client = user.client
        if client.stats.missed:
            raise Violation(f"{user.name}: {client.stats.missed} holes were not closed")
        if world.lost:
            # What was shown and then lost with its datacenter is nobody's to take back: the app starts again.
            await world.loop.start(user.process, client._reload(True), "reload")
        ends = world.loop.time() + 240
        while True:
            world.look()
            task = world.loop.start(user.process, client.fresh_state(), "fresh")
            try:
                fresh = (await task).snapshot()
            except SdkError as error:
                if world.loop.time() > ends:
                    raise Violation(f"{user.name} can't fetch: {error!r}") from error
                continue
            mine = client.state.snapshot()
            if mine == fresh:
                break
            if world.loop.time() > ends:
                raise Violation(f"{user.name} ends with {differences(mine, fresh)} (his, fresh)")
            await asyncio.sleep(1)


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    if a == b:
        return []
    if isinstance(a, dict) and isinstance(b, dict):
        return [
            one
            for name in sorted(a.keys() | b.keys())
            for one in differences(a.get(name), b.get(name), f"{path}/{name}")
        ]
    return [f"{path}: {a!r} | {b!r}"]
