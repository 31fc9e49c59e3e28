"""What a cluster's nodes can do to the hot store: die, hang, forget, take over, hand slots to each other in the middle
of a load. And what a process can that dies between two nodes' parts of a batch."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.waiting import until
from core import limits
from core.errors import ConfigError, StoreUnavailable
from stores.adapters.cluster_hot import ClusterHot
from stores.adapters.cluster_map import slot_of, tags
from stores.adapters.cluster_nodes import Node
from stores.ports import EpochLost, HotBatch, Mark, Recent, Result, Stale
from tests.contract.hot import BOUNDS, EPOCH, FRA, RECENT_KEPT, UPDATES_KEPT, at, done, entries, feed, feeds
from tests.contract.hot_laws import History, Step, assert_equal, steps
from tests.contract.hot_reference import Reference
from tests.support.valkey import ValkeyServer
from tests.support.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.integration
SOON_S = 20.0


async def opened(cluster: ValkeyCluster, epoch: int = EPOCH, **options: Any) -> ClusterHot:
    hot = ClusterHot(cluster.url, **options)
    await hot.begin(epoch)
    await hot.publish_epoch(epoch, {}, {})
    return hot


async def rebuilt(hot: ClusterHot, epoch: int) -> None:
    """A new epoch, as soon as the cluster allows it."""

    async def begun() -> bool:
        try:
            await hot.begin(epoch)
            await hot.publish_epoch(epoch, {}, {})
        except StoreUnavailable:
            return False
        return True

    assert await until(begun, SOON_S)


@pytest.fixture
async def hot(valkey_cluster: ValkeyCluster) -> AsyncIterator[ClusterHot]:
    store = await opened(valkey_cluster)
    yield store
    await store.close()


@pytest.fixture
async def shared_hot(shared_valkey_cluster: ValkeyCluster) -> AsyncIterator[ClusterHot]:
    store = await opened(shared_valkey_cluster, **BOUNDS)
    yield store
    await store.close()


def users_on(cluster: ValkeyCluster, server: ValkeyServer, count: int = 1) -> list[str]:
    """Whose slots it serves, each another one; not the slot of what belongs to all."""
    found: dict[int, str] = {}
    for n in itertools.count():
        slot = slot_of(f"U{n}")
        if slot != slot_of("dc") and slot not in found and cluster.owner_of(slot) is server:
            found[slot] = f"U{n}"
            if len(found) == count:
                return list(found.values())
    raise AssertionError


def everywhere(cluster: ValkeyCluster) -> list[str]:
    return [users_on(cluster, server)[0] for server in cluster.servers[:3]]


def other_than_home(cluster: ValkeyCluster) -> ValkeyServer:
    home = cluster.owner_of(slot_of("dc"))
    return next(server for server in cluster.servers if server is not home)


def move(n: int, owners: Sequence[str], size: int = 1) -> HotBatch:
    """The n-th batch of one lane."""
    ids = [at(n * size + k) for k in range(size)]
    fed = [one for owner in owners for one in feeds(owner, ids, "D1")]
    recents = [Recent("D1", id, "Ua", id, True) for id in ids]
    return HotBatch(EPOCH, {FRA: (n * size, Mark((n + 1) * size, ids[-1]))}, feeds=fed, recents=recents)


async def lost(hot: ClusterHot) -> None:
    """It is told that the epoch is over, as soon as the cluster can say anything."""

    async def over() -> bool:
        try:
            return await hot.epoch() is None
        except StoreUnavailable:
            return False

    assert await until(over, SOON_S)
    for use in (hot.pts(["Ua"]), hot.updates("Ub", 0, 9), hot.apply(HotBatch(EPOCH, {})), hot.frontier()):
        with pytest.raises(EpochLost):
            await use


# -- the parts of a batch


class Struck:
    """Calls of these functions are counted; at one of them the process dies, before it or after its effect."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = -1
        self.after = False
        self.calls = 0
        call = Node.call

        async def struck(node: Node, function: str, *arguments: Any) -> Any:
            if function not in ("pb_apply_at", "pb_home_move"):
                return await call(node, function, *arguments)
            number, self.calls = self.calls, self.calls + 1
            if self.at < 0 or number < self.at:
                return await call(node, function, *arguments)
            if number == self.at and self.after:
                await call(node, function, *arguments)
            raise StoreUnavailable(private="struck")

        monkeypatch.setattr(Node, "call", struck)

    def set(self, at: int, after: bool) -> None:
        self.at, self.after, self.calls = at, after, 0


