"""The tables of keys name every key that a server holds, each with its bound."""

import re

from tests.support.markdown import ROOT

HOT = "".join((ROOT / "stores/adapters" / name).read_text() for name in ("planb_hot.lua", "planb_hot_cluster.lua"))
LOG = (ROOT / "events/adapters/planb_log.lua").read_text() + (ROOT / "events/adapters/valkey.py").read_text()


def table(page: str, heading: str) -> dict[str, str]:
    """First column -> last column."""
    section = (ROOT / "docs" / page).read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert rows
    return {row[0].strip(): row[-1].strip() for row in rows}


def test_every_key_of_hot_state_is_listed_with_its_bound() -> None:
    found = table("hot-state.md", "Keys")
    assert all(found.values())
    named = {kind for names in found for kind in re.findall(r":([a-z])(?:`|:<)", names)}
    named |= {kind for names in found for kind in re.findall(r"`:([a-z]):<", names)}
    made = set(re.findall(r"\bkey2?\([^()]*?(?:\[[^]]*\][^()]*?)?, '([a-z])'", HOT))
    assert named == made
    fixed = {name for names in found for name in re.findall(r"`(pb:\{dc\}:[a-z]+)(?::<layout>)?`", names)}
    assert fixed == set(re.findall(r"'(pb:\{dc\}:[a-z]+):?'", HOT))
    assert not re.search(r"call\('[A-Z]+', 'pb:", HOT), "a key that is spelled where it is used"


def test_every_key_of_the_log_is_listed_with_its_bound() -> None:
    found = table("wire-formats.md", "The log in Valkey")
    assert all(found.values())
    named = {name for names in found for name in re.findall(r"`\{log\}:([a-z]+)", names)}
    assert named == set(re.findall(r"\{prefix\}:([a-z]+)", LOG))
    assert "OWNERS_KEPT = 1000\n" in LOG and "1,000 processes" in found["`{log}:owners:<lane>`"]
