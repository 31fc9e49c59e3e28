"""Leases over random histories: whoever acts under one is the only one, and stops before another can begin.

The rules that make it so are broken one by one, and each time an act arrives while another holds the claim."""

from collections.abc import Callable
from typing import Any

import pytest

from core import limits
from core.errors import LeaseLost
from stores.lease import Deadline, Lease
from tests.simulation import loop
from tests.simulation.loop import SimLoop
from tests.support.lease_world import ACT_MS_MAX, LeaseWorld, overlaps

HISTORIES = 12
FOR_S = 240.0
PLANTED_MAX = 60
"""Histories after which a planted bug has to be found."""


def history(seed: int) -> LeaseWorld:
    async def main(running: SimLoop) -> LeaseWorld:
        world = LeaseWorld(seed, running)
        await world.run(FOR_S)
        assert not running.errors, running.errors
        return world

    return loop.run(str(seed), main)


def test_the_margin_is_for_what_lies_between_the_look_and_the_act() -> None:
    assert limits.LEASE_MARGIN_MS >= ACT_MS_MAX + limits.LEASE_MS_MAX * 2 * limits.CLOCK_DRIFT_PPM_MAX / 1e6


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_who_acts_is_the_only_one_whatever_freezes_or_is_cut(seed: int) -> None:
    world = history(seed)
    assert not overlaps(world.arrivals)
    assert len(world.arrivals) > 500
    assert len(world.taken) > 5
    assert world.refused > 10, "nobody ever had to stop"
    tokens = [token for _, token in world.taken]
    assert len(tokens) == len(set(tokens))


def no_margin(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(limits, "LEASE_MARGIN_MS", 0)


def counted_from_the_answer(patch: pytest.MonkeyPatch) -> None:
    def granted(self: Deadline, sent_ms: int, ttl_ms: int | None) -> None:
        real(self, now[0](), ttl_ms)

    now: list[Callable[[], int]] = [lambda: 0]

    def init(self: Lease, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        now[0] = options["steady_ms"]
        deadline = self._deadline
        deadline.granted = lambda sent, ttl: real(deadline, options["steady_ms"](), ttl)  # type: ignore[method-assign]

    real, begin = Deadline.granted, Lease.__init__
    patch.setattr(Lease, "__init__", init)


def looked_at_once(patch: pytest.MonkeyPatch) -> None:
    """It looks when it begins, not before each act."""
    patch.setattr(Lease, "refusal", lambda self: "")


def renewed_is_held(patch: pytest.MonkeyPatch) -> None:
    """A new session counts as if it held what the lost one did."""

    async def renew(self: Lease) -> None:
        vital = dict(self._vital)
        await real(self)
        self._missing.clear()
        self._vital = self._vital or vital

    async def begin(self: Lease) -> tuple[int, int | None]:
        granted = await opened(self)
        self._missing.clear()
        return granted

    real, opened = Lease._renew, Lease._begin
    patch.setattr(Lease, "_renew", renew)
    patch.setattr(Lease, "_begin", begin)


def lost_is_not_the_end(patch: pytest.MonkeyPatch) -> None:
    """Another one was seen to hold it, and a renewal that is under way makes all well again."""

    def lose(self: Lease, error: LeaseLost) -> None:
        real(self, error)
        self._lost = None

    real = Lease._lose
    patch.setattr(Lease, "_lose", lose)


PLANTS = [no_margin, counted_from_the_answer, looked_at_once, renewed_is_held, lost_is_not_the_end]


@pytest.mark.parametrize("plant", PLANTS)
def test_without_the_rule_two_act_at_once(plant: Callable[[pytest.MonkeyPatch], None]) -> None:
    for seed in range(PLANTED_MAX):
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            if overlaps(history(seed).arrivals):
                return
    pytest.fail(f"{plant.__name__} was not noticed in {PLANTED_MAX} histories")
