"""docs/proof.md is what the figures beside it give, and says at which scale they were made."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.prove.page import page

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "proof.json").read_text())
    return found


def test_the_page_is_what_the_report_renders(told: dict[str, Any]) -> None:
    assert (DOCS / "proof.md").read_text() == page(told)


def test_the_page_says_its_scale_and_its_commit(told: dict[str, Any]) -> None:
    text = page(told)
    assert f"cale {told['run']['scale']:g}" in text
    assert told["run"]["commit"][:12] in text


def test_what_failed_and_what_never_fired_is_told(told: dict[str, Any]) -> None:
    stages = told["stages"] | {
        "faults": told["stages"]["faults"]
        | {"failed": [{"part": "7", "code": 1, "words": "a promise"}], "silent": ["link_cut"]}
    }
    text = page(told | {"stages": stages})
    assert "faults, part 7 (exit code 1): `a promise`" in text
    assert "link_cut never fired" in text
