"""docs/simulation.md names the faults, the planted bugs with the rules that they break, and what is not simulated."""

import re

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.plan import KINDS, PENDING
from tests.support.markdown import ROOT

PAGE = (ROOT / "docs" / "simulation.md").read_text()
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| (\d+) \|$", PAGE, re.MULTILINE)
FIGURES = (
    *("4,800", "8,800", "8,400", "5,000", "4,400", "1,800–2,000", "1,400", "9,200", "770–1,100", "1,750"),
)  # fmt: skip
"""Of the architecture: violating histories per 10,000 without the rule."""


def test_the_table_is_that_of_the_planted_bugs() -> None:
    assert [(name, int(budget)) for name, _, budget in ROWS] == [(bug.name, bug.seeds) for bug in BUGS]


def test_there_are_at_least_as_many_bugs_as_were_asked_for() -> None:
    assert len(BUGS) >= 25


@pytest.mark.parametrize("figure", FIGURES)
def test_each_rule_that_was_paid_for_has_its_bug(figure: str) -> None:
    assert any(f"✗ {figure}:" in rule for _, rule, _ in ROWS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_fault_is_named(kind: str) -> None:
    assert re.search(rf"\b{kind}\b", PAGE)


@pytest.mark.parametrize("what", PENDING)
def test_what_is_not_simulated_is_named(what: str) -> None:
    assert what.removeprefix("datacenter ") in PAGE
