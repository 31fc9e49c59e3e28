"""Writes docs/pairs.md."""

from pathlib import Path

from tests.pairs.page import page

(Path(__file__).parent.parent.parent / "docs" / "pairs.md").write_text(page())