@pytest.fixture
def struck(monkeypatch: pytest.MonkeyPatch) -> Struck:
    return Struck(monkeypatch)


@pytest.mark.parametrize("after", [False, True])
async def test_a_batch_that_was_cut_off_between_two_nodes_is_repeated_as_if_it_had_not_been(
    shared_valkey_cluster: ValkeyCluster, struck: Struck, after: bool
) -> None:
    """By another process, and in batches of other sizes."""
    owners = everywhere(shared_valkey_cluster)
    batches = (
        [move(0, owners, 6)],
        [move(n, owners, 2) for n in range(3)],
        [move(n, owners, 1) for n in range(6)],
        [move(0, owners, 9)],
    )
    for point in range(4):
        for repeated in batches:
            hot = await opened(shared_valkey_cluster)
            struck.set(point, after)
            if point == 3 and after:
                with pytest.raises(StoreUnavailable):
                    await hot.apply(move(0, owners, 6))
                struck.set(-1, False)
                with pytest.raises(Stale):
                    await hot.apply(move(0, owners, 6))
                await hot.close()
                break
            with pytest.raises(StoreUnavailable):
                await hot.apply(move(0, owners, 6))
            struck.set(-1, False)
            await hot.close()
            other = ClusterHot(shared_valkey_cluster.url)
            for batch in repeated:
                answer = await other.apply(batch)
            end = repeated[-1].moves[FRA][1]
            assert answer == dict.fromkeys(owners, end.seq)
            assert await other.frontier() == {FRA: end}
            for owner in owners:
                found = await other.updates(owner, 0, 99)
                assert found == (1, entries([at(n) for n in range(end.seq)]), end.seq), (point, owner)
                assert await other.dialogs(owner, [], [], None, 9) == [("D1", end.id)]
                assert await other.seen(owner, "D1", end.id, end.seq) == {FRA: end.id}
            assert (await other.unread("Uz", [("D1", 0)]))[0].number == end.seq
            await other.close()


async def test_who_is_concerned_only_by_the_second_attempt_is_fed_all_the_same(
    shared_valkey_cluster: ValkeyCluster, struck: Struck
) -> None:
    """Of one slot both: what the slot has seen of a lane says nothing about one list in it."""
    first = users_on(shared_valkey_cluster, shared_valkey_cluster.servers[1])[0]
    second = next(name for n in range(10**6) if slot_of(name := f"Ux{n}") == slot_of(first))
    hot = await opened(shared_valkey_cluster)
    struck.set(1, False)
    with pytest.raises(StoreUnavailable):
        await hot.apply(HotBatch(EPOCH, {FRA: (0, Mark(2, at(2)))}, feeds=feeds(first, [at(1), at(2)])))
    struck.set(-1, False)
    both = [*feeds(first, [at(1), at(2)]), *feeds(second, [at(1), at(2)])]
    again = HotBatch(EPOCH, {FRA: (0, Mark(3, at(3)))}, feeds=[*both, feed(first, at(3)), feed(second, at(3))])
    assert await hot.apply(again) == {first: 3, second: 3}
    for owner in (first, second):
        assert sorted((await hot.updates(owner, 0, 9)).entries) == sorted(entries([at(1), at(2), at(3)]))
    await hot.close()


async def test_results_are_not_known_anew_by_a_repetition(shared_valkey_cluster: ValkeyCluster, struck: Struck) -> None:
    """Of more than are kept, the first ones were forgotten again in the first attempt."""
    kept = BOUNDS["results_kept"]
    results = [done(n) for n in range(1, kept + 3)]
    batch = HotBatch(EPOCH, {FRA: (0, Mark(9, at(9)))}, results=results)
    hot = await opened(shared_valkey_cluster, **BOUNDS)
    struck.set(1, False)
    with pytest.raises(StoreUnavailable):
        await hot.apply(batch)
    struck.set(-1, False)
    await hot.apply(HotBatch(EPOCH, {FRA: (0, Mark(1, at(1)))}, results=results[:1]))
    assert [one.key for one in results if await hot.result("Ua", one.key)] == [one.key for one in results[-kept:]]
    await hot.close()


