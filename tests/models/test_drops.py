"""All datacenters drop an event together, or none does, whatever the order of words, upgrades and retries."""

from random import Random
from typing import Any, NamedTuple

import pytest

from core.drops import dropped, given

HISTORIES = 3_000
DCS = (1, 2, 3)


class Dc(NamedTuple):
    number: int
    words: dict[int, dict[str, Any]]
    """What it has heard: DC -> its word."""
    did: list[str]
    """"applied", "dropped": never both, never twice."""


def said(dc: int, *, agreed: bool) -> dict[str, Any]:
    return {"dc": dc, "dcs": list(DCS), "agreed": int(agreed), "applied": int(not agreed)}


def play(random: Random, *, binding: bool, together: bool) -> list[Dc]:
    """Moments: an operator asks for a word, a word arrives, an upgraded DC retries. `binding`: who agreed does not
    apply. `together`: it takes all words."""
    dcs = [Dc(number, {}, []) for number in DCS]
    spoken: dict[int, dict[str, Any]] = {}

    def hear(dc: Dc, word: dict[str, Any]) -> None:
        dc.words[word["dc"]] = word
        enough = dropped(dc.words.values()) if together else any(one["agreed"] for one in dc.words.values())
        if enough and not dc.did:
            dc.did.append("dropped")

    for _ in range(random.randint(3, 30)):
        dc = random.choice(dcs)
        match random.randrange(3):
            case 0 if dc.number not in spoken and "dropped" not in dc.did:
                spoken[dc.number] = said(dc.number, agreed=not dc.did)
                hear(dc, spoken[dc.number])
            case 1 if spoken:
                hear(dc, random.choice(list(spoken.values())))
            case 2 if not dc.did and not (binding and given(dc.words.values(), dc.number)):
                dc.did.append("applied")
    for dc in dcs:
        for word in spoken.values():
            hear(dc, word)
    return dcs


def parted(*, binding: bool = True, together: bool = True) -> int:
    """Histories after which one DC has applied what another has dropped."""
    found = 0
    for seed in range(HISTORIES):
        did = {what for dc in play(Random(seed), binding=binding, together=together) for what in dc.did}
        found += len(did) == 2
    return found


def test_no_datacenter_applies_what_another_one_drops() -> None:
    assert parted() == 0


def test_some_histories_end_dropped_and_some_applied() -> None:
    ends = [{what for dc in play(Random(seed), binding=True, together=True) for what in dc.did} for seed in range(300)]
    assert {"dropped"} in ends
    assert {"applied"} in ends


@pytest.mark.parametrize("broken", [{"binding": False}, {"together": False}])
def test_without_each_half_of_the_rule_datacenters_part(broken: dict[str, bool]) -> None:
    assert parted(**broken) > 20


def test_whoever_agreed_may_apply_it_once_it_was_applied_by_one_that_was_named() -> None:
    words = [said(1, agreed=True)]
    assert given(words, 1)
    assert not given(words, 2)
    assert not given([*words, said(2, agreed=False)], 1)
    assert given([*words, {**said(9, agreed=False)}], 1), "a datacenter that nobody waits for changes nothing"
    assert not dropped([])
    assert not dropped([said(2, agreed=False)])
    assert dropped([said(dc, agreed=True) for dc in DCS])
