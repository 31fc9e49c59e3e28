"""A lease, situation by situation, in virtual time. What it promises over random histories is in tests/models."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from core import limits
from core.errors import LeaseLost, StoreUnavailable
from stores.adapters.memory_coordination import MemoryCoordination
from stores.coordination import PROCESS, Held, Member, View, leader
from stores.lease import Lease
from tests.support import virtual_time

LEASE_MS = 10_000
RENEWED_S = LEASE_MS / limits.LEASE_RENEWALS / 1_000


class Cut(MemoryCoordination):
    """One that can be cut off."""

    cut = False

    async def renew(self, session: str) -> int | None:
        if self.cut:
            raise StoreUnavailable("the line is cut")
        return await super().renew(session)


class Room:
    """Processes that meet."""

    def __init__(self) -> None:
        self.shared = Cut(now_ms)
        self.lost: list[LeaseLost] = []

    def lease(self, name: str) -> Lease:
        return Lease(self.shared, Member(name), lease_ms=LEASE_MS, steady_ms=now_ms, on_lost=self.lost.append)

    async def joined(self, name: str) -> Lease:
        lease = self.lease(name)
        await lease.join()
        return lease


def now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1_000)


Test = Callable[[Room], Coroutine[Any, Any, None]]


def in_virtual_time(test: Test) -> Callable[[], None]:
    async def in_a_room() -> None:
        await test(Room())

    def run() -> None:
        virtual_time.run(in_a_room())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@in_virtual_time
async def test_nobody_may_act_before_he_has_joined_or_after_he_left(room: Room) -> None:
    lease = room.lease("a")
    assert lease.refusal()
    await lease.join()
    assert not lease.refusal()
    await lease.leave()
    assert lease.refusal()
    assert not (await room.shared.look()).members


@in_virtual_time
async def test_it_may_act_until_the_margin_before_its_end_and_again_when_it_is_renewed(room: Room) -> None:
    lease = await room.joined("a")
    await lease.take(PROCESS)
    room.shared.cut = True
    until_ms = LEASE_MS - limits.LEASE_MARGIN_MS
    await asyncio.sleep((until_ms - 1) / 1_000)
    assert not lease.refusal()
    assert lease.left_ms() == 1
    await asyncio.sleep(0.001)
    assert "does not hold its lease: the line is cut" in lease.refusal()
    assert lease.left_ms() == 0
    room.shared.cut = False
    await asyncio.sleep(0.9 * limits.LEASE_MARGIN_MS / 1_000)
    assert not lease.refusal(), "nobody else could have had it"
    assert lease.unbroken
    await lease.leave()


@in_virtual_time
async def test_what_a_session_held_that_ended_is_taken_again(room: Room) -> None:
    lease = await room.joined("a")
    held = await lease.take(PROCESS)
    room.shared.cut = True
    await asyncio.sleep(2 * LEASE_MS / 1_000)
    room.shared.cut = False
    await asyncio.sleep(RENEWED_S)
    assert not lease.refusal()
    assert lease.held[PROCESS].token > held.token
    assert not lease.unbroken, "somebody else may have held it meanwhile"
    assert not room.lost
    await lease.leave()


@in_virtual_time
async def test_what_another_one_has_taken_meanwhile_is_lost_for_good(room: Room) -> None:
    a, b = await room.joined("a"), await room.joined("b")
    await a.take(PROCESS)
    await room.shared.end("a")
    await b.take(PROCESS)
    await asyncio.sleep(2 * RENEWED_S)
    assert [error.code for error in room.lost] == ["lease_lost"]
    assert "holds process now" in a.refusal()
    await b.leave()
    await asyncio.sleep(3 * LEASE_MS / 1_000)
    assert a.refusal()
    assert not a.held
    with pytest.raises(LeaseLost):
        await a.wait_for(PROCESS, lambda held: None)
    await a.leave()


@in_virtual_time
async def test_who_waits_is_told_for_whom_once_and_takes_over_when_he_leaves(room: Room) -> None:
    a, b = await room.joined("a"), await room.joined("b")
    await a.take(PROCESS)
    seen: list[Held] = []
    waits = asyncio.create_task(b.wait_for(PROCESS, seen.append))
    await asyncio.sleep(3 * LEASE_MS / 1_000)
    assert [held.member.id for held in seen] == ["a"]
    began_ms = now_ms()
    await a.leave()
    assert b.mine(await waits)
    assert now_ms() - began_ms < 10, "it was told, it did not look"
    await b.leave()


@in_virtual_time
async def test_one_leads_at_a_time_under_a_term_that_grows(room: Room) -> None:
    a, b = await room.joined("a"), await room.joined("b")
    a.campaign("cron")
    await asyncio.sleep(0.01)
    b.campaign("cron")
    await asyncio.sleep(0.01)
    first = a.term("cron")
    assert first is not None
    assert b.term("cron") is None
    assert a.term("another") is None
    await a.resign("cron")
    await asyncio.sleep(0.01)
    second = b.term("cron")
    assert a.term("cron") is None
    assert second is not None and second > first
    await asyncio.sleep(3 * LEASE_MS / 1_000)
    assert b.term("cron") == second, "who has resigned does not stand again"
    await a.leave()
    await b.leave()


@in_virtual_time
async def test_a_leadership_that_is_lost_is_not_vital_and_is_campaigned_for_again(room: Room) -> None:
    a, b = await room.joined("a"), await room.joined("b")
    a.campaign("cron")
    await asyncio.sleep(0.01)
    room.shared.cut = True
    await asyncio.sleep(LEASE_MS / 1_000)
    assert a.term("cron") is None, "it stops by itself"
    room.shared.cut = False
    await asyncio.sleep(2 * LEASE_MS / 1_000)
    assert a.term("cron") is not None
    assert not room.lost
    await a.leave()
    await b.leave()


@in_virtual_time
async def test_a_leader_is_seen_to_be_replaced(room: Room) -> None:
    """Somebody took the key away by hand."""
    a, b = await room.joined("a"), await room.joined("b")
    a.campaign("cron")
    await asyncio.sleep(0.01)
    await room.shared.give("a", leader("cron"))
    await room.shared.take("b", leader("cron"))
    await asyncio.sleep(0.01)
    assert a.term("cron") is None
    assert not a.refusal()
    await a.leave()
    await b.leave()


@in_virtual_time
async def test_what_the_registry_shows_follows_into_the_next_session(room: Room) -> None:
    lease = await room.joined("a")
    await lease.announce("serving")
    await room.shared.end("a")
    await asyncio.sleep(2 * RENEWED_S)
    assert [(one.id, one.state) for one in (await room.shared.look()).members.values()] == [("a.2", "serving")]
    await lease.leave()


@in_virtual_time
async def test_an_old_view_that_arrives_late_takes_nothing_away(room: Room) -> None:
    """What was seen before it was taken says who held it then."""
    a = await room.joined("a")
    await a.take(PROCESS)
    await room.shared.end("a")
    old = await room.joined("b")
    first = await old.take(PROCESS)
    before = await room.shared.look()
    await old.leave()

    class Late(Cut):
        async def watch(self) -> AsyncIterator[View]:
            await asyncio.sleep(1)
            yield before

    late = Late(now_ms)
    for _ in range(first.token):
        await late.open(Member("x"), LEASE_MS)
        await late.take("x", PROCESS)
        await late.end("x")
    lease = Lease(late, Member("c"), lease_ms=LEASE_MS, steady_ms=now_ms, on_lost=room.lost.append)
    await lease.join()
    assert (await lease.take(PROCESS)).token > first.token
    await asyncio.sleep(2)
    assert lease.view == before
    assert not lease.refusal()
    await lease.leave()
    await a.leave()


@in_virtual_time
async def test_what_was_taken_with_a_session_that_ended_meanwhile_is_not_had(room: Room) -> None:
    class Slow(Cut):
        async def take(self, session: str, name: str) -> Held:
            held = await super().take(session, name)
            await asyncio.sleep(2 * RENEWED_S)
            return held

    slow = Slow(now_ms)
    lease = Lease(slow, Member("a"), lease_ms=LEASE_MS, steady_ms=now_ms, on_lost=room.lost.append)
    await lease.join()
    takes = asyncio.create_task(lease.take(PROCESS))
    await asyncio.sleep(0.01)
    await slow.end("a")
    with pytest.raises(LeaseLost):
        await takes
    assert not lease.held
    await lease.leave()
