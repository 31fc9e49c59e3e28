"""The cursor `{dc, epoch, pts, V}`: a client that moves between DCs misses nothing, some updates come twice.

3 DCs with 3 lanes each that idle, start late and run behind; links that break for long; hot stores that lose the end
of a list and get it back in another order, under a new epoch. What is simpler than V per lane is planted and misses.
"""

from functools import partial
from random import Random

import pytest

from core.actions.messages import Send
from core.ids import direct_conversation, lane_of
from tests.support.mesh import Dc, Mesh
from tests.support.roaming import Client, Rule

READER = "Ua"
HISTORIES = 250


def lose_the_end(dc: Dc, random: Random) -> None:
    """The hot store restarts without its last updates; replay brings them back, each lane in its own order."""
    updates = dc.updates.get(READER, [])
    tail = [updates.pop() for _ in range(min(len(updates), random.randint(1, 5)))][::-1]
    while tail:
        first = next(u for u in random.sample(tail, len(tail)) if _first_of_its_lane(u.event, [t.event for t in tail]))
        tail.remove(first)
        updates.append(first)
    dc.epoch += 1


def _first_of_its_lane(event: int, events: list[int]) -> bool:
    return all(other >= event for other in events if lane_of(other) == lane_of(event))


def missed(seed: int, rule: Rule) -> int:
    """How many updates the client never got, all being delivered everywhere in the end."""
    random = Random(seed)
    mesh = Mesh(lanes=3, off_ms=tuple(random.randint(0, 200) for _ in range(3)))
    client = Client(READER, rule)
    at = 0
    cut: set[tuple[int, int]] = set()
    for step in range(70):
        mesh.now_ms += random.randint(1, 80)
        if random.random() < 0.1:
            cut ^= {(random.randrange(3), random.choice(list(mesh.logs)))}
        if random.random() < 0.5:
            sender, to = "Ub", READER if random.random() < 0.7 else "Uc"
            args = Send.Args(
                conversation=direct_conversation(sender, to), to=tuple(sorted((sender, to))), text=str(step)
            )
            lane = min(random.randrange(3), step // 20)
            mesh.commit(random.randrange(3), "message.send", sender, args, lane=lane)
        mesh.drift(random, 0.3, cut)
        if random.random() < 0.05:
            lose_the_end(random.choice(mesh.dcs), random)
        if random.random() < 0.3:
            at = random.randrange(3) if random.random() < 0.4 else at
            page = 4 if random.random() < 0.5 else None
            client.sync(mesh.dcs[at], page, between=partial(mesh.drift, random, 0.3, frozenset(cut)))
    mesh.settle()
    for _ in range(2):
        client.sync(mesh.dcs[at])
    everything = {update.event for update in mesh.dcs[0].updates.get(READER, ())}
    return len(everything - client.got)


def test_a_roaming_client_misses_nothing() -> None:
    assert [missed(seed, Rule.PER_LANE) for seed in range(HISTORIES)] == [0] * HISTORIES


@pytest.mark.parametrize(
    "rule",
    [
        Rule.PER_DC,
        Rule.MAX_ID,
        Rule.MARGIN,
        Rule.PTS_ONLY,
        Rule.V_AFTER,
        Rule.V_PER_PAGE,
        Rule.EPOCHLESS,
    ],
)
def test_a_simpler_cursor_is_seen_to_miss(rule: Rule) -> None:
    assert any(missed(seed, rule) for seed in range(HISTORIES)), rule.value
