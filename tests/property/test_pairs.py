"""Every two actions at once, in two datacenters: they converge, and what holds is what the design says."""

import pytest

from tests.pairs import samples
from tests.pairs.expected import RULES, expected
from tests.pairs.outcomes import PAIRS, outcome, shared


def test_every_action_has_a_sample_and_every_sample_an_action() -> None:
    missing = [name for name in samples.PLAYED if name not in samples.SAMPLES]
    assert not missing, f"add samples to tests/pairs/samples.py, then run python -m tests.pairs: {missing}"
    assert samples.SAMPLES.keys() == set(samples.PLAYED)


def test_a_new_action_without_a_sample_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(samples.SAMPLES, "message.edit")
    with pytest.raises(AssertionError, match=r"message.edit has no sample: add one to SAMPLES"):
        outcome("message.edit", "message.send")


@pytest.mark.parametrize("name", samples.PLAYED)
def test_a_pair_of_actions_converges_and_gives_what_the_design_says(name: str) -> None:
    """With every action that comes after it by name, and with itself."""
    for a, b in (pair for pair in PAIRS if pair[0] == name):
        found = outcome(a, b)
        rule, why = expected(a, b)
        assert found.rule == rule, (
            f"{a} and {b} at once: {found.rule!r} ({found.ab}, {found.ba}), and the design says {rule!r} {why}. If "
            "it is as it should be, say so in RULES of tests/pairs/expected.py"
        )
        if not shared(a, b):
            assert rule == "both", f"{a} and {b} meet: name what they are both about in their samples"


def test_what_is_said_of_pairs_is_of_pairs_that_there_are() -> None:
    assert RULES.keys() <= set(PAIRS), RULES.keys() - set(PAIRS)
