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
    await world.until(world.even, "convergence")
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
    for made in world.promises:
        if made.id in held:
            continue
        if made.dc in world.lost_with and made.durability == "local":
            world.counts["lost with its datacenter"] += 1
            continue
        raise Violation(f"acknowledged and lost: {made}")


async def _clients(world: Any) -> None:
    """Everybody ends with what a fresh fetch gives, in every region."""
    for user in world.users.values():
        client = user.client
        if client.stats.missed:
            raise Violation(f"{user.name}: {client.stats.missed} holes were not closed")
        ends = world.loop.time() + 120
        while True:
            world.look()
            task = world.loop.start(user.process, client.fresh_state(), "fresh")
            fresh = (await task).snapshot()
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
