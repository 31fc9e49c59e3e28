"""Membership registers against a causal oracle: hostile histories of adds, leaves and kicks of one member.

The oracle knows every event's causal past. The production rule agrees with it in every history; scalars in place of
the vectors, and stamps in place of knowledge, do not.
"""

from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.actions.conversations import ChatArgs
from core.actions.members import Add, Kick, Leave
from core.ids import lane_of
from core.membership import Membership
from tests.support.mesh import Mesh
from tests.support.view import members_of

CHAT, USER = "G1", "Ua"
HISTORIES = 1_500


def hostile(seed: int, off_ms: tuple[int, int, int] = (0, 0, 0)) -> Mesh:
    """2 to 8 events of one (chat, user) in 3 DCs with 2 lanes each, partly delivered in between. Unlike `resolve`,
    it adds the present and kicks the absent: more than production lets happen."""
    random = Random(seed)
    mesh = Mesh(off_ms=off_ms)
    for _ in range(random.randint(2, 8)):
        mesh.now_ms += random.randint(1, 300)
        mesh.drift(random, 0.35)
        dc, lane = random.randrange(3), random.randrange(2)
        now = members_of(mesh.dcs[dc].state, CHAT).get(USER, Membership())
        match random.choice(("add", "add", "leave", "kick")):
            case "add":
                args = Add.Args(chat=CHAT, adds={USER: now.kicked}, before={USER: now.known_adds()})
                mesh.commit(dc, "member.add", "Uowner", args, lane=lane)
            case "leave":
                mesh.commit(dc, "member.leave", USER, Leave.Args(chat=CHAT, adds=now.known_adds()), lane=lane)
            case "kick":
                mesh.commit(dc, "member.kick", "Uowner", Kick.Args(chat=CHAT, user=USER), lane=lane)
    mesh.settle()
    return mesh


def kinds(mesh: Mesh) -> dict[int, str]:
    return {event.id: event.action.removeprefix("member.") for event in mesh.events}


def oracle(mesh: Mesh) -> bool:
    """In, if some add was seen by no leave and had itself seen every kick."""
    kind = kinds(mesh)
    leaves = [id for id in kind if kind[id] == "leave"]
    kicks = {id for id in kind if kind[id] == "kick"}
    return any(
        not any(add in mesh.past[leave] for leave in leaves) and kicks <= mesh.past[add]
        for add in kind
        if kind[add] == "add"
    )


def production(mesh: Mesh) -> bool:
    return members_of(mesh.dcs[0].state, CHAT).get(USER, Membership()).present


def scalars(mesh: Mesh) -> bool:
    """Planted: one number each instead of one per lane."""
    kind = kinds(mesh)
    added = left = kicked = cleared = 0
    for id in sorted(kind):
        if kind[id] == "add":
            added = max(added, id)
            cleared = max([cleared, *(past for past in mesh.past[id] if kind[past] == "kick")])
        elif kind[id] == "leave":
            left = max([left, *(past for past in mesh.past[id] if kind[past] == "add")])
        else:
            kicked = max(kicked, id)
    return added > left and cleared >= kicked


def clocks(mesh: Mesh) -> bool:
    """Planted: the latest event decides."""
    kind = kinds(mesh)
    return kind[max(kind)] == "add"


def pooled(mesh: Mesh) -> bool:
    """Planted: vectors per lane, but what all adds together knew of kicks counts for each of them."""
    registers = members_of(mesh.dcs[0].state, CHAT).get(USER, Membership())
    knew: dict[int, int] = {}
    for add in registers.adds.values():
        for lane, id in add.knew.items():
            knew[lane] = max(knew.get(lane, 0), id)
    unleft = any(add.id > registers.left.get(lane, 0) for lane, add in registers.adds.items())
    return unleft and all(knew.get(lane, 0) >= kick for lane, kick in registers.kicked.items())


def wrong(rule: Callable[[Mesh], bool]) -> int:
    found = 0
    for seed in range(HISTORIES):
        mesh = hostile(seed, (0, 0, 900) if seed % 2 else (0, 0, 0))
        found += rule(mesh) != oracle(mesh)
    return found


def test_membership_equals_the_causal_oracle() -> None:
    assert wrong(production) == 0


def test_scalar_registers_are_caught() -> None:
    assert wrong(scalars) > 0


def test_letting_the_clock_decide_is_caught() -> None:
    assert wrong(clocks) > HISTORIES // 20


def test_pooling_what_the_adds_knew_is_caught() -> None:
    assert wrong(pooled) > 0


@settings(max_examples=100, deadline=None)
@given(st.integers(min_value=HISTORIES, max_value=1 << 40))
def test_every_dc_sees_the_same_membership(seed: int) -> None:
    mesh = hostile(seed)
    seen = {members_of(dc.state, CHAT).get(USER, Membership()).present for dc in mesh.dcs}
    assert seen == {oracle(mesh)}


def test_what_was_added_in_a_lane_is_found_by_that_lane() -> None:
    mesh = Mesh()
    event = mesh.commit(1, "member.add", "Uowner", Add.Args(chat=CHAT, adds={USER: {}}), lane=1)
    assert isinstance(event.args, ChatArgs)
    registers = members_of(mesh.dcs[1].state, CHAT)[USER]
    assert registers.known_adds() == {lane_of(event.id): event.id}
    assert lane_of(event.id) == mesh.dcs[1].lanes[1]
