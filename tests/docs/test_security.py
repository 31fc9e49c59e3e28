"""The threat model names tests as evidence: they exist."""

import re

import pytest

from tests.support.markdown import ROOT

PAGE = ROOT / "docs" / "security.md"
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text())))


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_what_the_threat_model_names_is_there(path: str, name: str) -> None:
    assert re.search(rf"^(?:async )?def {name or 'test_'}", (ROOT / path).read_text(), re.MULTILINE)


def test_it_names_tests() -> None:
    assert len(NAMED) > 20