async def test_a_part_that_comes_late_changes_nothing(
    shared_valkey_cluster: ValkeyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that hung may get to what an earlier attempt sent after all that came since."""
    owners = everywhere(shared_valkey_cluster)
    hot = await opened(shared_valkey_cluster)
    sent: list[tuple[Node, str, tuple[Any, ...]]] = []
    call = Node.call

    async def noted(node: Node, function: str, *arguments: Any) -> Any:
        if function == "pb_apply_at":
            sent.append((node, function, arguments))
        return await call(node, function, *arguments)

    monkeypatch.setattr(Node, "call", noted)
    for n in range(3):
        await hot.apply(move(n, owners))
    assert len(sent) > 6
    for node, function, arguments in list(sent):
        await call(node, function, *arguments)
    assert await hot.pts(owners) == [3] * 3
    await hot.close()


def joined(batches: Sequence[HotBatch]) -> HotBatch:
    """As one."""
    moves: dict[int, tuple[int, Mark]] = {}
    for batch in batches:
        for lane, (after, end) in batch.moves.items():
            moves[lane] = (moves[lane][0] if lane in moves else after, end)
    names = [name for name in HotBatch._fields if name not in ("epoch", "moves")]
    parts = {name: [one for batch in batches for one in getattr(batch, name)] for name in names}
    return HotBatch(EPOCH, moves, **parts)


class TestCutOff:
    @settings(
        max_examples=25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(
        steps.map(lambda taken: [one for one in taken if one.kind != "back"]),
        st.lists(st.tuples(st.integers(1, 9), st.integers(0, 4), st.booleans()), min_size=1, max_size=40),
    )
    async def test_any_history_cut_off_anywhere_equals_the_reference(
        self, shared_hot: ClusterHot, struck: Struck, taken: list[Step], tries: list[tuple[int, int, bool]]
    ) -> None:
        struck.set(-1, False)
        await shared_hot.begin(EPOCH)
        await shared_hot.publish_epoch(EPOCH, {}, {})
        history, reference = History(), Reference(UPDATES_KEPT, RECENT_KEPT)
        events = []
        for step in taken:
            history.add(step)
            events.append(history.take())
            reference.apply(events[-1])
        planned: Any = itertools.chain(tries, itertools.repeat((3, -1, False)))
        while events:
            count, point, after = next(planned)
            struck.set(point, after)
            try:
                await shared_hot.apply(joined(events[:count]))
            except StoreUnavailable:
                continue
            except Stale as stale:
                while events and all(
                    lane in stale.frontier and stale.frontier[lane].seq >= end.seq
                    for lane, (_, end) in events[0].moves.items()
                ):
                    del events[0]
                continue
            del events[:count]
        struck.set(-1, False)
        await assert_equal(shared_hot, reference, history)


async def test_a_batch_costs_each_node_one_call(shared_valkey_cluster: ValkeyCluster) -> None:
    hot = await opened(shared_valkey_cluster)
    owners = [f"U{n}" for n in range(500)]
    await hot.apply(move(0, owners))
    before = [fcalls(shared_valkey_cluster, server) for server in shared_valkey_cluster.servers]
    await hot.apply(move(1, owners))
    await hot.pts(owners)
    after = [fcalls(shared_valkey_cluster, server) for server in shared_valkey_cluster.servers]
    home = shared_valkey_cluster.owner_of(slot_of("dc"))
    asked = zip(shared_valkey_cluster.servers, before, after, strict=True)
    assert [now - was - (server is home) for server, was, now in asked] == [2, 2, 2], "and its home one more"
    await hot.close()


def fcalls(cluster: ValkeyCluster, server: ValkeyServer) -> int:
    stats = cluster.ask(server, "INFO", "commandstats")
    assert isinstance(stats, dict)
    return int(stats["cmdstat_fcall"]["calls"])


# -- one process and another


async def test_two_processes_share_one_state(shared_valkey_cluster: ValkeyCluster) -> None:
    hot, other = await opened(shared_valkey_cluster), ClusterHot(shared_valkey_cluster.url)
    await asyncio.gather(hot.apply(move(0, ["Ua"])), other.present("Ua", "c1", 9))
    with pytest.raises(Stale):
        await other.apply(move(0, ["Ua"]))
    assert await other.apply(move(1, ["Ua"])) == {"Ua": 2}
    with pytest.raises(Stale) as stale:
        await hot.apply(move(1, ["Ua"]))
    assert stale.value.frontier == {FRA: Mark(2, at(1))}
    assert await hot.pts(["Ua"]) == [2]
    assert await hot.online(["Ua"]) == [True]
    for store in (hot, other):
        await store.close()


async def test_a_reader_goes_on_in_the_epoch_that_follows(shared_valkey_cluster: ValkeyCluster) -> None:
    hot, reader = await opened(shared_valkey_cluster), ClusterHot(shared_valkey_cluster.url)
    await hot.apply(move(0, ["Ua"]))
    assert await reader.pts(["Ua"]) == [1]
    await hot.begin(8)
    for use in (reader.pts(["Ua"]), reader.dialogs("Ua", ["C1"], [], None, 9), reader.result("Ua", "k")):
        with pytest.raises(EpochLost):
            await use
    await hot.publish_epoch(8, {}, {FRA: at(7)})
    assert await reader.pts(["Ua"]) == [0]
    assert await reader.trimmed("Ua") == {FRA: at(7)}
    with pytest.raises(EpochLost):
        await reader.apply(move(0, ["Ua"]))
    assert await reader.epoch() == 8, "a batch of an old epoch ends no other"
    for store in (hot, reader):
        await store.close()


async def test_begin_refuses_where_any_node_holds_other_data(hot: ClusterHot, valkey_cluster: ValkeyCluster) -> None:
    owners = everywhere(valkey_cluster)
    await hot.apply(move(0, owners))
    for server, tag in zip(valkey_cluster.servers, owners, strict=True):
        valkey_cluster.ask(server, "SET", f"precious:{{{tag}}}", 1)
        with pytest.raises(ConfigError):
            await hot.begin(8)
        assert valkey_cluster.ask(server, "DEL", f"precious:{{{tag}}}") == 1
    assert await hot.epoch() == EPOCH
    assert await hot.pts(owners) == [1, 1, 1]
    valkey_cluster.ask(valkey_cluster.servers[2], "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with pytest.raises(ConfigError, match="evicts"):
        await hot.begin(8)


async def test_a_batch_that_breaks_half_way_on_one_node_ends_the_epoch(
    hot: ClusterHot, valkey_cluster: ValkeyCluster
) -> None:
    valkey_cluster.ask(valkey_cluster.owner_of(slot_of("D1")), "SET", "pb:{D1}:x", "not-a-set")
    with pytest.raises(EpochLost):
        await hot.apply(move(0, everywhere(valkey_cluster))._replace(recalls=[("D1", at(1))]))
    await lost(hot)


# -- nodes that lose what they had


@pytest.mark.parametrize("home", [False, True])
@pytest.mark.parametrize("how", ["flushed", "killed"])
async def test_what_one_node_loses_ends_the_epoch_for_all(
    hot: ClusterHot, valkey_cluster: ValkeyCluster, how: str, home: bool
) -> None:
    owners = everywhere(valkey_cluster)
    await hot.apply(move(0, owners))
    server = valkey_cluster.owner_of(slot_of("dc")) if home else other_than_home(valkey_cluster)
    if how == "flushed":
        valkey_cluster.ask(server, "FLUSHALL")
    else:
        server.kill()
        server.start()
        valkey_cluster.wait_ok()
    await lost(hot)
    await rebuilt(hot, 8)
    assert await hot.apply(move(0, owners)._replace(epoch=8)) == dict.fromkeys(owners, 1)
    assert await hot.epoch() == 8


async def test_a_reader_that_meets_a_node_without_its_epoch_ends_it(
    hot: ClusterHot, valkey_cluster: ValkeyCluster
) -> None:
    server = other_than_home(valkey_cluster)
    user = users_on(valkey_cluster, server)[0]
    reader = ClusterHot(valkey_cluster.url)
    assert await reader.pts([user]) == [0]
    valkey_cluster.ask(server, "FLUSHALL")
    with pytest.raises(EpochLost):
        await reader.pts([user])
    with pytest.raises(EpochLost):
        await hot.frontier()
    await reader.close()


async def test_a_node_that_loses_one_slot_is_noticed_when_that_is_asked_for(
    hot: ClusterHot, valkey_cluster: ValkeyCluster
) -> None:
    user = users_on(valkey_cluster, valkey_cluster.servers[0])[0]
    assert valkey_cluster.ask(valkey_cluster.servers[0], "DEL", f"pb:{{{tags()[slot_of(user)]}}}:e") == 1
    with pytest.raises(EpochLost):
        await hot.apply(move(0, [user]))


async def test_a_node_that_hangs_is_unavailable_and_doubles_nothing_when_it_goes_on(
    hot: ClusterHot, valkey_cluster: ValkeyCluster
) -> None:
    owners = everywhere(valkey_cluster)
    await hot.apply(move(0, owners))
    server = other_than_home(valkey_cluster)
    server.pause()
    try:
        with pytest.raises(StoreUnavailable):
            await hot.apply(move(1, owners, 1))
    finally:
        server.resume()
    valkey_cluster.wait_ok()

    async def taken() -> bool:
        try:
            await hot.apply(move(1, owners))
        except StoreUnavailable:
            return False
        except Stale as stale:
            return stale.frontier[FRA].seq == 2
        return True

    assert await until(taken, SOON_S)
    assert await hot.pts(owners) == [2, 2, 2]
    assert await hot.epoch() == EPOCH, "it has all it had"


@pytest.mark.parametrize("how", ["lacks the last writes", "has everything", "was admitted as an empty primary"])
async def test_a_replica_that_takes_over_ends_the_epoch(
    hot: ClusterHot, valkey_cluster: ValkeyCluster, how: str
) -> None:
    primary = other_than_home(valkey_cluster)
    if how == "was admitted as an empty primary":
        replica = valkey_cluster.add()
        assert await hot.epoch() == EPOCH  # which admits it
        valkey_cluster.follow(replica, primary)
    else:
        replica = valkey_cluster.replicate(primary)
    owners = everywhere(valkey_cluster)
    # Its first replica gives a primary a new replication id: who serves is not certain any more, and asked to rebuild.
    await lost(hot)
    await rebuilt(hot, 8)
    await hot.apply(move(0, owners)._replace(epoch=8))
    if how == "lacks the last writes":
        replica.pause()
        valkey_cluster.ask(primary, "CLIENT", "KILL", "TYPE", "replica")
        await hot.apply(move(1, owners)._replace(epoch=8))
        assert await hot.pts(owners) == [2, 2, 2]
        primary.kill()
        replica.resume()
        await asyncio.to_thread(valkey_cluster.wait_primary, replica)
    else:
        await asyncio.to_thread(valkey_cluster.fail_over, replica)
    await lost(hot)
    await rebuilt(hot, 9)
    assert await hot.apply(move(0, owners)._replace(epoch=9)) == dict.fromkeys(owners, 1)
    assert await hot.epoch() == 9


# -- slots on their way


async def under_load(
    hot: ClusterHot, owners: Sequence[str], meanwhile: Callable[[], Any], at_least: int = 30
) -> tuple[int, int]:
    """(batches that came in, attempts that were refused) while `meanwhile` runs on a thread."""
    finished = asyncio.create_task(asyncio.to_thread(meanwhile))
    n = refused = 0
    while not finished.done() or n < at_least:
        try:
            assert await hot.apply(move(n, owners)) == dict.fromkeys(owners, n + 1)
        except StoreUnavailable:
            refused += 1
            continue
        except Stale as stale:
            assert stale.frontier[FRA].seq == n + 1
        n += 1
        found = await hot.updates(owners[n % len(owners)], 0, 10_000)
        assert found.entries == entries([at(k) for k in range(n)]), "no read may show a part"
    await finished
    return n, refused


async def all_there(hot: ClusterHot, owners: Sequence[str], count: int) -> None:
    assert await hot.epoch() == EPOCH
    assert await hot.frontier() == {FRA: Mark(count, at(count - 1))}
    for owner in owners:
        found = await hot.updates(owner, 0, 10_000)
        assert found == (1, entries([at(k) for k in range(count)]), count)


async def test_slots_move_in_the_middle_of_a_load(hot: ClusterHot, valkey_cluster: ValkeyCluster) -> None:
    """To nodes that were there, key by key, that of what belongs to all as well."""
    first, second, third = valkey_cluster.servers
    owners = [*users_on(valkey_cluster, first, 4), users_on(valkey_cluster, second)[0]]
    slots = [slot_of(owner) for owner in owners]

    def moves() -> None:
        for slot in (*slots[:4], slot_of("dc"), slot_of("D1")):
            target = next(one for one in (second, third, first) if one is not valkey_cluster.owner_of(slot))
            valkey_cluster.move(slot, target, one_by_one=True)

    count, _ = await under_load(hot, owners, moves)
    assert valkey_cluster.owner_of(slots[0]) is not first
    await all_there(hot, owners, count)


async def test_a_slot_that_stays_half_way_is_unavailable_and_nothing_of_it_is_shown(
    hot: ClusterHot, valkey_cluster: ValkeyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HOT_SLOT_WAIT_S_MAX", 0.2)
    first, second, _ = valkey_cluster.servers
    user, neighbour = users_on(valkey_cluster, first, 2)
    await hot.apply(move(0, [user, neighbour]))
    valkey_cluster.begin_moving(slot_of(user), first, second)
    # His list is still there and could be written; what is to come beside it is asked for elsewhere from now on.
    with pytest.raises(StoreUnavailable):
        await hot.apply(move(1, [user, neighbour])._replace(results=[Result(user, "k", at(1), "a", b"", {})]))
    valkey_cluster.move_keys(slot_of(user), first, second, count=1)
    for use in (hot.apply(move(1, [user, neighbour])), hot.updates(user, 0, 9), hot.dialogs(user, [], [], None, 9)):
        with pytest.raises(StoreUnavailable):
            await use
    assert await hot.pts([neighbour]) == [1]
    valkey_cluster.move_keys(slot_of(user), first, second)
    valkey_cluster.end_moving(slot_of(user), second)
    monkeypatch.setattr(limits, "HOT_SLOT_WAIT_S_MAX", 5.0)
    with contextlib.suppress(Stale):
        await hot.apply(move(1, [user, neighbour]))
    assert await hot.pts([user, neighbour]) == [2, 2]
    assert await hot.epoch() == EPOCH


async def test_slots_move_to_a_node_that_came_empty(hot: ClusterHot, valkey_cluster: ValkeyCluster) -> None:
    owners = users_on(valkey_cluster, valkey_cluster.servers[0], 3)
    new = valkey_cluster.add()
    assert await hot.epoch() == EPOCH  # whose look lets it in

    def moves() -> None:
        for owner in owners:
            valkey_cluster.move(slot_of(owner), new)

    count, _ = await under_load(hot, owners, moves)
    await all_there(hot, owners, count)
    reader = ClusterHot(valkey_cluster.url)
    assert await reader.pts(owners) == [count] * 3
    await reader.close()


async def test_slots_of_a_node_that_nobody_looked_at_end_the_epoch(
    hot: ClusterHot, valkey_cluster: ValkeyCluster
) -> None:
    """It may be a replica that took over, for all that is known."""
    user = users_on(valkey_cluster, valkey_cluster.servers[0])[0]
    await hot.apply(move(0, [user]))
    new = valkey_cluster.add()
    valkey_cluster.move(slot_of(user), new)
    with pytest.raises(EpochLost):
        await hot.apply(move(1, [user]))
    await lost(hot)


async def test_a_primary_that_is_not_empty_is_not_let_in(
    hot: ClusterHot, valkey_cluster: ValkeyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = users_on(valkey_cluster, valkey_cluster.servers[0])[0]
    new = valkey_cluster.add()
    send = Node.send

    async def full(node: Node, *command: Any) -> Any:
        return 7 if command == ("DBSIZE",) else await send(node, *command)

    monkeypatch.setattr(Node, "send", full)
    assert await hot.epoch() == EPOCH
    valkey_cluster.move(slot_of(user), new)
    with pytest.raises(EpochLost):
        await hot.pts([user])


async def test_nobody_is_waited_for_where_no_node_answers(valkey_cluster: ValkeyCluster) -> None:
    hot = await opened(valkey_cluster)
    for server in valkey_cluster.servers:
        server.kill()
    async with asyncio.timeout(5):
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await hot.apply(move(0, ["Ua"]))
            with pytest.raises(StoreUnavailable):
                await hot.epoch()
    await hot.close()


async def test_a_listener_goes_on_at_another_node(hot: ClusterHot, valkey_cluster: ValkeyCluster) -> None:
    heard: list[bytes] = []

    async def listener() -> None:
        async for frame in hot.listen():
            heard.append(frame)

    async def announced(frame: bytes) -> bool:
        with contextlib.suppress(StoreUnavailable):
            await hot.announce(frame)
        return frame in heard

    task = asyncio.create_task(listener())
    assert await until(lambda: announced(b"before"), SOON_S)
    for server in valkey_cluster.servers:
        valkey_cluster.ask(server, "CLIENT", "KILL", "TYPE", "pubsub")
    assert await until(lambda: announced(b"after"), SOON_S)
    assert b"" in heard, "an empty frame says that something may have been missed"
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis+cluster://", "redis+cluster://127.0.0.1:1/3"])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        ClusterHot(url)


def test_feeds_of_one_user_are_of_one_slot() -> None:
    assert slot_of("Ua") == slot_of("Ua}x") != slot_of("Ub")
    assert [slot_of(tag) for tag in tags()] == list(range(16_384))
    assert slot_of("123456789") == 0x31C3, "as the specification says"
