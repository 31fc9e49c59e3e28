"""The loop that the simulation stands on."""

import asyncio
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import PlanBError
from tests.simulation import loop
from tests.simulation.loop import PROCESS, Process, SimLoop, Stuck
from tests.simulation.world import World


def test_hours_pass_at_once_and_timers_keep_their_order() -> None:
    async def main(running: SimLoop) -> tuple[list[int], float]:
        seen: list[int] = []

        async def after(hours: int) -> None:
            await asyncio.sleep(hours * 3_600)
            seen.append(hours)

        await asyncio.gather(*map(after, (3, 1, 2)))
        return seen, running.time()

    assert loop.run("s", main) == ([1, 2, 3], 3 * 3_600)


def test_a_killed_process_does_nothing_more_not_even_clean_up() -> None:
    async def main(running: SimLoop) -> list[str]:
        seen: list[str] = []
        process = Process("p", "p")

        async def work() -> None:
            try:
                seen.append("begun")
                await asyncio.sleep(10)
                seen.append("done")
            finally:
                seen.append("cleaned up")

        running.start(process, work())
        await asyncio.sleep(1)
        process.on_death.append(lambda: seen.append("mourned"))
        running.kill(process)
        await asyncio.sleep(100)
        return list(seen)

    assert loop.run("s", main) == ["begun", "mourned"]


def test_who_waits_for_an_operator_is_told_that_it_was_killed() -> None:
    async def main(running: SimLoop) -> str:
        process = Process("p", "p")
        world: Any = SimpleNamespace(loop=running)
        home: Any = SimpleNamespace(operator=lambda name: process if name == "first" else Process("q", "q"))
        waits = asyncio.ensure_future(World.as_operator(world, home, "first", asyncio.sleep(10)))
        await asyncio.sleep(1)
        running.kill(process)
        async with asyncio.timeout(100):
            with pytest.raises(PlanBError, match="killed"):
                await waits
        return str(await World.as_operator(world, home, "second", asyncio.sleep(1, "done")))

    assert loop.run("s", main) == "done"


def test_a_frozen_process_does_everything_that_was_due_when_it_wakes_up() -> None:
    async def main(running: SimLoop) -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []
        process = Process("p", "p")

        async def work() -> None:
            for n in range(3):
                await asyncio.sleep(1)
                seen.append((str(n), running.time()))

        running.start(process, work())
        await asyncio.sleep(1.5)
        running.freeze(process)
        await asyncio.sleep(10)
        running.thaw(process)
        await asyncio.sleep(10)
        return seen

    assert loop.run("s", main) == [("0", 1.0), ("1", 11.5), ("2", 12.5)]


def test_a_fuse_kills_before_any_step() -> None:
    async def main(running: SimLoop, steps: int) -> int:
        seen = 0
        process = Process("p", "p")
        process.fuse = steps

        async def work() -> None:
            nonlocal seen
            for _ in range(10):
                seen += 1
                await asyncio.sleep(0)

        running.start(process, work())
        await asyncio.sleep(1)
        return seen

    assert [loop.run("s", lambda running, n=n: main(running, n)) for n in (1, 2, 5)] == [0, 1, 4]


def test_what_a_task_begins_belongs_to_its_process() -> None:
    async def main(running: SimLoop) -> set[str]:
        async def inner() -> str:
            await asyncio.sleep(1)
            return PROCESS.get().name

        async def outer() -> list[str]:
            return [
                await asyncio.create_task(inner()),
                PROCESS.get().name,
                await asyncio.to_thread(PROCESS.get().name.title),
            ]

        return set(await running.start(Process("p", "p"), outer()))

    assert loop.run("s", main) == {"p", "P"}


@pytest.mark.parametrize("perturbed", [0.0, 0.5])
def test_one_seed_is_one_order_and_each_process_keeps_its_own(perturbed: float) -> None:
    async def main(running: SimLoop) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []

        async def work(process: int) -> None:
            for n in range(20):
                seen.append((process, n))
                await asyncio.sleep(0)

        await asyncio.gather(*(running.start(Process(str(p), str(p)), work(p)) for p in range(3)))
        return seen

    orders = {seed: loop.run(seed, main, perturbed) for seed in "abc"}
    assert orders == {seed: loop.run(seed, main, perturbed) for seed in "abc"}
    for order in orders.values():
        for process in range(3):
            assert [n for p, n in order if p == process] == list(range(20))
    assert (len({tuple(order) for order in orders.values()}) > 1) == bool(perturbed)


def test_waiting_for_what_cannot_come_is_found() -> None:
    async def main(running: SimLoop) -> Any:
        await running.create_future()

    with pytest.raises(Stuck), loop.running(Random(1)) as running:
        running.run_until_complete(main(running))
