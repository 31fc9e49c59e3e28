"""What every Coordination promises. An adapter's test module subclasses this and gives a `place` fixture."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from cli.waiting import until
from core import limits
from core.errors import Invalid, LeaseLost
from stores.coordination import PROCESS, Coordination, Datacenter, Member, View, leader, worker

LEASE_MS = limits.LEASE_MS_MIN
SEEN_S_MAX = 10.0
IAD = Datacenter(2, "iad", "http://10.0.2.5:8081", "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=")


class Place(Protocol):
    """Where several processes meet."""

    def process(self) -> Coordination:
        """One more."""
        ...

    async def dies(self, process: Coordination) -> None:
        """Returns when it is dead, and what it held by its life or its time is over."""
        ...

    async def lives_on(self, process: Coordination, session: str) -> None:
        """Returns when more time has passed than a lease has; the session was renewed meanwhile."""
        ...


def member(id: str, **said: object) -> Member:
    return Member(id, role="all", host="fra-1", pid=7)._replace(**said)


async def joined(place: Place, id: str) -> Coordination:
    process = place.process()
    await process.open(member(id), LEASE_MS)
    return process


@asynccontextmanager
async def watching(process: Coordination) -> AsyncIterator[list[View]]:
    """What it is shown, while the block lasts."""
    seen: list[View] = []

    async def follow() -> None:
        async for view in process.watch():
            seen.append(view)

    task = asyncio.create_task(follow())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def shown(seen: list[View], wanted: View) -> bool:
    async def is_last() -> bool:
        return bool(seen) and seen[-1] == wanted

    return await until(is_last, SEEN_S_MAX)


class CoordinationContract:
    async def test_a_claim_is_held_by_whoever_took_it_first(self, place: Place) -> None:
        a, b = await joined(place, "a"), await joined(place, "b")
        held = await a.take("a", worker(3))
        assert (held.name, held.member) == ("worker/3", member("a"))
        assert await b.take("b", worker(3)) == held
        assert (await b.take("b", worker(4))).member == member("b")
        view = await a.look()
        assert {name: held.member.id for name, held in view.held.items()} == {"worker/3": "a", "worker/4": "b"}

    async def test_taking_again_changes_nothing(self, place: Place) -> None:
        a = await joined(place, "a")
        assert await a.take("a", PROCESS) == await a.take("a", PROCESS) == (await a.look()).held[PROCESS]

    async def test_of_many_who_take_at_once_one_wins(self, place: Place) -> None:
        processes = {f"p{n}": await joined(place, f"p{n}") for n in range(8)}
        for round in range(4):
            found = await asyncio.gather(*(each.take(id, worker(round)) for id, each in processes.items()))
            assert len(set(found)) == 1
            assert found[0].member.id in processes

    async def test_tokens_of_a_claim_grow_whatever_ended_the_holding(self, place: Place) -> None:
        tokens = []
        for n in range(6):
            process = await joined(place, f"p{n}")
            held = await process.take(f"p{n}", leader("cron"))
            assert held.member.id == f"p{n}"
            tokens.append(held.token)
            if n == 1:
                await place.dies(process)
            elif n % 2:
                await process.end(f"p{n}")
            else:
                await process.give(f"p{n}", leader("cron"))
        assert tokens == sorted(set(tokens))

    async def test_what_is_given_back_is_free_and_only_its_holder_gives_it(self, place: Place) -> None:
        a, b = await joined(place, "a"), await joined(place, "b")
        await a.take("a", PROCESS)
        await b.give("b", PROCESS)
        assert (await b.take("b", PROCESS)).member.id == "a"
        await a.give("a", PROCESS)
        await a.give("a", PROCESS)
        assert PROCESS not in (await a.look()).held
        assert (await b.take("b", PROCESS)).member.id == "b"
        await a.give("a", PROCESS)
        assert (await a.look()).held[PROCESS].member.id == "b"

    async def test_a_session_that_was_ended_holds_nothing_and_is_over(self, place: Place) -> None:
        a, b = await joined(place, "a"), await joined(place, "b")
        await a.take("a", PROCESS)
        await a.take("a", worker(0))
        await a.end("a")
        await a.end("a")
        for call in (a.renew("a"), a.take("a", PROCESS), a.announce(member("a", state="serving"))):
            with pytest.raises(LeaseLost):
                await call
        view = await b.look()
        assert not view.held
        assert list(view.members) == ["b"]

    async def test_a_process_that_died_holds_nothing_and_is_no_member(self, place: Place) -> None:
        a = await joined(place, "a")
        await a.take("a", PROCESS)
        await place.dies(a)
        b = await joined(place, "b")
        assert (await b.take("b", PROCESS)).member.id == "b"
        assert list((await b.look()).members) == ["b"]
        for call in (a.renew("a"), a.take("a", worker(1)), a.announce(member("a"))):
            with pytest.raises(LeaseLost):
                await call
        await a.give("a", PROCESS)
        assert (await b.look()).held[PROCESS].member.id == "b"

    async def test_a_session_that_is_renewed_lasts(self, place: Place) -> None:
        a, b = await joined(place, "a"), await joined(place, "b")
        await a.take("a", PROCESS)
        await place.lives_on(a, "a")
        assert (await a.take("a", PROCESS)).member.id == "a"
        assert (await a.look()).held[PROCESS].member.id == "a"
        await b.close()

    async def test_opening_a_session_again_is_the_same_session(self, place: Place) -> None:
        a = await joined(place, "a")
        ttl_ms = await a.open(member("a"), LEASE_MS)
        assert ttl_ms is None or ttl_ms >= LEASE_MS
        await a.take("a", PROCESS)
        assert list((await a.look()).members) == ["a"]
        await a.end("a")
        assert (await a.look()) == View({}, {}, {})

    async def test_a_member_is_shown_as_it_says(self, place: Place) -> None:
        a, b = await joined(place, "a"), await joined(place, "b")
        said = member("a", state="serving", public_url="http://fra-1:8080", since_ms=1_700_000_000_000)
        await a.announce(said)
        assert (await b.look()).members == {"a": said, "b": member("b")}
        await a.announce(member("a"))
        assert (await b.look()).members["a"] == member("a")

    async def test_the_map_keeps_what_came_first_until_it_is_replaced(self, place: Place) -> None:
        a, b = await joined(place, "a"), await joined(place, "b")
        assert await a.chart(IAD) == IAD
        other = IAD._replace(name="nrt")
        assert await b.chart(other) == IAD
        assert (await b.look()).datacenters == {2: IAD}
        await b.rechart(other)
        assert await a.chart(IAD) == other
        await a.end("a")
        await b.end("b")
        assert (await b.look()).datacenters == {2: other}
        await b.unchart(2)
        await b.unchart(2)
        assert (await b.look()).datacenters == {}
        assert await b.chart(IAD) == IAD

    async def test_of_many_who_chart_at_once_all_see_the_same(self, place: Place) -> None:
        processes = [await joined(place, f"p{n}") for n in range(6)]
        each = (process.chart(IAD._replace(name=f"dc{n}")) for n, process in enumerate(processes))
        assert len(set(await asyncio.gather(*each))) == 1

    async def test_a_watch_begins_with_what_is_there_and_shows_every_kind_of_change(self, place: Place) -> None:
        a, b = await joined(place, "a"), await joined(place, "b")
        await a.take("a", PROCESS)
        async with watching(b) as seen:
            assert await shown(seen, await b.look())
            await a.announce(member("a", state="serving"))
            await a.chart(IAD)
            assert await shown(seen, await b.look())
            await a.give("a", PROCESS)
            assert await shown(seen, await b.look())
            await a.take("a", worker(9))
            assert await shown(seen, await b.look())
            await a.end("a")
            assert await shown(seen, View({}, {"b": member("b")}, {2: IAD}))

    async def test_a_watch_sees_that_a_process_died(self, place: Place) -> None:
        a, b = await joined(place, "a"), place.process()
        await a.take("a", PROCESS)
        async with watching(b) as seen:
            assert await shown(seen, await b.look())
            await place.dies(a)
            assert await shown(seen, View({}, {}, {}))

    async def test_a_watch_ends_up_with_the_newest_state_whatever_happened_in_between(self, place: Place) -> None:
        rng = random.Random(5)
        processes = {f"p{n}": await joined(place, f"p{n}") for n in range(3)}
        watcher = place.process()
        async with watching(watcher) as seen:
            for step in range(60):
                id = rng.choice(list(processes))
                name = worker(rng.randrange(3))
                match rng.randrange(4):
                    case 0:
                        await processes[id].take(id, name)
                    case 1:
                        await processes[id].give(id, name)
                    case 2:
                        await processes[id].announce(member(id, state=f"step {step}"))
                    case _:
                        await processes[id].rechart(IAD._replace(name=f"dc{step}"))
            assert await shown(seen, await watcher.look())

    @pytest.mark.parametrize("name", ["", "/", "a//b", "../b", "a b", "Worker/1", "a/.b", "é", "a" * 65])
    async def test_a_name_that_is_none_is_refused(self, place: Place, name: str) -> None:
        a = await joined(place, "a")
        with pytest.raises(Invalid):
            await a.take("a", name)
        with pytest.raises(Invalid):
            await a.give("a", name)
